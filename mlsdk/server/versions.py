"""Clients and servers of other versions: who is too old is told which side to upgrade."""

from __future__ import annotations

from collections.abc import Mapping

from mlsdk.errors import NewerFormatError, UsageError
from mlsdk.log.frames import FORMAT_VERSION
from mlsdk.server.calls import Refused
from mlsdk.version import VERSION

API_VERSION = 1

_UPGRADE = {"Upgrade": f"mlsdk/{API_VERSION}"}


def check_api(headers: Mapping[str, str]) -> None:
    """A client speaks an API that this server has, or says nothing of it.

    Raises:
        Refused: another one.
    """
    asked = headers.get("mlsdk-api", "")
    if asked and asked != str(API_VERSION):
        newer = asked.isascii() and asked.isdigit() and len(asked) < 9 and int(asked) > API_VERSION
        side = "upgrade the server" if newer else "upgrade the client: pip install -U mlsdk"
        said = f"this server (mlsdk {VERSION}) speaks API {API_VERSION}, the client {asked[:20]!r}: {side}"
        raise Refused(426, UsageError(said), _UPGRADE)


def check_format(headers: Mapping[str, str]) -> None:
    """Logs of a format that this server cannot read are not taken in.

    Raises:
        Refused: the client writes a newer one.
    """
    written = headers.get("mlsdk-format", "")
    if written.isascii() and written.isdigit() and len(written) < 9 and int(written) > FORMAT_VERSION:
        said = (
            f"this server (mlsdk {VERSION}) reads logs up to format {FORMAT_VERSION}, the client writes format"
            f" {written}: upgrade the server"
        )
        raise Refused(426, NewerFormatError(said), _UPGRADE)
