r"""Secrets are taken out before anything is written.

Three signs of a secret: the name it stands under (`api_key`, `--password`), its own form (`ghp_…`, a private key, a URL
with a password), and, outside code, that it is long and looks random. None is certain: a password in the middle of a
sentence is not seen, and a harmless text can be taken for a secret. What is taken out becomes `[redacted]`; nothing of
it is kept.

A private key over several lines is known as one only where it is seen whole; line by line, by its long random lines.
"""

from __future__ import annotations

from mlsdk.capture.secrets.forms import (
    LONG_WORD,
    NEEDLES,
    NEEDLES_OF_ASSIGNED,
    NEEDLES_OF_COMMANDS,
    NEEDLES_OF_LONG,
    PATTERNS,
    REDACTED,
)
from mlsdk.capture.secrets.names import NUMBERS_TOO, STEMS, SWITCHES, WEAK, is_secret_name, words_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Iterator, Sequence
    from typing import Any, TypeAlias

    Hits: TypeAlias = tuple[str, ...]
    Span: TypeAlias = tuple[int, int]

__all__ = ["REDACTED", "is_secret_name", "redact_argv", "redact_keys", "redact_line", "redact_text", "redact_value"]


def redact_text(text: str, *, code: bool = False, bare: bool | None = None) -> tuple[str, Hits]:
    """Take the secrets out of a text.

    Args:
        text: a line of output, a message, a whole file.
        code: it is source code: secrets by name are looked for in quoted literals only, and none by randomness.
        bare: whether values under the names of secrets need no quotes, as in files of settings; None: outside code.

    Returns:
        The text and, for each place that was replaced, the sign it was known by; the same text and () if there is none.

    Example:
        >>> redact_text("connecting to postgresql://ann:hunter2@db/x")
        ('connecting to postgresql://[redacted]@db/x', ('URL password',))
    """
    hits: list[str] = []
    bare = not code if bare is None else bare
    longest = max(map(len, text.split()), default=0)
    text = _redact_forms(text, NEEDLES, hits)
    if bare:
        text = _redact_forms(text, NEEDLES_OF_COMMANDS, hits)
    if "=" in text:
        text = _redact_forms(text, NEEDLES_OF_ASSIGNED, hits)
    if longest >= LONG_WORD:
        text = _redact_forms(text, NEEDLES_OF_LONG, hits)
    if "AWS key" in hits:  # its secret half, which has no form of its own, is often next to it
        text, count = PATTERNS["AWS secret"].subn(_replace, text)
        hits += ["AWS secret"] * count
    text = _redact_named(text, hits, code=code, bare=bare)
    if longest >= 24 and not code and PATTERNS["random"].search(text) is not None:
        from mlsdk.capture.secrets.entropy import redact_random  # seldom needed: `import mlsdk` does without

        text = redact_random(text, hits)
    return text, tuple(hits)


def redact_line(line: str, *, in_key: bool = False) -> tuple[str, bool]:
    """Take the secrets out of a line of a stream, in which a private key comes line by line.

    Args:
        line: without its end.
        in_key: what the line before gave.

    Returns:
        The line, and whether a private key has begun and not ended.

    Example:
        >>> redact_line("a1b2", in_key=True), redact_line("epoch 1", in_key=True)
        (('[redacted]', True), ('epoch 1', False))
    """
    if in_key and (line.startswith("-----END ") or PATTERNS["key line"].fullmatch(line) is not None):
        return REDACTED, not line.startswith("-----END ")
    return redact_text(line)[0], "-----BEGIN " in line and "PRIVATE KEY" in line and "-----END " not in line


def redact_keys(text: str) -> tuple[str, int]:
    """Take out the private keys alone; how many there were."""
    return PATTERNS["private key"].subn(_replace, text)


def _redact_forms(text: str, needles: Sequence[tuple[str, str]], hits: list[str]) -> str:
    for needle, kind in needles:
        if needle in text:
            text, count = PATTERNS[kind].subn(_replace, text)
            hits += [kind] * count
    return text


