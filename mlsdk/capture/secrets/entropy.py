"""Long words that look random: the last sign of a secret, outside code only."""

from __future__ import annotations

import math

from mlsdk.capture.secrets.forms import PATTERNS, REDACTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re

_DIGEST_LENGTHS = (32, 40, 56, 64, 96, 128)
_LONGEST_KEY = 400
"""What is longer without a break is data: a picture, weights."""


def redact_random(text: str, hits: list[str]) -> str:
    """Take out of a text what looks like a key rather than a path, a digest, a UUID or a name made of words."""

    def replace(match: re.Match[str]) -> str:
        before, after = text[: match.start()][-8:], text[match.end() :][:2]
        if not _looks_random(match[0].rstrip("="), before.lower(), after):
            return match[0]
        hits.append("random")
        return REDACTED

    return PATTERNS["random"].sub(replace, text)


def _looks_random(token: str, before: str, after: str) -> bool:
    import re

    if len(token) > _LONGEST_KEY or before.endswith((".", "\\", "~", "%", "[", "base64,")):
        return False
    if after[:1] == "." and after[1:].isalnum():
        return False
    if token.startswith(("_Z", "__Z")):  # a symbol of C++, in a stack trace
        return False
    if re.search(r"(sha\d+|md5|h1)[:=]$", before) or re.match(r"sha\d+-", token):
        return False
    pieces = re.split(r"[/_-]", token)
    words = sum(len(piece) for piece in pieces if re.fullmatch(r"[A-Za-z][a-z]{2,}", piece))
    if "/" in token and words * 8 >= len(token):
        return False
    if re.fullmatch(r"[0-9a-fA-F]+", token):
        if re.search(r"(?:id|hash|digest|commit|etag|sum)[\"']?[:=] ?$", before):
            return False
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
