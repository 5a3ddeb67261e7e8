"""All errors of mlsdk. Each says what was wrong, with the value, and what to do next.

The tree::

    MlsdkError
    ├── UsageError (ValueError)       a mistake in the call: wrong argument, wrong moment
    │   ├── MetricError               a value that cannot be a metric without losing something
    │   ├── NoRunError                no current run, or several where one was meant
    │   └── ConfigError               a setting with a value that cannot be used
    ├── QueryError (ValueError)       a filter or an ordering that cannot be understood
    ├── NotFoundError (LookupError)   no such run, artifact, log or blob
    │   └── AmbiguousError            several runs fit; the message lists them
    ├── RerunError                    a run that cannot be made again; it says why, and what would help
    ├── StoreError                    a store that cannot be opened, read or written
    │   ├── AccessError               no token, a token that is not valid, or a role that does not allow it
    │   ├── ConflictError             an append that does not continue the log: a hole, or other bytes
    │   ├── ReadOnlyError             the store may not be written
    │   └── UnavailableError          the store cannot be reached at present, or asks to be left alone for a while
    └── FormatError                   bytes that are not what they should be
        ├── NewerFormatError          written by a newer mlsdk
        └── DigestError               content that does not match its digest
"""

from __future__ import annotations


class MlsdkError(Exception):
    """The root: `except mlsdk.MlsdkError` catches whatever this package raises on purpose."""


class UsageError(MlsdkError, ValueError):
    """The call was wrong; nothing was recorded by it."""


class MetricError(UsageError):
    """A value cannot be a metric: not a number, or it would lose precision."""


class NoRunError(UsageError):
    """There is no current run, or more than one could be meant."""


class ConfigError(UsageError):
    """A setting has a value that cannot be used; the message names where it came from."""


class QueryError(MlsdkError, ValueError):
    """A filter or an ordering cannot be understood.

    Attributes:
        text: the filter as given.
        position: index of the character at which it went wrong, or None.
    """

    def __init__(self, message: str, text: str = "", position: int | None = None) -> None:
        self.text = text
        self.position = position
        if text and position is not None:
            message = f"{message}\n  {text}\n  {' ' * position}^"
        super().__init__(message)


class NotFoundError(MlsdkError, LookupError):
    """Nothing has this name or id."""


class AmbiguousError(NotFoundError):
    """Several runs have this beginning, end or name.

    Attributes:
        candidates: the ids of the runs that fit.
    """

    def __init__(self, message: str, candidates: tuple[str, ...] = ()) -> None:
        self.candidates = candidates
        super().__init__(message)


class RerunError(MlsdkError):
    """A run cannot be made again.

    Attributes:
        why: what stands in the way: `code`, `data`, `environment`, `entry`, `arguments`, `stdin`, `program` (it
            failed), or `timeout`.
    """

    def __init__(self, message: str, why: str) -> None:
        self.why = why
        super().__init__(message)


class StoreError(MlsdkError):
    """A store cannot be opened, read or written."""


class ConflictError(StoreError):
    """An append does not continue the log.

    Attributes:
        log: name of the log.
        end: the offset at which the log really ends.
    """

    def __init__(self, message: str, log: str, end: int) -> None:
        self.log = log
        self.end = end
        super().__init__(message)


class AccessError(StoreError):
    """The store knows no such token, or its role does not allow this."""


class UnavailableError(StoreError):
    """The store cannot be reached at present; the same call may succeed later.

    Attributes:
        retry_after_s: how long the store asks to be left alone, in seconds; None if it does not say.
    """

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class ReadOnlyError(StoreError):
    """The store may be read but not written."""


class FormatError(MlsdkError):
    """Bytes are not in the format that they claim."""


class NewerFormatError(FormatError):
    """Written by a newer mlsdk; upgrade to read it."""


class DigestError(FormatError):
    """Content does not match the digest under which it was stored."""