def _replace(match: re.Match[str]) -> str:
    """What replaces a secret: as many lines as it had."""
    return match["keep"] + REDACTED + "\n" * match[0].count("\n")


def _redact_named(text: str, hits: list[str], *, code: bool, bare: bool) -> str:
    """Take out what stands under the name of a secret."""
    lines = _lines_with_names(text)
    if not lines and "value:" not in text:
        return text
    spans: list[Span] = []
    for start, end in lines:
        spans += _assigned(text, start, end, code=code, bare=bare)
        spans += _called(text, start, end)
    if bare:
        spans += _in_settings(text)
    parts: list[str] = []
    done = 0
    for start, end in sorted(spans):
        if start >= done:
            parts += (text[done:start], REDACTED + "\n" * text.count("\n", start, end))
            hits.append("name")
            done = end
    return "".join((*parts, text[done:])) if parts else text


def _lines_with_names(text: str) -> list[Span]:
    """Lines that may name a secret and say what it is. Most texts are done after this look: it costs a tenth."""
    lower = text.lower()
    if len(lower) != len(text):  # a few letters change their length: positions would not agree
        lower = text
    found: set[Span] = set()
    for stem in STEMS:
        at = lower.find(stem)
        start = end = -1
        while at >= 0:
            if at > end:  # in another line than the one before
                start, end = text.rfind("\n", 0, at) + 1, text.find("\n", at) % (len(text) + 1)
            if PATTERNS["assigned"].match(lower, at) is None and not any(
                sign in lower[max(start, at - 300) : at] for sign in _SIGNS_BEFORE
            ):
                at = lower.find(stem, at + 1)
                continue
            found.add((start, end))
            at = lower.find(stem, end)
    return sorted(found)


_SIGNS_BEFORE = ("--", "==", "!=", "env ")


def _assigned(text: str, start: int, end: int, *, code: bool, bare: bool) -> Iterator[Span]:
    """Values behind a name, and those that a name is compared with."""
    bare = bare or text[start : start + 40].lstrip(" \t\"',").startswith(("!", "%"))  # a command in a notebook
    done = start
    for match in PATTERNS["name"].finditer(text, start, end):
        name = match[1] or match[2]
        if match.start() < done or not is_secret_name(name) or (match[1] and not bare):
            continue
        if text[match.start() - 1 : match.start()] == ":" == match[0][-1]:  # part of an address: `arn:aws:…:secret:x`
            continue
        several = text[match.start() - 2 : match.start()].strip() == "," and match[1] is None
        for span in _values(text, match.end(), bare=bare, several=several):
            value = text[span[0] : span[1]]
            if not _is_no_secret(name, value, code=code, running=match[1] is None):
                yield span
                done = span[1]
    if "=" in text[start:end]:
        for match in PATTERNS["compared"].finditer(text, start, end):
            group = 1 if match[1] else 2
            if is_secret_name(match[3]) and not _is_no_secret(match[3], match[group], code=True):
                yield match.span(group)


def _values(text: str, at: int, *, bare: bool, several: bool = False) -> Iterator[Span]:
    """Texts in quotes that begin here, several in brackets or one after the other; else the word that stands here.

    Of `user, password = "ann", "…"` all are taken.
    """
    before = PATTERNS["before"].match(text, at)
    several = several or (before is not None and before[1] is not None)
    position = before.end() if before else at
    found = False
    while (quoted := PATTERNS["quoted"].match(text, position)) is not None:
        found = True
        yield quoted.span(quoted.lastindex or 0)
        more = PATTERNS["and in brackets" if several else "and"].match(text, quoted.end())
        if more is None:
            return
        position = more.end()
    if found or not bare or (word := PATTERNS["bare"].match(text, at)) is None:
        return
    # replaced before, or code in a traceback: `password = ask_for_it()`
    if not text.startswith(REDACTED, word.start(1) - 1) and PATTERNS["called"].match(word[1]) is None:
        yield word.span(1)


