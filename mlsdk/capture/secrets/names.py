"""Names that promise a secret: `api_key`, `--db-password`, `HF_TOKEN`."""

from __future__ import annotations

from functools import lru_cache

STEMS = ("token", "pass", "secret", "key", "auth", "cred", "pwd", "cookie", "pin", "jwt")
"""Every name of a secret contains one of these: looked for first, because it costs next to nothing."""


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_SECRET = _set(
    "password passwords passwd passphrase passphrases passcode secret secrets credential credentials cred creds apikey "
    "apikeys secretkey accesskey privatekey authkey accesstoken authtoken apitoken bearertoken refreshtoken "
    "authorization"
)
_KEYS = _set(
    "api access private secret account auth encryption signing master subscription ssh shared license storage sas hmac "
    "consumer deploy app openai anthropic wandb stripe azure aws gcp gemini mistral cohere groq sendgrid datadog"
)
_SECRET_OF = {  # second words that are secrets after one of these
    "pass": _set("db database smtp mail ftp user admin root redis pg"),
    "key": _KEYS,
    "keys": _KEYS,
}
_SECRET_AT_END = _set("token auth jwt cookie pwd pin")
WEAK = _SECRET_AT_END - {"jwt"}
"""Alone they are also ordinary words: in a running text the value has to look like a secret too."""
# `password_file` says where it lies, `secret_length` how long it is, `password_prompt` how to ask: not what it is
_PLACES = _set(
    "file files path dir folder name names field env var variable id ids type kind length len size min max count "
    "policy required enabled url uri endpoint method mode scheme expiry ttl age store prompt label title message hint "
    "help error errors regex pattern format template placeholder prefix suffix header validator manager provider "
    "strength reset class"
)
# `pad_token="<pad>"` belongs to a tokenizer
_MODEL_TOKENS = _set(
    "pad eos bos unk sep cls mask special image audio video start end stop next prev previous first last begin new "
    "decoder per num n min max class text input output prompt sub word additional"
)
NUMBERS_TOO = _set("password passwords passwd pwd passphrase passcode secret secrets pin")
"""Under these a number is a secret as well."""
SWITCHES = _set("no use with without skip enable disable")
"""An option that begins so takes no value."""


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Does a name promise a secret? By whole words, split at `_ - .` and at capitals.

    Example:
        >>> is_secret_name("hf_token"), is_secret_name("tokenizer"), is_secret_name("max_tokens")
        (True, False, False)
    """
    lower = name.lower()
    if not any(stem in lower for stem in STEMS):
        return False
    words = words_of(name)
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
def words_of(name: str) -> tuple[str, ...]:
    """The words of a name, in lower case.

    Example:
        >>> words_of("dbPassword_2")
        ('db', 'password')
    """
    import re

    return tuple(word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name))
