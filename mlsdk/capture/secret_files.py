"""Files of the code: those that are secrets as a whole, and the spans in the others that are.

A file that is a secret (`.env`, a private key) is kept out of what is recorded, and known by a keyed digest. Any other
keeps every byte but those of a secret's own span.
"""

from __future__ import annotations

import re

from mlsdk.capture.redaction import redact_text

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
_ENVIRONMENT = re.compile(r"\.env(?:\..+)?$|[\w.-]+\.env$")
_EXAMPLE = re.compile(r"(?:^|[._-])(?:examples?|samples?|templates?|dist|defaults?|schema|tpl)(?:[._-]|$)")

_PRIVATE = re.compile(rb"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_PUBLIC = re.compile(rb"\s*(?:[^-\n]*\n){0,40}?-----BEGIN (?:CERTIFICATE|[A-Z0-9 ]*PUBLIC KEY|DH PARAMETERS)")
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
    if ending in {".pem", ".key"} and not _PUBLIC.match(head) and not head.startswith(b"PK\x03\x04"):
        return "a private key"
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
    if b"client-key-data:" in head and b"kind: Config" in head:
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
    del path
    if b"\0" in data[:8192] and not _PRIVATE.search(data):
        return data, 0
    text, hits = redact_text(data.decode("utf-8", "surrogateescape"), code=True)
    return (text.encode("utf-8", "surrogateescape"), len(hits)) if hits else (data, 0)
