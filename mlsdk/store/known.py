"""What is known of one run while its logs are taken in: the half of a catalog that needs no database."""

from __future__ import annotations

import itertools
import json
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

from mlsdk.errors import NewerFormatError, StoreError
from mlsdk.log.decode import Batch, Facts, decode
from mlsdk.records import Run
from mlsdk.store.database import Damaged
from mlsdk.store.document import document
from mlsdk.store.fold import LogState, RunState
from mlsdk.store.record import record
from mlsdk.store.status import derive

CLOSED = -1
"""Where a log ends whose close frame was read."""

T = TypeVar("T")


class Summary(NamedTuple):
    """What a catalog keeps of a run, beside the states of its logs."""

    columns: dict[str, object]
    """By the names of the columns of `runs`."""
    run: Run | None
    """The record that the run is found by; None of one that this version cannot read."""


class Known:
    """What is known of one run.

    Args:
        row: its number in the catalog; None if it has none yet.
        state: its facts.
        logs: what is known of each of its logs, by their names.
    """

    def __init__(self, row: int | None, state: RunState, logs: dict[str, LogState]) -> None:
        self.row = row
        self.state = state
        self.logs = logs
        self.changed: dict[str, int | None] = {}
        """Logs to write back, each with where it ends: see `intake`."""

    def log(self, name: str) -> LogState:
        """What is known of a log, which may be nothing."""
        return self.logs.get(name) or LogState(name)

    def take_in(
        self,
        read: Callable[[str, int, int], bytes],
        state: LogState,
        data: bytes,
        *,
        live: bool = False,
        size: int | None = None,
    ) -> None:
        """Take in what a log has from where it was read to.

        Args:
            read: reads a log from an offset, so many bytes: its points again, if a restart hides some.
            state: of the log.
            data: its bytes.
            live: it may be being written now: what looks damaged may be half there, and is waited for.
            size: if it will not grow any more, its size.
        """
        run, rewinds = self.state, dict(self.state.facts.get("rewinds", {}))
        try:
            for entry, position in decode(data, state.position, live=live):
                state.add(entry, position)
                if isinstance(entry, Facts):
                    run.add(entry, state)
        except NewerFormatError as error:
            state.newer = str(error)
        if not state.position.offset and not state.newer:
            return  # not one frame yet
        self.logs[state.log] = state
        self.changed[state.log] = CLOSED if state.closed else size
        if run.facts.get("rewinds", {}) != rewinds or state.limit != run.limit_for(state):
            self._apply_rewinds(read)

    def _apply_rewinds(self, read: Callable[[str, int, int], bytes]) -> None:
        """Sum up again the logs of which a restart hides points, or hides others than before."""
        for state in self.logs.values():
            limit = self.state.limit_for(state)
            if limit != state.limit:
                entries = decode(read(state.log, 0, state.position.offset))
                state.sum_up_again((entry for entry, _ in entries if isinstance(entry, Batch)), limit)
                self.changed.setdefault(state.log, CLOSED if state.closed else None)

    def summary(self) -> Summary:
        """What the catalog is to keep, as of now."""
        newer = next((log.newer for _, log in sorted(self.logs.items()) if log.newer), None)
        main, more, life = document(self.state, self.logs.values())
        status, ended, live = derive(life, time.time_ns())
        found = record(main, status, ended, more)
        columns: dict[str, object] = {"id": self.state.run, "state": packed(self.state.dump()), "life": dumped(life)}
        if newer:
            columns.update(newer=newer, deleted=True, live=False, document=None)
            return Summary(columns, None)
        columns.update(newer=None, deleted=found.deleted, live=live, document=dumped(main))
        columns.update(parent=found.parent, status=status, ended_ns=ended)
        return Summary(columns, found)


def run_of(log: str) -> str:
    """The run that a log is of.

    Raises:
        StoreError: it is of none.
    """
    top, _, rest = log.partition("/")
    run, _, writer = rest.partition("/")
    if top != "runs" or not run or not writer or "/" in writer:
        raise StoreError(f"{log!r} is no name of a run's log: runs/<run id>/<writer id>")
    return run


def in_parts(items: Iterable[T], size: int = 500) -> Iterator[list[T]]:
    """The items in lists of `size`: what is done in one transaction."""
    rest = iter(items)
    while part := list(itertools.islice(rest, size)):
        yield part


def dumped(content: dict[str, Any]) -> str:
    """JSON, with Python's NaN and infinities."""
    return json.dumps(content, separators=(",", ":"))


def packed(content: dict[str, Any]) -> bytes:
    """JSON, compressed: what is read for one run at a time, and is five times as long."""
    return zlib.compress(dumped(content).encode("utf-8"), 1)


def unpacked(data: bytes) -> Any:
    """What `packed` was given.

    Raises:
        Damaged: it cannot be what was written.
    """
    try:
        return parsed(zlib.decompress(data).decode("utf-8"))
    except (zlib.error, TypeError, UnicodeDecodeError) as error:
        raise Damaged(f"it holds nothing packed: {error}") from error


def parsed(text: str) -> Any:
    """What `dumped` was given.

    Raises:
        Damaged: it is no JSON, so it cannot be what was written.
    """
    try:
        return json.loads(text)
    except (ValueError, TypeError) as error:
        raise Damaged(f"it holds no JSON: {error}") from error
