"""What a row of the route table says, applied to a request: its query, its body in JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from mlsdk.errors import UsageError
from mlsdk.server.calls import Param, Refused, Row, wrong

SECRETS = frozenset(["access_token", "api_key", "apikey", "auth", "authorization", "password", "secret", "token"])
"""Names under which people put tokens into URLs, where logs and proxies keep them."""

_MOST_PARAMS = 20
_TRUE, _FALSE = ("1", "true", "yes"), ("0", "false", "no", "")


def decoder(row: Row) -> Callable[[bytes], Any]:
    """Reads the JSON of a row's bodies.

    Raises (the function it returns):
        Refused: it is no JSON, or not of that shape.
    """
    if row.body in (None, bytes):
        return bytes
    import msgspec

    reader: Any = msgspec.json.Decoder(row.body)

    def decode(data: bytes) -> Any:
        try:
            return reader.decode(data or b"{}")
        except (msgspec.MsgspecError, RecursionError, ValueError) as error:
            raise wrong(f"the body is not what this route takes: {str(error)[:300]}") from None

    return decode


def query(row: Row, raw: bytes) -> dict[str, Any]:
    """The parameters of a query, with types and defaults.

    Raises:
        Refused: an unknown one, one given twice, or a value of another type.
    """
    try:
        pairs = parse_qsl(
            raw.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=False,
            errors="strict",
            max_num_fields=_MOST_PARAMS,
        )
    except ValueError as error:
        raise wrong(f"the query of the URL cannot be read: {str(error)[:100]}") from None
    known = {param.name: param for param in row.params}
    found = {param.name: param.default for param in row.params}
    seen: set[str] = set()
    for name, value in pairs:
        if name not in known or name in seen:
            few = ", ".join(known) or "none"
            raise wrong(
                f"the parameter {name[:60]!r} is {'given twice' if name in seen else f'unknown here; known: {few}'}"
            )
        seen.add(name)
        found[name] = _typed(known[name], value)
    return found


def _typed(param: Param, value: str) -> Any:
    if param.type is int:
        if value.isascii() and value.isdigit() and len(value) < 19 and int(value) >= param.least:
            return int(value)
        raise wrong(f"{param.name} must be a whole number from {param.least} on, not {value[:40]!r}")
    if param.type is bool:
        if value.lower() in _TRUE or value.lower() in _FALSE:
            return value.lower() in _TRUE
        raise wrong(f"{param.name} must be 0 or 1, not {value[:40]!r}")
    return value


def secret_in(raw: bytes) -> str:
    """The name of a parameter in a query under which people put tokens; empty if there is none."""
    names = (pair.partition(b"=")[0].decode("latin-1").lower() for pair in raw.split(b"&"))
    return next((name for name in names if name.replace("-", "_") in SECRETS), "")


def token_in_url(name: str) -> Refused:
    """The answer to a token in a URL."""
    said = f"a token does not belong into a URL ({name}=…), where logs keep it: send `Authorization: Bearer <token>`."
    return Refused(400, UsageError(f"{said} Revoke that one, if it is real"))