def _called(text: str, start: int, end: int) -> Iterator[Span]:
    """What is handed over beside the name of a secret: `setenv("API_KEY", "…")`, `["--token", "…"]`."""
    for kind, needle in (("call", "("), ("setter", "("), ("option", "-"), ("pair", "alue")):
        if needle not in text[start:end]:
            continue
        for match in PATTERNS[kind].finditer(text, start, end):
            quoted = PATTERNS["quoted"].match(text, match.end())
            if quoted is None or not is_secret_name(match[1]):
                continue
            span = quoted.span(quoted.lastindex or 0)
            value = text[span[0] : span[1]]
            if _is_like_a_password(value) and not _is_no_secret(match[1], value, code=True):
                yield span


def _in_settings(text: str) -> Iterator[Span]:
    """What only files of settings have: elements, blocks, a name and its value in two lines."""
    for kind, needle in (("element", "</"), ("pair of lines", "name:"), ("block", "\n")):
        if needle in text:
            for match in PATTERNS[kind].finditer(text):
                if is_secret_name(match[1]) and not _is_no_secret(match[1], match[2]):
                    yield match.span(2)


def _is_like_a_password(value: str) -> bool:
    """More than a word: has digits, or signs that no name has."""
    return len(value) >= 6 and " " not in value and not value.replace("_", "").replace("-", "").isalpha()


def _is_no_secret(name: str, value: str, *, code: bool = False, running: bool = False) -> bool:
    """Is the text under the name of a secret plainly none: a number, a variable, a word about secrets?"""
    words = words_of(name)
    if running and len(words) == 1 and words[0] in WEAK and not (len(value) >= 8 and _has_digit(value[:200])):
        return True
    if words == ("accesskey",) and len(value) < 3:  # which letter opens a link of a web page
        return True
    if REDACTED in value or PATTERNS["nothing"].fullmatch(value):
        return True
    if PATTERNS["number"].fullmatch(value):
        return NUMBERS_TOO.isdisjoint(words)
    if not code:
        return False
    return len(value) < 4 or value[0] in ",;:)]} " or "\\x" in value or _is_name_itself(value) or _is_template(value)


def _has_digit(value: str) -> bool:
    return any(map(str.isdigit, value))


def _is_name_itself(value: str) -> bool:
    """A word about secrets (`password`), or what looks like the name of a variable (`DB_LOGIN`)."""
    if value.isupper() and "_" in value:
        return True
    return not _has_digit(value) and is_secret_name(value)


def _is_template(value: str) -> bool:
    """Has nothing of its own that could be a secret, but words: `Basic %s`, `{user}:{password}`."""
    rest = PATTERNS["reference"].sub("", value)
    return rest != value and not _has_digit(rest)


def redact_argv(argv: Sequence[str]) -> list[str]:
    """Take the secrets out of a command line, given as its list of arguments.

    Example:
        >>> redact_argv(["train.py", "--token", "s3cr3t", "db.password=x y", "--lr=0.1"])
        ['train.py', '--token', '[redacted]', 'db.password=[redacted]', '--lr=0.1']
    """
    return _redact_items(argv, [])


_LONGEST_BYTES = 1 << 17
"""Letters in base64."""


class _OfCode(list[str]):
    """Hits in a value whose texts are source code."""


def redact_value(name: str, value: Any, *, code: bool = False) -> Any:
    """Take the secrets out of a param, a tag, a setting, an environment variable and whatever is nested in it.

    Give it what `mlsdk.log.values.encode` returned: only there are fields of objects seen. Under the name of a secret
    texts and bytes are replaced, numbers only if it is the name of a password; None and booleans stay.

    Args:
        name: that the value stands under.
        value: of whatever type.
        code: its texts are source code.

    Returns:
        The value without its secrets; the very same object where it has none.

    Example:
        >>> redact_value("config", {"api_key": "abc", "max_tokens": 5})
        {'api_key': '[redacted]', 'max_tokens': 5}
    """
    hits: list[str] = _OfCode() if code else []
    redacted = _redact(name, value, hits, owner="")
    return redacted if hits else value


