"""Files of the code: those that are secrets as a whole, and the spans in the others that are.

A file that is a secret (`.env`, a private key) is kept out of what is recorded, and known by a keyed digest. Any other
keeps every byte but those of a secret's own span.
"""

from __future__ import annotations

import re

from mlsdk.capture.secrets.forms import TOKENS
from mlsdk.capture.secrets.names import STEMS
from mlsdk.capture.secrets.redaction import redact_keys, redact_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_NAMES = {
    name: what
    for what, names in {
        "a file of passwords": ".netrc _netrc .pgpass .htpasswd .git-credentials .my.cnf .pypirc .dockercfg "
        ".vault-token .boto .s3cfg .renviron kaggle.json",
        "a file of credentials": "credentials.json application_default_credentials.json service_account.json "
        "service-account.json kubeconfig terraform.tfstate terraform.tfstate.backup",
        "a file of secrets": "secrets.json secrets.yaml secrets.yml secrets.toml secrets.ini secrets.env .secrets",
    }.items()
    for name in names.split()
}
_PATHS = (".aws/credentials", ".kube/config", ".docker/config.json", ".huggingface/token", "huggingface/token")
_ENDINGS = {
    ".pfx": "a key store",
    ".p12": "a key store",
    ".jks": "a key store",
    ".keystore": "a key store",
    ".kdbx": "a store of passwords",
    ".ppk": "a private key",
}
_KEY_NAME = re.compile(r"id_(?:rsa|dsa|ecdsa|ed25519)(?:_sk)?(?!.*\.pub$)(?:[._-].*)?$")
_CLIENT = re.compile(r"(?:client_?secrets?|service[_-]account)[\w.-]*\.json$")
_ENVIRONMENT = re.compile(r"\.env(?:\..+)?$|.+\.env$", re.DOTALL)
_EXAMPLE = re.compile(r"(?:^|[._-])(?:examples?|samples?|templates?|dist|defaults?|schema|tpl)(?:[._-]|$)")

_SETTINGS = (
    *(".yaml", ".yml", ".ini", ".cfg", ".conf", ".toml", ".json", ".xml", ".properties", ".tf", ".tfvars", ".npmrc"),
    *(".sh", ".bash", ".zsh", ".ps1", ".env", ".envrc", ".dockerfile"),
)
"""Files whose texts need no quotes."""

