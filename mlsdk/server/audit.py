"""The audit chain: who did what, written down before it is acknowledged.

Each server process has a log of its own in the store that an act is about, so that none waits for another. Logs begin
with an entry that names the ends of others: a log that is cut or taken away later is missed.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from mlsdk.errors import ConflictError, NotFoundError, StoreError, UsageError
from mlsdk.server.chain import NONE, BrokenError, Link, digest, line, walk
from mlsdk.store.base import Store
from mlsdk.store.seams import Logs

AUDIT = "shared/audit/"
"""What the names of these logs begin with."""

LONGEST = 1000
"""Entries, or groups of entries that were written together, in one log: a store may look at all of them to append."""

_SEEN = 8
"""A new log names the ends of so many others."""

_TAIL_BYTES = 1 << 14
_NAME = re.compile(f"{AUDIT}[0-9a-f]{{12}}-[A-Za-z0-9-]+")
_OWN = frozenset({"chain", "n", "t", "actor", "token", "act", "prev"})


class Finding(NamedTuple):
    """What is wrong with a chain."""

    log: str
    number: int | None
    """Of the entry, from 0; None where the whole log is meant."""
    message: str


class Verified(NamedTuple):
    """What `verify` has found."""

    logs: int
    entries: int
    findings: list[Finding]


class _Made(NamedTuple):
    """Entries made into bytes."""

    group: list[dict[str, Any]]
    data: bytes
    prev: str
    """Digest of the last entry."""
    number: int
    """Of the entry that comes next."""


class Audit:
    """The chains in one store, and the one that this process adds to.

    Any number of threads may record at once: those that wait are written together.

    Args:
        store: where the acts are done.
        instance: names this server process among others; after a restart it may be the same.

    Raises:
        StoreError: the store offers no shared logs.
    """

    def __init__(self, store: Store, instance: str) -> None:
        if "shared" not in store.logs.capabilities:
            raise StoreError(
                f"{store.uri} has no shared logs, so that it cannot keep an audit chain; use another store"
            )
        self._logs = store.logs
        self._instance = re.sub(r"[^A-Za-z0-9]+", "-", instance).strip("-")[:60] or "server"
        self._writing = threading.Lock()
        self._waiting: list[dict[str, Any]] = []
        self._unsure: _Made | None = None
        self._log, self._prev = "", NONE
        self._end = self._number = self._groups = 0

    def record(self, actor: str, act: str, *, token: str | None = None, **about: Any) -> None:
        """Write down an act; when this returns, it is in the chain.

        Args:
            actor: who.
            act: what, in a word or two: `append`, `log delete`.
            token: the id of the token it was done with.
            **about: what else shall be known, as JSON has it. Never a secret.

        Raises:
            UnavailableError: the store cannot be reached; whether it was written is not known.
        """
        if not _OWN.isdisjoint(about):
            raise UsageError(f"an audit entry has its own {', '.join(sorted(_OWN & about.keys()))}")
        entry = {"t": round(time.time(), 3), "actor": actor, "token": token, "act": act, **about}
        line(entry, NONE)  # what is no JSON fails here, in the thread whose it is
        self._waiting.append(entry)
        with self._writing:
            if _is_in(entry, self._waiting):  # no other thread has written it meanwhile, together with its own
                try:
                    self._write()
                finally:
                    _take_out([entry], self._waiting)

    def _write(self) -> None:
        """Append what waits to this process's log, which is begun if there is none."""
        for _ in range(5):
            try:
                if self._unsure:
                    self._append(self._unsure)
                if not self._log or self._groups >= LONGEST:
                    self._begin()
                if self._waiting:
                    self._append(self._made(self._waiting[:]))
                return
            except ConflictError:  # this log is not ours alone: leave it
                self._forget_log()
        raise StoreError(f"no log below {AUDIT} can be kept: others write to each one that {self._instance} begins")

    def _made(self, group: list[dict[str, Any]]) -> _Made:
        prev, lines = self._prev, []
        for number, entry in enumerate(group, self._number):
            lines.append(line({"n": number, **entry}, prev))
            prev = digest(lines[-1])
        return _Made(group, b"".join(lines), prev, self._number + len(group))

    def _append(self, made: _Made) -> None:
        """Append bytes. After an error they may be there or not: then they are sent again before any others."""
        self._unsure = made
        self._end = self._logs.append(self._log, self._end, made.data)
        self._unsure, self._prev, self._number, self._groups = None, made.prev, made.number, self._groups + 1
        _take_out(made.group, self._waiting)

    def _forget_log(self) -> None:
        self._unsure, self._log, self._prev = None, "", NONE
        self._end = self._number = self._groups = 0

    def _begin(self) -> None:
        """Begin a log; its first entry names the last one of this instance, and the ends of others."""
        names = [name for name in self._logs.list(AUDIT) if _NAME.fullmatch(name)]
        own = [name for name in names if name[len(AUDIT) + 13 :] == self._instance][-1:]
        others = [name for name in names if name not in own][-_SEEN:]
        self._forget_log()
        now = time.time()
        stamp = int(now * 1000)
        if own:  # the order of names is the order of one instance's logs, also where a clock was set back
            stamp = max(stamp, int(own[0][len(AUDIT) : len(AUDIT) + 12], 16) + 1)
        seen = {name: end for name in [*own, *others] if (end := _last(self._logs, name))}
        entry = {"t": round(now, 3), "actor": "server", "token": None, "act": "begin", "instance": self._instance}
        self._log = f"{AUDIT}{stamp:012x}-{self._instance}"
        self._append(self._made([{**entry, "after": own[0] if own else None, "seen": seen}]))

    def logs(self) -> list[str]:
        """Names of all chains here, the oldest first."""
        return list(self._logs.list(AUDIT))

    def entries(self, after: str | None = None, limit: int = 1000) -> tuple[list[dict[str, Any]], str | None]:
        """Entries, checked, log by log and the oldest log first; and what continues behind them, or None at the end.

        Each entry is given the name of its log, as `chain`.

        Raises:
            BrokenError: a chain is broken; the message says where.
            UsageError: `after` is not what an earlier call gave.
        """
        begin, number = _position(after)
        found: list[dict[str, Any]] = []
        for log in self.logs():
            if log.removeprefix(AUDIT) < begin:
                continue
            for link in self._walk(log):
                entry = {"chain": log, **link.entry}
                if log.removeprefix(AUDIT) == begin and entry["n"] <= number:
                    continue
                if len(found) == limit:
                    last = found[-1]
                    return found, f"{last['chain'].removeprefix(AUDIT)}:{last['n']}"
                found.append(entry)
        return found, None

    def _walk(self, log: str) -> Iterator[Link]:
        try:
            data = self._logs.read(log)
        except NotFoundError:  # deleted meanwhile: whoever names it says so
            return
        offset = 0
        for number, link in enumerate(walk(data, log)):
            if link.entry.get("n") != number:
                raise BrokenError(f"it has the number {link.entry.get('n')!r}", log, number, offset)
            offset = link.end
            yield link

    def verify(self) -> Verified:
        """Walk all chains, and what they say of each other's ends."""
        findings: list[Finding] = []
        digests: dict[str, list[str]] = {}
        named: list[tuple[str, str, int, str]] = []
        for log in self.logs():
            known = digests[log] = []
            try:
                for link in self._walk(log):
                    known.append(link.digest)
                    named += [(log, *one) for one in _named(link.entry)]
            except BrokenError as error:
                findings.append(Finding(log, error.number, str(error)))
            except (TypeError, ValueError, AttributeError):
                findings.append(
                    Finding(log, len(known) - 1, f"{log} names no ends of others in entry {len(known) - 1}")
                )
        broken = {finding.log for finding in findings}
        for by, other, last, ending in named:
            there = digests.get(other)
            if there is None:
                findings.append(Finding(other, None, f"{other} is gone; {by} saw {last + 1:,} entries in it"))
            elif last >= len(there) and other not in broken:
                findings.append(
                    Finding(other, len(there), f"{other} was cut to {len(there):,} entries; {by} saw {last + 1:,}")
                )
            elif last < len(there) and there[last] != ending:
                findings.append(Finding(other, last, f"{other} has another entry {last} than {by} saw"))
        return Verified(len(digests), sum(map(len, digests.values())), findings)


