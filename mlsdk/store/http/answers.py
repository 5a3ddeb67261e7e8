"""What a server answered: the errors it told are raised again here, and what is no answer of it is named."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from mlsdk import errors
from mlsdk.errors import (
    AccessError,
    AmbiguousError,
    ConflictError,
    MlsdkError,
    NewerFormatError,
    NotFoundError,
    QueryError,
    StoreError,
    UnavailableError,
)
from mlsdk.store.credentials import why_none

API = 1
"""The version of the HTTP API that this client speaks."""

LONGEST_WAIT_S = 3600.0
"""A server that asks for more is not believed."""

_LATER = frozenset({408, 425, 429, 502, 503, 504})
"""Statuses after which the same request may succeed."""

_UPGRADE = 426


class Answer(NamedTuple):
    """An answer, whole and understood."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON.

        Raises:
            StoreError: it is none.
        """
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise StoreError(f"the server sent what is no JSON: {error}; is it a newer or damaged one?") from None

    def number(self, header: str) -> float:
        """A header that is a number.

        Raises:
            StoreError: it is not there, or is none.
        """
        try:
            return float(self.headers[header])
        except (KeyError, ValueError):
            raise StoreError(f"the server's answer has no {header}; is it an older one? Upgrade the server") from None


def check(origin: str, answer: Answer) -> None:
    """Go on only with an answer that is of a server of mlsdk, in a version that is understood, and no error.

    Raises:
        MlsdkError: what the server told, or what is wrong with the answer.
    """
    if "Mlsdk-Api" not in answer.headers:
        raise foreign(origin, answer)
    spoken = [int(word) for word in re.findall(r"\d+", answer.headers["Mlsdk-Api"])]
    if answer.status != _UPGRADE and spoken and API not in spoken:
        raise StoreError(_upgrade(origin, answer, min(spoken) > API))
    if answer.status >= 400:
        raise told(origin, answer)


def _upgrade(origin: str, answer: Answer, newer: bool) -> str:
    what = f"mlsdk {answer.headers.get('Mlsdk-Version', '?')}, API {answer.headers['Mlsdk-Api']}"
    todo = "upgrade here: pip install -U mlsdk" if newer else "upgrade the server"
    return f"the server {origin} ({what}) does not speak API {API} of this mlsdk: {todo}"


def told(origin: str, answer: Answer) -> MlsdkError:
    """The error that a server told."""
    try:
        about = json.loads(answer.body)["error"]
    except (ValueError, TypeError, LookupError):  # an answer to HEAD has no body
        about = {}
    return made(origin, answer.status, about if isinstance(about, dict) else {}, answer.headers)


def made(origin: str, status: int, about: Mapping[str, Any], headers: Mapping[str, str]) -> MlsdkError:
    """An error from its description in JSON.

    Args:
        origin: of the server.
        status: of the answer; says the kind where the description does not.
        about: `type`, `message`, and the attributes of the error.
        headers: of the answer.
    """
    message = str(about.get("message") or f"{origin} answered {status} without saying why")
    wait = seconds(about.get("retry_after_s"))
    if wait is None:
        wait = seconds(headers.get("Retry-After"))
    kind = getattr(errors, str(about.get("type")), None)
    if not (isinstance(kind, type) and issubclass(kind, MlsdkError)):
        kind = _kind_of(status)
    if status == _UPGRADE:
        return (
            NewerFormatError(f"{origin}: {message}") if kind is NewerFormatError else StoreError(f"{origin}: {message}")
        )
    if status in _LATER or issubclass(kind, UnavailableError):
        return UnavailableError(message, wait)
    if issubclass(kind, ConflictError):
        end = about.get("end")
        return ConflictError(message, str(about.get("log", "")), end if isinstance(end, int) else 0)
    if issubclass(kind, QueryError):
        text, position = str(about.get("text") or ""), about.get("position")
        return QueryError(message.partition("\n")[0], text, position if isinstance(position, int) else None)
    if issubclass(kind, AmbiguousError):
        return AmbiguousError(message, tuple(map(str, about.get("candidates") or ())))
    if issubclass(kind, AccessError) and status == 401:
        return AccessError(f"{origin}: {message}; {why_none(origin)}")
    return kind(message)


def _kind_of(status: int) -> type[MlsdkError]:
    if status in _LATER:
        return UnavailableError
    return {401: AccessError, 403: AccessError, 404: NotFoundError}.get(status, StoreError)


def foreign(origin: str, answer: Answer) -> StoreError:
    """What an answer means that no server of mlsdk gave: a proxy, a login page of a network, another site."""
    kind = answer.headers.get("Content-Type", "").partition(";")[0] or "no type"
    title = re.search(rb"<title[^>]*>\s*(.{1,80}?)\s*</title>", answer.body[:65_536], re.IGNORECASE | re.DOTALL)
    page = f" ({title[1].decode('utf-8', 'replace')!r})" if title else ""
    if answer.status in _LATER or answer.status >= 500:
        wait = seconds(answer.headers.get("Retry-After"))
        return UnavailableError(
            f"{origin} cannot be reached: something before it answered {answer.status}, {kind}{page}", wait
        )
    if 300 <= answer.status < 400:
        to = re.match(r"https?://[^/?#@]+", answer.headers.get("Location", ""))
        return StoreError(
            f"{origin} sends elsewhere ({answer.status} to {to[0] if to else 'another page'}), and tokens are not"
            " sent after it: use the address where the server is; or sign in to this network first"
        )
    return StoreError(
        f"what answers at {origin} is no server of mlsdk ({answer.status}, {kind}{page}): is the address right? A proxy"
        " or the sign-in page of a network may stand before it"
    )


def seconds(value: object) -> float | None:
    """How long to wait, from seconds or from the date of `Retry-After`; None if it says nothing."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        found = float(value)
    except ValueError:
        from email.utils import parsedate_to_datetime

        try:
            found = parsedate_to_datetime(str(value)).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
    return None if math.isnan(found) else min(max(found, 0.0), LONGEST_WAIT_S)