_PRIVATE = re.compile(rb"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_PUBLIC = re.compile(rb"-----BEGIN (?:CERTIFICATE|[A-Z0-9 ]*PUBLIC KEY|[A-Z0-9 ]*PARAMETERS|X509 CRL)|\s*Certificate:")
_TOKEN_OF_NPM = re.compile(rb"_(?:authToken|auth|password)\s*=\s*(?!\$\{)\S")
_AWS_TABLE = re.compile(rb"(?:\xef\xbb\xbf)?(?:user name,.*)?access key id,\s*secret access key", re.IGNORECASE)


def is_secret_file(path: str, head: bytes) -> str | None:
    """Is a file a secret as a whole, and why?

    Args:
        path: of the file, in any style.
        head: its first bytes; 4096 are enough, all of them are fine.

    Returns:
        A reason in words, or None. Files of examples (`.env.example`), public keys and certificates are no secrets.
        A private key for tests is one: nothing in it tells what it opens.

    Example:
        >>> is_secret_file("deploy/.env", b"A=1"), is_secret_file(".env.example", b"A=1")
        ('a file of environment variables', None)
    """
    path = path.replace("\\", "/").lower()
    name = path.rpartition("/")[2]
    return _by_name(path, name, head) or _by_content(head)


def _by_name(path: str, name: str, head: bytes) -> str | None:
    if _EXAMPLE.search(name):
        return None
    if _ENVIRONMENT.match(name):
        return "a file of environment variables"
    if name in _NAMES:
        return _NAMES[name]
    if path.endswith(_PATHS) or _CLIENT.match(name):
        return "a file of credentials"
    if _KEY_NAME.match(name):
        return "a private key"
    ending = name[name.rfind(".") :] if "." in name else ""
    if ending in {".pem", ".key"} and not head.startswith(b"PK\x03\x04"):  # slides of Keynote are a zip
        return "a private key" if _PRIVATE.search(head) or not _PUBLIC.search(head) else None
    if name == ".npmrc" and _TOKEN_OF_NPM.search(head):
        return "a file of passwords"
    return _ENDINGS.get(ending)


def _by_content(head: bytes) -> str | None:
    start = head[:4096].lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith((b"-----BEGIN", b"PuTTY-User-Key-File-", b"\xfe\xed\xfe\xed")):
        return "a private key" if start[:5] != b"-----" or _PRIVATE.match(start) else None
    if start.startswith(b"{") and b'"private_key"' in head and b"service_account" in head:
        return "the key of a service account"
    if start.startswith(b"{") and b'"refresh_token"' in head and b'"client_secret"' in head:
        return "a file of credentials"
    if (
        b"client-key-data:" in head
        and re.search(rb"(?m)^ +client-key-data:", head)
        and re.search(rb"(?m)^kind: Config", head)
    ):
        return "a file of credentials"
    return "a file of credentials" if _AWS_TABLE.match(start) else None


def redact_source(data: bytes, path: str) -> tuple[bytes, int]:
    r"""Replace the secrets in a file of source code, each by its own; every other byte and every line end stays.

    Args:
        data: the whole file, in whatever encoding. A binary file is looked through for private keys only.
        path: of the file; its ending tells code from settings, where texts need no quotes.

    Returns:
        The bytes, the very same object where nothing was replaced, and the number of spans.

    Example:
        >>> redact_source(b'user = "ann"\r\npassword = "hunter2"\r\n', "login.py")
        (b'user = "ann"\r\npassword = "[redacted]"\r\n', 1)
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return _redact_wide(data, path)
    if b"\0" in data[:8192]:
        return _redact_binary(data)
    bare = _is_settings(path)
    windows = [(0, len(data))] if b"PRIVATE KEY" in data else _windows(data, bare=bare)
    parts: list[bytes] = []
    done = count = 0
    for start, end in windows:
        text = data[start:end].decode("utf-8", "surrogateescape")
        redacted, hits = redact_text(text, code=True, bare=bare)
        if hits:
            parts += (data[done:start], redacted.encode("utf-8", "surrogateescape"))
            done = end
            count += len(hits)
    return (b"".join((*parts, data[done:])), count) if parts else (data, 0)


def _redact_binary(data: bytes) -> tuple[bytes, int]:
    if _PRIVATE.search(data) is None:
        return data, 0
    text, count = redact_keys(data.decode("utf-8", "surrogateescape"))
    return text.encode("utf-8", "surrogateescape"), count


def _redact_wide(data: bytes, path: str) -> tuple[bytes, int]:
    """A text in UTF-16, as Windows writes it."""
    coding = "utf-16-le" if data[:1] == b"\xff" else "utf-16-be"
    text = data.decode(coding, "surrogatepass" if len(data) % 2 == 0 else "ignore")
    redacted, hits = redact_text(text, code=True, bare=_is_settings(path))
    return (redacted.encode(coding, "surrogatepass"), len(hits)) if hits else (data, 0)


def _is_settings(path: str) -> bool:
    name = path.replace("\\", "/").rpartition("/")[2].lower()
    return name.endswith(_SETTINGS) or name.startswith((".env", "dockerfile", ".npmrc", "makefile"))


# Where a secret may be in a file, found on the bytes: a few looks for short pieces and one for long words cost a
# hundredth of the regular expressions, which then see a few lines only.
_STEMS = tuple(stem.encode() for stem in STEMS if stem not in {"pin", "jwt"})  # in code, a token's form tells more
_ASSIGNED = re.compile(
    rb"[\w.\x80-\xff-]{0,200}(?:\\{0,3}[\"'])?\]?[ \t]*(?:!?[:=]|>[^<\s])|[\w.-]{0,200}[\"'][ \t]*,"
    rb"|\w{0,200}\([ \t]*[\"']|[\w.-]{0,200}[\"']?[ \t]*\r?\n[ \t]*value:"
)
_MARKS = bytes(120 if (byte < 128 and chr(byte).isalnum()) or byte in b"_-" else 32 for byte in range(256))
_LONG = b"x" * 20
"""Every token of a known form holds a word of so many letters, which has the needle or begins just behind it."""
_NEEDLES = tuple({needle.encode() for needle, _ in TOKENS} | {b"earer", b"login"})
_LINES_AFTER = 8
"""A value in brackets may stand on the lines after its name."""


def _windows(data: bytes, *, bare: bool) -> list[tuple[int, int]]:
    """Pieces of whole lines to be looked at closely, in order and apart from each other."""
    places = [*_named(data, bare=bare), *_linked(data), *_long_words(data)]
    windows: list[tuple[int, int]] = []
    line_end, size = -1, len(data) + 1
    for place in sorted(places):
        if place <= line_end:
            continue
        start = data.rfind(b"\n", 0, place) + 1
        end = line_end = data.find(b"\n", place) % size  # -1, not found, is the end of the file
        for _ in range(_LINES_AFTER):
            end = data.find(b"\n", end + 1) % size
        if windows and start <= windows[-1][1]:
            start = windows.pop()[0]
        windows.append((start, end))
    return windows


def _named(data: bytes, *, bare: bool) -> Iterator[int]:
    """Names that may promise a secret, with what looks like an assignment."""
    lower = data.lower()
    for stem in _STEMS:
        at = lower.find(stem)
        while at >= 0:
            if _ASSIGNED.match(lower, at) is not None:
                yield at
            else:
                before = lower[lower.rfind(b"\n", max(0, at - 300), at) + 1 : at]
                if b"==" in before or b"!=" in before or b"--" in before or b"env " in before:
                    yield at
            at = lower.find(stem, at + 1)
    for command in (b"curl ", b"machine ", b"sshpass", b"mysql") if bare else ():
        at = data.find(command)
        while at >= 0:
            yield at
            at = data.find(command, at + 1)


def _linked(data: bytes) -> Iterator[int]:
    """URLs with more than an address."""
    at = data.find(b"://")
    while at >= 0:
        rest = data[at : at + 400].split(None, 1)[0]
        if b"@" in rest or b"=" in rest or b"hooks" in rest:
            yield at
        at = data.find(b"://", at + 3)


def _long_words(data: bytes) -> Iterator[int]:
    """Words that are long enough for a token and have a needle."""
    marks = data.translate(_MARKS)
    find, places, words = marks.find, [], []
    at = find(_LONG)
    while at >= 0:
        end = find(b" ", at + len(_LONG))
        places.append(at)
        words.append(data[at - 8 if at > 8 else 0 : end if end >= 0 else None])
        at = find(_LONG, end) if end >= 0 else -1
    together = b"\n".join(words)
    needles = [needle for needle in _NEEDLES if needle in together]
    if needles:
        yield from (place for place, word in zip(places, words, strict=True) if any(map(word.__contains__, needles)))
