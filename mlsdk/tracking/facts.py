"""What the calls of a live run make of their arguments: facts ready for the log."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping
from types import TracebackType

from mlsdk.capture import PutBlob
from mlsdk.capture.secrets.redaction import redact_text
from mlsdk.errors import UsageError
from mlsdk.log.values import dumps
from mlsdk.tracking.numbers import check_name, number

_DEEPEST = 20
"""Mappings in mappings, in what a function returns."""


def nanoseconds(at: object) -> int:
    """A time given by a caller as nanoseconds since 1970.

    Raises:
        UsageError: a naive datetime, or something that is no time.
    """
    datetime = sys.modules.get("datetime")  # whoever has a datetime has loaded it
    if datetime is not None and isinstance(at, datetime.datetime):
        if at.tzinfo is None:
            raise UsageError(f"at={at!r} has no time zone; use datetime.now(timezone.utc) or seconds since 1970")
        at = at.timestamp()
    if isinstance(at, bool) or not isinstance(at, (int, float)) or not -9e9 < at < 9e9:
        raise UsageError(f"at must be an aware datetime or seconds since 1970, not {at!r}")
    return round(at * 1e9)


def final_numbers(returned: object) -> dict[str, object]:
    """The numbers in a returned mapping by metric name; none in anything else that a function returns."""
    found: dict[str, object] = {}
    with contextlib.suppress(Exception):  # it may be an odd object, which raises at any question
        if isinstance(returned, Mapping):
            _collect(returned, "", 0, found)
    return found


def _collect(values: Mapping[object, object], prefix: str, depth: int, found: dict[str, object]) -> None:
    for key, value in values.items():
        with contextlib.suppress(Exception):  # as above; only what is a number is a metric
            name = f"{prefix}{key}"
            if isinstance(value, Mapping) and depth < _DEEPEST:
                _collect(value, f"{name}/", depth + 1, found)
            else:
                found[check_name(name)] = number(name, value)


def artifact(put_blob: PutBlob, source: object, name: str | None) -> dict[str, object]:
    """Put an artifact away and say what it is.

    Raises:
        UsageError: bytes without a name, a path where nothing is, something else.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        if not name:
            raise UsageError("log_artifact(bytes) needs a name=")
        digest, size = put_blob(bytes(source))
        return {name: {"digest": digest, "size_bytes": size}}
    if not isinstance(source, (str, os.PathLike)):
        raise UsageError(f"log_artifact takes a path or bytes, not {type(source).__name__}; serialise it first")
    path = os.fspath(source)
    if os.path.isfile(path):
        digest, size = put_blob(path)
        return {name or os.path.basename(path): {"digest": digest, "size_bytes": size}}
    if not os.path.isdir(path):
        raise UsageError(f"log_artifact: there is no file or folder {path!r}")
    files, total = {}, 0
    for inside in _files_below(path):
        digest, size = put_blob(os.path.join(path, inside))
        files[inside.replace(os.sep, "/")] = digest
        total += size
    manifest = dumps(files)
    return {
        name or os.path.basename(os.path.abspath(path)): {
            "digest": put_blob(manifest)[0],
            "size_bytes": total,
            "files": files,
        }
    }


def _files_below(folder: str) -> list[str]:
    found = []
    for parent, folders, names in os.walk(folder):
        folders.sort()
        found += [
            os.path.relpath(os.path.join(parent, name), folder)
            for name in sorted(names)
            if os.path.isfile(os.path.join(parent, name))
        ]
    return found


def _own_part(trace: TracebackType | None) -> TracebackType | None:
    """A traceback without the frames of this package that it begins with: the wrapper of a tracked function."""
    ours = os.path.dirname(__file__)
    rest = trace
    while rest is not None and rest.tb_frame.f_code.co_filename.startswith(ours):
        rest = rest.tb_next
    return rest or trace


def outcome(error: BaseException) -> tuple[str, dict[str, object] | None]:
    """Status of a run that an exception ended, and what to keep of the exception."""
    if isinstance(error, GeneratorExit) or (isinstance(error, SystemExit) and error.code in (None, 0)):
        return "finished", None
    import traceback

    cancelled = getattr(sys.modules.get("asyncio"), "CancelledError", KeyboardInterrupt)
    status = "interrupted" if isinstance(error, (KeyboardInterrupt, cancelled)) else "failed"
    trace = "".join(traceback.format_exception(type(error), error, _own_part(error.__traceback__)))
    try:
        message = str(error)
    except Exception:  # a broken __str__ must not take the place of the error
        message = f"<{type(error).__qualname__}>"
    kept: dict[str, object] = {
        "type": type(error).__qualname__,
        # cut afterwards again: half a secret has no form to be known by
        "message": redact_text(message[:11_000])[0][:10_000],
        "traceback": redact_text(trace[-31_000:])[0][-30_000:],
    }
    return status, kept
