r"""Secrets are taken out before anything is written.

Three signs of a secret: the name it stands under (`api_key`, `--password`), its own form (`ghp_…`, a private key, a URL
with a password), and, outside code, that it is long and looks random. None is certain: a password in the middle of a
sentence is not seen, and a harmless text can be taken for a secret. What is taken out becomes `[redacted]`; nothing of
it is kept.

A private key over several lines is known as one only where it is seen whole; line by line, by its long random lines.
"""

from __future__ import annotations

import math
from functools import lru_cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Sequence
    from typing import Any, TypeAlias

    Hits: TypeAlias = tuple[str, ...]

REDACTED = "[redacted]"

_STEMS = ("token", "pass", "secret", "key", "auth", "cred", "pwd", "cookie", "pin", "jwt")
"""Every name of a secret contains one of these: looked for first, because it costs next to nothing."""


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_SECRET = _set(
    "password passwords passwd passphrase passphrases secret secrets credential credentials cred creds apikey apikeys "
    "secretkey accesskey privatekey authkey accesstoken authtoken apitoken bearertoken refreshtoken authorization"
)
_SECRET_OF = {  # second words that are secrets after one of these
    "pass": _set("db database smtp mail ftp user admin root redis pg"),
    "key": _set("api access private secret account auth encryption signing master subscription ssh shared"),
    "keys": _set("api access private secret account auth encryption signing master subscription ssh shared"),
}
_SECRET_AT_END = _set("token auth jwt cookie pwd pin")
_WEAK = _SECRET_AT_END - {"jwt"}
"""Alone they are also ordinary words: in a running text the value has to look like a secret too."""
# `password_file` says where it lies, `secret_length` how long it is: not what it is
_PLACES = _set(
    "file files path dir folder name names field env var variable id ids type kind length len size min max count "
    "policy required enabled url uri endpoint method mode scheme expiry ttl age store"
)
# `pad_token="<pad>"` belongs to a tokenizer
_MODEL_TOKENS = _set(
    "pad eos bos unk sep cls mask special image audio video start end stop next prev previous first last begin new "
    "decoder per num n max min class text input output prompt sub word additional"
)
_NUMBERS_TOO = _set("password passwords passwd pwd passphrase secret secrets pin")
_SWITCHES = _set("no use with without skip enable disable")
_DIGEST_LENGTHS = (32, 40, 56, 64, 96, 128)


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Does a name promise a secret? By whole words, split at `_ - .` and at capitals.

    Example:
        >>> is_secret_name("hf_token"), is_secret_name("tokenizer"), is_secret_name("max_tokens")
        (True, False, False)
    """
    lower = name.lower()
    if not any(stem in lower for stem in _STEMS):
        return False
    words = _words(name)
    if words in {(), ("pwd",)}:  # PWD is the working directory
        return False
    if words[-1] in _SECRET_AT_END:
        return not (words[-1] == "token" and len(words) > 1 and words[-2] in _MODEL_TOKENS)
    if words[-1] in _PLACES:
        return False
    if any(word in _SECRET or word.endswith(("password", "passwd", "passphrase")) for word in words):
        return True
    return any(one in _SECRET_OF.get(other, ()) for one, other in zip(words, words[1:], strict=False))  # noqa: RUF007


@lru_cache(maxsize=4096)
def _words(name: str) -> tuple[str, ...]:
    import re

    return tuple(word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name))


def redact_text(text: str, *, code: bool = False) -> tuple[str, Hits]:
    """Take the secrets out of a text.

    Args:
        text: a line of output, a message, a whole file.
        code: it is source code: secrets by name are looked for in quoted literals only, and none by randomness.

    Returns:
        The text and, for each place that was replaced, the sign it was known by; the same text and () if there is none.

    Example:
        >>> redact_text("connecting to postgresql://ann:hunter2@db/x")
        ('connecting to postgresql://[redacted]@db/x', ('URL password',))
    """
    hits: list[str] = []
    patterns = _patterns
    longest = max(map(len, text.split()), default=0)
    for needle, kind in _NEEDLES if longest >= _SHORTEST else _NEEDLES_OF_SHORT:
        if needle in text:
            text, count = patterns[kind].subn(rf"\g<keep>{REDACTED}", text)
            hits += [kind] * count
    if _may_name(text):
        text = _redact_by_name(text, hits, patterns, code=code)
    if longest >= 24 and not code and patterns["random"].search(text) is not None:
        text = _redact_random(text, hits, patterns["random"])
    return text, tuple(hits)


def _may_name(text: str) -> bool:
    """Could a secret be named here? Most lines are done after this look, which costs a tenth of the full one."""
    lower = text.lower()
    for stem in _STEMS:
        if stem in lower:
            at = lower.find(stem)
            while at >= 0:
                if _patterns["assigned"].match(lower, at) is not None or "--" in lower:
                    return True
                at = lower.find(stem, at + 1)
    return False


# A text without a rule's needle need not be shown to its regular expression, which costs twenty times as much; nor need
# one without a long word to those of long tokens.
_NEEDLES_OF_SHORT = (("://", "URL password"), ("PRIVATE KEY", "private key"))
_SHORTEST = 15
_NEEDLES = (
    *_NEEDLES_OF_SHORT,
    ("?", "URL signature"),
    ("earer", "bearer token"),
    ("sk-", "OpenAI or Anthropic key"),
    ("k_", "Stripe key"),
    ("hf_", "Hugging Face token"),
    *((f"gh{kind}_", "GitHub token") for kind in "pousr"),
    ("github_pat_", "GitHub token"),
    ("glpat-", "GitLab token"),
    ("xox", "Slack token"),
    ("AIza", "Google key"),
    ("ya29.", "Google token"),
    ("AKIA", "AWS key"),
    ("ASIA", "AWS key"),
    ("eyJ", "JWT"),
)


_KEY_LINES = r"(?:(?:\s|\\[nr])*[A-Za-z0-9+/=]{16,})*"
_KEY_END = r"[\w+/=\s\\:,.-]{0,20000}?-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
_FORMS = {
    "URL password": r"(?P<keep>://)[^\s/:@\"'<>]*:(?!\$?\{|<|%\(|\[redacted)[^\s/\"'<>]+(?=@)",
    "URL signature": r"(?P<keep>[?&](?:sig|[\w-]*[Ss]ignature)=)(?!\[redacted)[^&\s\"']+",
    "bearer token": r"(?P<keep>\b[Bb]earer[ \t]+)(?=\S*\d)[A-Za-z0-9._~+/=-]{16,}",
    "OpenAI or Anthropic key": r"(?P<keep>\b)sk-(?=[A-Za-z_-]{0,80}\d)[A-Za-z0-9_-]{20,}",
    "Stripe key": r"(?P<keep>\b)[rs]k_(?:live|test)_[A-Za-z0-9]{16,}",
    "Hugging Face token": r"(?P<keep>\b)hf_[A-Za-z0-9]{20,}",
    "GitHub token": r"(?P<keep>\b)(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{22,})",
    "GitLab token": r"(?P<keep>\b)glpat-[\w-]{20,}",
    "Slack token": r"(?P<keep>\b)xox[abeoprs]-[\w-]{10,}",
    "Google key": r"(?P<keep>\b)AIza[\w-]{35,}",
    "Google token": r"(?P<keep>\b)ya29\.[\w-]{20,}",
    "AWS key": r"(?P<keep>\b)(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    "JWT": r"(?P<keep>\b)eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?",
    "private key": rf"(?P<keep>)-----BEGIN [A-Z0-9 ]{{0,40}}PRIVATE KEY(?: BLOCK)?-----(?:{_KEY_END}|{_KEY_LINES})",
    # an option and a space, or a name and a sign of assignment
    "name": r"(?<![\w.-])(?:--?([A-Za-z][\w.-]{0,200})[ \t]+(?=[^\s=:-])"
    r"|([A-Za-z_-][\w.-]{0,200})(?:\\?[\"'])?\]?[ \t]*(?::=|=>|={1,3}|:)[ \t]*)",
    "assigned": r"[\w.-]{0,200}(?:\\?[\"'])?\]?[ \t]*[:=]",
    "literal": r"(?:[\w.\[\], |]{1,100}=[ \t]*)?[rRbBuU]{0,2}(?:\"((?:[^\"\\\n]|\\.)+)\"|'((?:[^'\\\n]|\\.)+)')",
    "value": r"(?:(?:[Bb]earer|[Bb]asic|[Tt]oken|[Dd]igest)[ \t]+)?(?:[bBrRuU]{1,2}(?=[\"']))?"
    r"(?:\"((?:[^\"\\\n]|\\.)+)\"|'((?:[^'\\\n]|\\.)+)'"
    r"|[\\\"'\[({]*([^\s\"'\\&,;)}\]]+(?:[,;)}\]]+[^\s\"'\\&,;)}\]]+)*))",
    "number": r"[-+]?[\d_]*\.?\d+(?:[eE][-+]?\d+)?%?",
    "nothing": r"(?i:none|null|nan|true|false|yes|no|on|off|[*•]*|x{3,}|[.]{3}|-+"
    r"|<[^<>]*>|\$\w+|\$?\{[^{}]*\}|%\(\w+\)s)",
    "random": r"[A-Za-z0-9+/_-]{24,}={0,2}",
}


class _Patterns(dict[str, "re.Pattern[str]"]):
    """The regular expressions by kind, each compiled when a text first needs it; linear in the length of the text."""

    def __missing__(self, kind: str) -> re.Pattern[str]:
        import re

        compiled = self[kind] = re.compile(_FORMS[kind])
        return compiled


_patterns = _Patterns()


def _redact_by_name(text: str, hits: list[str], patterns: dict[str, re.Pattern[str]], *, code: bool) -> str:
    parts: list[str] = []
    done = 0
    for match in patterns["name"].finditer(text):
        name = match[1] or match[2]
        if match.start() < done or not is_secret_name(name) or (code and match[1]):
            continue
        found = patterns["literal" if code else "value"].match(text, match.end())
        if found is None:
            continue
        group = found.lastindex or 0
        if text.startswith(REDACTED, found.start(group) - 1):
            continue
        if _is_no_secret(name, found[group], code=code, running=match[1] is None):
            continue
        parts += (text[done : found.start(group)], REDACTED)
        done = found.end(group)
        hits.append("name")
    return "".join((*parts, text[done:])) if parts else text


def _is_no_secret(name: str, value: str, *, code: bool = False, running: bool = False) -> bool:
    """Is the text under the name of a secret plainly none: a number, a variable, a word about secrets?"""
    patterns = _patterns
    if REDACTED in value or patterns["nothing"].fullmatch(value):
        return True
    words = _words(name)
    if patterns["number"].fullmatch(value):
        return _NUMBERS_TOO.isdisjoint(words)
    if code and (len(value) < 4 or is_secret_name(value) or (value.isupper() and "_" in value)):
        return True
    weak = running and len(words) == 1 and words[0] in _WEAK
    return weak and (len(value) < 8 or not any(letter.isdigit() for letter in value))


def _redact_random(text: str, hits: list[str], pattern: re.Pattern[str]) -> str:
    def replace(match: re.Match[str]) -> str:
        before, after = text[: match.start()][-8:], text[match.end() :][:2]
        if not _looks_random(match[0].rstrip("="), before.lower(), after):
            return match[0]
        hits.append("random")
        return REDACTED

    return pattern.sub(replace, text)


def _looks_random(token: str, before: str, after: str) -> bool:
    """Is it a key rather than a path, a digest, a UUID or a name made of words?"""
    import re

    if before.endswith((".", "\\", "~", "%", "[")) or (after[:1] == "." and after[1:].isalnum()) or token[0] == "/":
        return False
    if re.search(r"(sha\d+|md5|h1)[:=]$", before) or re.match(r"sha\d+-", token):
        return False
    pieces = re.split(r"[/_-]", token)
    words = sum(len(piece) for piece in pieces if re.fullmatch(r"[A-Za-z][a-z]{2,}", piece))
    if "/" in token and words * 8 >= len(token):
        return False
    if re.fullmatch(r"[0-9a-fA-F]+", token):
        return len(token) > 35 and len(token) not in _DIGEST_LENGTHS and not token.isdigit() and len(set(token)) > 8
    rest = "".join(piece for piece in pieces if not re.fullmatch(r"[0-9a-fA-F]+|\d*[A-Z]?[a-z]*\d*|[A-Z]+", piece))
    digits = sum(map(str.isdigit, rest))
    mixed = any(map(str.islower, rest)) and any(map(str.isupper, rest))
    if len(rest) < (20 if mixed else 32) or digits < (2 if mixed else 5):
        return False
    kinds = [(letter.isdigit(), letter.isupper()) for letter in rest]
    switches = sum(one != other for one, other in zip(kinds, kinds[1:], strict=False))  # noqa: RUF007
    in_words = sum(map(len, re.findall(r"[a-z]{4,}", rest))) if mixed else 0
    return switches >= len(rest) * 0.27 and in_words <= len(rest) * 0.3 and _entropy(rest) >= 3.7


def _entropy(text: str) -> float:
    """Shannon entropy in bits for each character."""
    shares = [text.count(letter) / len(text) for letter in set(text)]
    return -sum(share * math.log2(share) for share in shares)


def redact_argv(argv: Sequence[str]) -> list[str]:
    """Take the secrets out of a command line, given as its list of arguments.

    Example:
        >>> redact_argv(["train.py", "--token", "s3cr3t", "db.password=x y", "--lr=0.1"])
        ['train.py', '--token', '[redacted]', 'db.password=[redacted]', '--lr=0.1']
    """
    return _redact_items(argv, [])


def redact_value(name: str, value: Any) -> Any:
    """Take the secrets out of a param, a tag, a setting, an environment variable and whatever is nested in it.

    Give it what `mlsdk.log.values.encode` returned: only there are fields of objects seen. Under the name of a secret
    texts and bytes are replaced, numbers only if it is the name of a password; None and booleans stay.

    Returns:
        The value without its secrets; the very same object where it has none.

    Example:
        >>> redact_value("config", {"api_key": "abc", "max_tokens": 5})
        {'api_key': '[redacted]', 'max_tokens': 5}
    """
    hits: list[str] = []
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
        return value if _NUMBERS_TOO.isdisjoint(_words(owner)) else _hit(hits)
    if isinstance(value, (bytes, bytearray)):
        return _hit(hits) if owner else value
    if isinstance(value, dict):
        if type(value.get("$")) is str:
            return _redact_tag(name, value, hits, owner)
        inherited = "" if _words(owner) == ("auth",) else owner  # `auth` may be any section of a configuration
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
    if kind in {"int", "decimal", "fraction", "complex"}:
        return _redact(name, 0, hits, owner) or tag
    if kind in {"str", "bytes"}:
        return _hit(hits) if owner or (kind == "str" and redact_text(str(content))[1]) else tag
    for key in ("text", "start"):  # of what is described, of what lies in a blob
        if isinstance(tag.get(key), str):
            tag = {**tag, key: _redact_str(owner, tag[key], hits)}
    return tag


def _redact_items(items: Sequence[Any], hits: list[str], owner: str = "") -> list[Any]:
    """A sequence, which may be a command line: an option and its value can be two items, or one with `=`."""
    result: list[Any] = []
    option = ""
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
        takes_value = item.startswith("-") and not equals and is_secret_name(item)
        option = item if takes_value and _words(item)[0] not in _SWITCHES else ""
    return result


def _redact_str(owner: str, value: str, hits: list[str]) -> str:
    if owner and not _is_no_secret(owner, value):
        return _hit(hits)
    redacted, found = redact_text(value)
    hits += found
    return redacted


def _hit(hits: list[str]) -> str:
    hits.append("name")
    return REDACTED