def _redact(name: str, value: Any, hits: list[str], owner: str) -> Any:
    """`owner` is the secret name that the value lies under, if any."""
    if is_secret_name(name):
        owner = name
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _redact_str(owner, value, hits)
    if isinstance(value, (int, float, complex)):
        return value if NUMBERS_TOO.isdisjoint(words_of(owner)) else _hit(hits)
    if isinstance(value, (bytes, bytearray)):
        return _hit(hits) if owner else value
    if isinstance(value, dict):
        if type(value.get("$")) is str:
            return _redact_tag(name, value, hits, owner)
        inherited = "" if words_of(owner) == ("auth",) else owner  # `auth` may be any section of a configuration
        return {
            _redact_str("", key, hits) if isinstance(key, str) else key: _redact(str(key), item, hits, inherited)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        items = _redact_items(value, hits, owner)
        return items if isinstance(value, list) else tuple(items)
    return value


def _redact_tag(name: str, tag: dict[str, Any], hits: list[str], owner: str) -> Any:
    """A value in the published form of `mlsdk.log.values`."""
    kind, content = tag["$"], tag.get("v")
    if kind == "map" and isinstance(content, list):
        pairs = [pair for pair in content if isinstance(pair, list) and len(pair) == 2]
        return {**tag, "v": [[_redact("", key, hits, ""), _redact(str(key), item, hits, owner)] for key, item in pairs]}
    if kind in {"object", "tuple", "set", "frozenset"}:
        return {**tag, "v": _redact(name, content, hits, owner)}
    if kind == "path" and isinstance(content, str):  # it says where a secret lies; what looks random in it is no sign
        shown, found = redact_text(content, code=True)
        hits += found
        return {**tag, "v": shown}
    if kind == "enum":
        return {**tag, "v": _redact(str(tag.get("name")), content, hits, owner)}
    if kind in {"int", "decimal", "fraction", "complex"}:
        return _redact(name, 0, hits, owner) or tag
    if kind in {"str", "bytes"}:
        return _hit(hits) if owner or _has_secret(kind, str(content)) else tag
    for key in ("text", "start"):  # of what is described, of what lies in a blob
        if isinstance(tag.get(key), str):
            tag = {**tag, key: _redact_str(owner, tag[key], hits)}
    return tag


def _has_secret(kind: str, content: str) -> bool:
    """Whether a text is one, or the first bytes of others; what looks random among bytes is no sign."""
    if kind == "str":
        return bool(redact_text(content)[1])
    from binascii import a2b_base64  # seldom needed

    return bool(redact_text(a2b_base64(content[:_LONGEST_BYTES]).decode("latin-1"), code=True)[1])


def _redact_items(items: Sequence[Any], hits: list[str], owner: str = "") -> list[Any]:
    """A sequence, which may be a command line: an option and its value can be two items, or one with `=`."""
    if isinstance(hits, _OfCode):
        return [_redact("", item, hits, owner) for item in items]
    result: list[Any] = []
    option = ""
    # a name and its value, as in a list of headers
    is_pair = len(items) == 2 and all(isinstance(item, str) for item in items) and _is_like_a_password(items[1])
    for item in items:
        if not isinstance(item, str):
            result.append(_redact("", item, hits, owner))
            option = ""
            continue
        name, equals, value = item.partition("=")
        if equals and not owner and is_secret_name(name) and name.replace("-", "").replace(".", "").isidentifier():
            result.append(f"{name}={_redact_str(name, value, hits)}")
        elif item.startswith("-"):
            result.append(_redact_str(owner, item, hits))
        else:
            result.append(_redact_str(owner or option, item, hits))
        takes_value = (is_pair or item.startswith("-")) and not equals and is_secret_name(item)
        option = item if takes_value and words_of(item)[0] not in SWITCHES else ""
    return result


def _redact_str(owner: str, value: str, hits: list[str]) -> str:
    if owner and not _is_no_secret(owner, value):
        return _hit(hits)
    redacted, found = redact_text(value, code=isinstance(hits, _OfCode))
    hits += found
    return redacted


def _hit(hits: list[str]) -> str:
    hits.append("name")
    return REDACTED
