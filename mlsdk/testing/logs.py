"""What every implementation of `mlsdk.store.seams.Logs` promises."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

from mlsdk.errors import ConflictError, NotFoundError, StoreError
from mlsdk.store.seams import Logs, Piece

RUN = "01900000000070008000000000000001"
LOG = f"runs/{RUN}/01900000000070008000000000000002"
SHARED = "shared/models/churn"


def append_entries(open_logs: Callable[[], Logs], who: int, count: int) -> list[bytes]:
    """Append so many entries to the shared log as one of several who do; returns them."""
    logs = open_logs()
    entries = [f"{who}-{number}-{os.urandom(4).hex()};".encode() * (1 + number % 3) for number in range(count)]
    for entry in entries:
        end = logs.size(SHARED)
        while True:
            try:
                logs.append(SHARED, end, entry)
                break
            except ConflictError as conflict:
                end = conflict.end
    return entries


class LogsContract:
    """Subclass it with a fixture `logs` that gives an empty implementation.

    With the capability `processes`, give a fixture `reopen` too: a function that can be pickled and opens the same logs
    in another process.
    """

    def test_appended_bytes_are_read(self, logs: Logs) -> None:
        """What `append` returned for is read back, and it returns the end."""
        ends = [logs.append(LOG, 0, b"abc"), logs.append(LOG, 3, b"\0\xff")]

        assert ends == [3, 5]
        assert logs.read(LOG) == b"abc\0\xff"
        assert logs.size(LOG) == 5

    def test_reading_by_offset_and_limit(self, logs: Logs) -> None:
        """Offset and limit cut the raw bytes; at and beyond the end there is nothing."""
        logs.append(LOG, 0, b"abcdef")
        found = [logs.read(LOG, 2), logs.read(LOG, 2, 3), logs.read(LOG, 5, 9), logs.read(LOG, 6), logs.read(LOG, 99)]

        assert found == [b"cdef", b"cde", b"f", b"", b""]
        assert logs.read(LOG, 0, 0) == b""

    def test_sending_again_is_no_error(self, logs: Logs) -> None:
        """Bytes that are there already are accepted whatever the borders of the pieces."""
        logs.append(LOG, 0, b"abcdef")
        ends = [logs.append(LOG, 0, b"abc"), logs.append(LOG, 1, b"bcd"), logs.append(LOG, 0, b"abcdef")]
        ends += [logs.append(LOG, 4, b"efgh"), logs.append(LOG, 0, b"abcdefghi")]

        assert ends == [6, 6, 6, 8, 9]
        assert logs.read(LOG) == b"abcdefghi"

    def test_a_hole_is_a_conflict(self, logs: Logs) -> None:
        """Nothing can be appended beyond the end; the conflict says where that is."""
        logs.append(LOG, 0, b"abc")
        conflicts = [_conflict(logs, LOG, 4, b"x"), _conflict(logs, f"{LOG[:-1]}9", 1, b"x")]

        assert [(conflict.log, conflict.end) for conflict in conflicts] == [(LOG, 3), (f"{LOG[:-1]}9", 0)]
        assert logs.read(LOG) == b"abc"
        assert list(logs.list()) == [LOG]

    def test_other_bytes_are_a_conflict(self, logs: Logs) -> None:
        """What is there is never changed: other bytes are refused, and so is what comes behind them."""
        logs.append(LOG, 0, b"abc")
        conflicts = [_conflict(logs, LOG, 0, b"abX"), _conflict(logs, LOG, 1, b"Xcde"), _conflict(logs, LOG, 0, b"X")]

        assert [conflict.end for conflict in conflicts] == [3, 3, 3]
        assert logs.read(LOG) == b"abc"

    def test_appending_nothing_makes_no_log(self, logs: Logs) -> None:
        """An empty piece changes nothing; a log exists from its first byte on."""
        ends = [logs.append(LOG, 0, b"")]
        before = list(logs.list())
        logs.append(LOG, 0, b"ab")
        ends += [logs.append(LOG, 2, b""), logs.append(LOG, 0, b"")]

        assert ends == [0, 2, 2]
        assert before == []

    def test_an_unknown_log(self, logs: Logs) -> None:
        """A log that is not there has no bytes: its size is 0, reading it is an error, deleting it none."""
        logs.delete(LOG)

        assert logs.size(LOG) == 0
        assert isinstance(_error(lambda: logs.read(LOG)), NotFoundError)

    def test_names_are_listed_in_order(self, logs: Logs) -> None:
        """All names that begin with a prefix, and no others, in the order of text."""
        runs = [f"runs/{run * 32}/{writer * 32}" for run in "0ab" for writer in "1c"]
        shared = ["shared/models/a", "shared/models/a-b", "shared/models/b"] if "shared" in logs.capabilities else []
        for log in reversed(runs + shared):
            logs.append(log, 0, b"x")
        prefixes = [
            "",
            "runs/",
            f"runs/{'a' * 32}/",
            f"runs/{'a' * 32}/1",
            "run",
            "shared/",
            "shared/models/a",
            "x",
            runs[0],
        ]

        for prefix in prefixes:
            assert list(logs.list(prefix)) == [log for log in runs + shared if log.startswith(prefix)], prefix

    def test_a_deleted_log_is_gone(self, logs: Logs) -> None:
        """Deleting removes the whole log, and nothing else; it may begin anew."""
        other = f"{LOG[:-1]}9"
        logs.append(LOG, 0, b"abc")
        logs.append(other, 0, b"def")
        logs.delete(LOG)

        assert list(logs.list()) == [other]
        assert isinstance(_error(lambda: logs.read(LOG)), NotFoundError)
        assert logs.append(LOG, 0, b"new") == 3

    def test_names_are_checked(self, logs: Logs) -> None:
        """What is no name of a log is refused by every method, and leads nowhere."""
        names = [
            "",
            "runs",
            f"runs/{RUN}",
            f"{LOG}/x",
            "runs/../x",
            f"runs/{RUN}/..",
            "/etc/passwd",
            "runs//x",
            "other/a/b",
        ]
        names += ["shared", "shared/../../x", "shared/.hidden/x", "shared/a\\b", "shared/a\0b"]
        errors = [_error(lambda name=name: logs.append(name, 0, b"x")) for name in names]  # type: ignore[misc]
        errors += [_error(lambda name=name: logs.read(name)) for name in names]  # type: ignore[misc]
        errors += [_error(lambda name=name: logs.size(name)) for name in names]  # type: ignore[misc]
        errors += [_error(lambda name=name: logs.delete(name)) for name in names]  # type: ignore[misc]

        assert {type(error) for error in errors} == {StoreError}
        assert list(logs.list()) == []

    def test_threads_append_to_their_own_logs(self, logs: Logs) -> None:
        """Eight threads at once lose and mix up nothing."""

        def fill(number: int) -> None:
            log, end = f"runs/{RUN}/{number:032x}", 0
            for piece in range(12):
                end = logs.append(log, end, f"{number}:{piece};".encode())

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(fill, range(8)))

        for number in range(8):
            whole = "".join(f"{number}:{piece};" for piece in range(12)).encode()
            assert logs.read(f"runs/{RUN}/{number:032x}") == whole

    # shared logs

    def test_shared_logs_are_offered_or_refused(self, logs: Logs) -> None:
        """Who does not declare `shared` refuses shared logs, so that nobody relies on a compare-and-set."""
        if "shared" in logs.capabilities:
            assert logs.append(SHARED, 0, b"one") == 3
        else:
            assert isinstance(_error(lambda: logs.append(SHARED, 0, b"one")), StoreError)

    def test_the_second_at_an_offset_loses(self, logs: Logs) -> None:
        """Appending at the expected end is compare-and-set: the other one learns the true end and may try there."""
        if "shared" not in logs.capabilities:
            return
        logs.append(SHARED, 0, b"first;")
        conflicts = [_conflict(logs, SHARED, 0, b"other;"), _conflict(logs, SHARED, 0, b"first;more")]
        end = logs.append(SHARED, conflicts[0].end, b"other;")

        assert [conflict.end for conflict in conflicts] == [6, 6]
        assert logs.read(SHARED) == b"first;other;"
        assert logs.read(SHARED, 3, 6) == b"st;oth"
        assert logs.size(SHARED) == end == 12

    def test_a_retry_is_no_conflict(self, logs: Logs) -> None:
        """Who got no answer sends the same entry to the same place again, also after others have appended."""
        if "shared" not in logs.capabilities:
            return
        logs.append(SHARED, 0, b"mine;")
        ends = [logs.append(SHARED, 0, b"mine;"), logs.append(SHARED, 5, b"theirs;"), logs.append(SHARED, 0, b"mine;")]

        assert ends == [5, 12, 12]
        assert logs.read(SHARED) == b"mine;theirs;"

    def test_threads_share_a_log(self, logs: Logs) -> None:
        """Entries of eight threads stand in the log whole, each once, and whoever reads meanwhile sees whole ones."""
        if "shared" not in logs.capabilities:
            return
        seen: list[bytes] = []
        with ThreadPoolExecutor(8) as pool:
            futures = [pool.submit(append_entries, lambda: logs, who, 4) for who in range(8)]
            while not all(future.done() for future in futures):
                seen.append(logs.read(SHARED) if logs.size(SHARED) else b"")
        _assert_shared(logs, [entry for future in futures for entry in future.result()], seen)

    def test_processes_share_a_log(self, logs: Logs, request: object) -> None:
        """The same between processes: none of their entries is lost or torn."""
        if not {"shared", "processes"} <= logs.capabilities:
            return
        reopen: Callable[[], Logs] = request.getfixturevalue("reopen")  # type: ignore[attr-defined]
        with ProcessPoolExecutor(2, get_context("spawn")) as pool:
            futures = [pool.submit(append_entries, reopen, who, 16) for who in range(2)]
        _assert_shared(logs, [entry for future in futures for entry in future.result()], [])

    # batches

    def test_a_batch_is_each_of_its_pieces(self, logs: Logs) -> None:
        """Pieces of many logs in one call do what each would do by itself; one that does not fit hinders no other."""
        if "batch" not in logs.capabilities:
            return
        names = [f"runs/{RUN}/{number:032x}" for number in range(5)]
        logs.append(names[1], 0, b"other")
        pieces = [
            Piece(names[0], 0, b"one;"),
            Piece(names[0], 4, b"two;"),
            Piece(names[1], 0, b"conflict"),
            Piece(names[2], 7, b"beyond a hole"),
            Piece(names[3], 0, b"three;"),
            Piece(names[4], 0, b""),
        ]
        found = [logs.append_all(pieces), logs.append_all(pieces), logs.append_all([])]  # type: ignore[attr-defined]
        ends = [[end.end if isinstance(end, ConflictError) else end for end in part] for part in found]

        assert ends[0][1:] == ends[1][1:] == [8, 5, 0, 6, 0]
        assert [type(end) for end in found[0]] == [int, int, ConflictError, ConflictError, int, int]
        assert ends[2] == []
        assert (logs.read(names[0]), logs.read(names[1]), logs.read(names[3])) == (b"one;two;", b"other", b"three;")
        assert list(logs.list(f"runs/{RUN}/")) == [names[0], names[1], names[3]]

    # sealing

    def test_sealed_is_the_same(self, logs: Logs) -> None:
        """Sealed or not, offsets mean the same raw bytes; a log that grows after all is raw again."""
        if "seal" not in logs.capabilities:
            return
        from mlsdk.testing.made import MadeLog

        log = MadeLog().points(["loss"], [(step, step / 3) for step in range(500)])
        more = MadeLog(log.run, writer=log.name[-32:]).close().data[:9]
        logs.append(log.name, 0, log.data)
        sealed = [logs.seal(log.name), logs.seal(log.name), logs.is_sealed(log.name)]  # type: ignore[attr-defined]
        same = [logs.read(log.name), logs.size(log.name), list(logs.list()), logs.append(log.name, 0, log.data)]
        grown = logs.append(log.name, len(log.data), more)

        assert sealed == [True, False, True]
        assert same == [log.data, len(log.data), [log.name], len(log.data)]
        assert (grown, logs.read(log.name)) == (len(log.data + more), log.data + more)
        assert list(logs.list()) == [log.name]


def _conflict(logs: Logs, log: str, offset: int, data: bytes) -> ConflictError:
    error = _error(lambda: logs.append(log, offset, data))
    assert isinstance(error, ConflictError), error
    return error


def _error(call: Callable[[], object]) -> Exception | None:
    """What a call raises; None if nothing."""
    try:
        call()
    except Exception as error:  # what a store raises is what is asked here
        return error
    return None


def _assert_shared(logs: Logs, entries: list[bytes], seen: list[bytes]) -> None:
    whole = logs.read(SHARED)
    borders, rest = {0}, set(entries)
    at = 0
    while at < len(whole):
        entry = next(entry for entry in rest if whole.startswith(entry, at))
        rest.remove(entry)
        at += len(entry)
        borders.add(at)

    assert not rest
    assert len(whole) == sum(map(len, entries))
    assert all(whole.startswith(part) and len(part) in borders for part in seen)