def _named(entry: dict[str, Any]) -> list[tuple[str, int, str]]:
    """Which ends of other logs an entry names: log, number and digest of its last entry."""
    seen = entry.get("seen", {}) if entry.get("act") == "begin" else {}
    return [(other, int(last), str(ending)) for other, (last, ending) in seen.items()]


def is_private(log: str) -> bool:
    """Whether a log is the server's own: nobody reads, writes or deletes it through the routes for logs."""
    return (log.casefold() + "/").startswith((AUDIT, "shared/access/", "shared/uploads/"))  # some disks mind no case


def _is_in(entry: dict[str, Any], waiting: list[dict[str, Any]]) -> bool:
    return any(one is entry for one in waiting)


def _take_out(group: list[dict[str, Any]], waiting: list[dict[str, Any]]) -> None:
    """In place: other threads put in at the end meanwhile."""
    for index in range(len(waiting) - 1, -1, -1):
        if _is_in(waiting[index], group):
            del waiting[index]


def _last(logs: Logs, log: str) -> tuple[int, str] | None:
    """Number and digest of the last entry of a chain; None where it cannot be told."""
    end = logs.size(log)
    for begin in (max(0, end - _TAIL_BYTES), 0):
        try:
            lines = logs.read(log, begin).splitlines(keepends=True)
            return int(next(walk(lines[-1], log, _prev_of(lines[-1]))).entry["n"]), digest(lines[-1])
        except (StoreError, NotFoundError, BrokenError, ValueError, KeyError, IndexError, TypeError):
            continue
    return None


def _prev_of(raw: bytes) -> str:
    import json

    return str(json.loads(raw)["prev"])


def _position(after: str | None) -> tuple[str, int]:
    log, colon, number = (after or ":-1").rpartition(":")
    if not colon or not re.fullmatch(r"-?[0-9]{1,9}", number):
        raise UsageError(f"{after!r} is no place in the audit chain; give `after` of the page before")
    return log, int(number)
