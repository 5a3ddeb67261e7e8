"""What was read before need not be read again, and what could have changed is."""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsdk.data import listing, statcache
from mlsdk.data.files import fingerprint_path
from mlsdk.data.listing import note_of
from mlsdk.data.record import Fingerprint
from mlsdk.data.statcache import Note, Stat, StatCache
from mlsdk.errors import UsageError
from tests.programs import begin, finish

SECOND = 1_000_000_000
STAT = Stat(1, 2, 3, 100 * SECOND, 100 * SECOND)


@pytest.fixture
def cache() -> StatCache:
    return StatCache(str(Path.cwd() / "cache"))


@pytest.fixture
def _aged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files of this moment count as long left alone."""
    monkeypatch.setattr(statcache, "RACY_NS", -3600 * SECOND)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were really read."""
    read: list[str] = []
    real = listing.hash_file

    def counted(path: str) -> Note:
        read.append(os.path.basename(path))
        return real(path)

    monkeypatch.setattr(listing, "hash_file", counted)
    return read


def hashes(found: Fingerprint) -> list[int]:
    assert found.row_hashes is not None
    return [int(one) for one in found.row_hashes]


@pytest.mark.usefixtures("_aged")
def test_unchanged_file_is_not_read_again(cache: StatCache, reads: list[str]) -> None:
    """The second look at an unchanged file reads nothing of it."""
    Path("a.bin").write_bytes(b"x")
    first, second = note_of("a.bin", cache), note_of("a.bin", cache)

    assert first == second
    assert reads == ["a.bin"]


@pytest.mark.usefixtures("_aged")
def test_only_changed_files_of_a_folder_are_read_again(cache: StatCache, reads: list[str]) -> None:
    """Of a folder only what changed, or is new, is read again."""
    Path("d").mkdir()
    for name in "abc":
        Path("d", name).write_text(name)
    listing.listing("d", cache)
    reads.clear()
    Path("d/b").write_text("other")
    Path("d/new").write_text("new")
    found = listing.listing("d", cache)

    assert sorted(reads) == ["b", "new"]
    assert found == listing.listing("d", StatCache(None))


def test_racy_change_is_seen(cache: StatCache) -> None:
    """A change of the same length with the old times put back is seen: a file just written is never trusted."""
    Path("a.bin").write_bytes(b"one")
    before = os.stat("a.bin")
    first = note_of("a.bin", cache)
    Path("a.bin").write_bytes(b"two")
    os.utime("a.bin", ns=(before.st_atime_ns, before.st_mtime_ns))

    assert note_of("a.bin", cache).sha256 != first.sha256


@given(st.integers(0, 4 * SECOND), st.integers(0, 4 * SECOND))
def test_racy_rule(mtime_ago: int, ctime_ago: int) -> None:
    """A note counts only if both times were at least two seconds old when it was made."""
    stat = STAT._replace(mtime_ns=100 * SECOND - mtime_ago, ctime_ns=100 * SECOND - ctime_ago)

    assert Note(stat, 100 * SECOND, "").holds(stat) == (min(mtime_ago, ctime_ago) >= 2 * SECOND)


@pytest.mark.parametrize("field", Stat._fields)
def test_each_fact_of_a_stat_counts(field: str) -> None:
    """A file with another device, inode, size or time is another file."""
    note = Note(STAT, 200 * SECOND, "")

    assert note.holds(STAT)
    assert not note.holds(STAT._replace(**{field: getattr(STAT, field) + 1}))


@pytest.mark.usefixtures("_aged")
def test_real_path_is_the_name(cache: StatCache, reads: list[str]) -> None:
    """A file is known by its real path, however it is named, and a link that points elsewhere is another file."""
    Path("a").write_text("a")
    Path("b").write_text("b")
    os.symlink("a", "link")
    note_of("a", cache)
    same = note_of("link", cache)
    os.remove("link")
    os.symlink("b", "link")

    assert same == note_of("a", cache)
    assert note_of("link", cache).sha256 != same.sha256
    assert reads == ["a", "b"]


@pytest.mark.parametrize(
    ("kind", "asked", "times"), [("nfs4", False, 2), ("nfs4", True, 1), ("fuse.sshfs", False, 2), ("ext4", False, 1)]
)
@pytest.mark.usefixtures("_aged")
def test_network_times_are_not_trusted(
    kind: str, asked: bool, times: int, cache: StatCache, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a network file system a file is read each time, unless the caller believes its times."""
    monkeypatch.setattr(statcache, "filesystem_of", lambda path: kind)
    Path("a.bin").write_bytes(b"x")
    note_of("a.bin", cache, trust_mtime=asked)
    note_of("a.bin", cache, trust_mtime=asked)

    assert len(reads) == times


@pytest.mark.usefixtures("_aged")
def test_damaged_entries_are_passed_over(cache: StatCache) -> None:
    """Whatever happens to a byte of an entry, or to its end, the digest is right."""
    Path("a.bin").write_bytes(b"x")
    right = note_of("a.bin", cache)
    (entry,) = Path("cache").iterdir()
    data = entry.read_bytes()
    wrong = []
    for place in range(len(data)):
        for bad in (data[:place], data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]):
            entry.write_bytes(bad)
            if note_of("a.bin", cache).sha256 != right.sha256:
                wrong.append((place, bad))

    assert wrong == []


@pytest.mark.usefixtures("_aged")
def test_damaged_tables_are_made_again() -> None:
    """A stored fingerprint that is damaged or gone is made again, also where only the hashes of its rows are."""
    Path("a.csv").write_text("x\n1\n2\n")
    right = fingerprint_path("a.csv", cache="cache")
    (entry,) = Path("cache").glob("*.table")
    data = entry.read_bytes()
    found = []
    for bad in (b"", data[:10], data[:-1], data[:-3] + b"???", b"x" * len(data)):
        entry.write_bytes(bad)
        kept = fingerprint_path("a.csv", cache="cache")
        found.append((kept.id, hashes(kept)))
    kept = fingerprint_path("a.csv", cache="cache")
    entry.unlink()
    found.append((kept.id, hashes(kept)))

    assert found == [(right.id, hashes(right))] * 6


@pytest.mark.usefixtures("_aged")
def test_rows_gone_with_the_file() -> None:
    """Hashes of rows that are gone from the cache, of a file that has changed since, are an error that says so."""
    Path("a.csv").write_text("x\n1\n2\n")
    fingerprint_path("a.csv", cache="cache")
    kept = fingerprint_path("a.csv", cache="cache")
    for entry in Path("cache").glob("*.table"):
        entry.unlink()
    Path("a.csv").write_text("x\n1\n3\n")

    with pytest.raises(UsageError, match="changed"):
        kept.compare(fingerprint_path("a.csv", cache="cache"))


@pytest.mark.usefixtures("_aged")
def test_arguments_are_part_of_the_name() -> None:
    """The same file with other arguments is not the same fingerprint, and not taken for it."""
    Path("a.csv").write_text("x\n1.25\n2\n")
    asked = [{}, {"decimals": 1}, {"sample": 1}, {"key": "x"}]
    fresh = [fingerprint_path("a.csv", cache=False, **one) for one in asked]
    for _ in range(2):
        kept = [fingerprint_path("a.csv", cache="cache", **one) for one in asked]

    assert [one.id for one in kept] == [one.id for one in fresh]
    assert [one.key for one in kept] == [(), (), (), ("x",)]


def test_a_cache_that_cannot_be(reads: list[str]) -> None:
    """Where the cache cannot be written, or there is none, everything is read and nothing fails."""
    Path("a.csv").write_text("x\n1\n")
    Path("file").write_text("no folder")
    found = [fingerprint_path("a.csv", cache=cache) for cache in ("file", "file/below", False)]

    assert len({one.id for one in found}) == 1
    assert reads == ["a.csv"] * 3


def test_the_oldest_entries_go_first() -> None:
    """A cache does not grow beyond its limit: what was written first goes first, left-over parts too."""
    cache = StatCache(str(Path.cwd() / "cache"), limit_bytes=1000)
    for number in range(20):
        path = cache.path(str(number), ".table")
        assert cache.keep(path, bytes(100))
        os.utime(path, (number, number))
    part = Path("cache/left.1.part")
    part.write_text("")
    os.utime(part, (0, 0))
    cache.prune()
    left = {entry.name for entry in Path("cache").iterdir()}

    assert left == {os.path.basename(cache.path(str(number), ".table")) for number in range(10, 20)}
    assert not cache.keep(cache.path("huge", ".table"), bytes(300))


def test_used_entries_stay_young(cache: StatCache) -> None:
    """An entry that is used counts as new again."""
    path = cache.path("one", ".table")
    cache.keep(path, b"x")
    os.utime(path, (0, 0))
    cache.touch(path)

    assert time.time() - os.stat(path).st_mtime < 3600


@pytest.mark.usefixtures("_aged")
def test_no_random_number_is_drawn() -> None:
    """The cache leaves the state of Python's generator as it was."""
    Path("a.csv").write_text("x\n1\n")
    random.seed(1)
    before = random.getstate()
    fingerprint_path("a.csv", cache="cache")

    assert random.getstate() == before


def test_several_processes() -> None:
    """Processes that use one cache at once all get right digests and leave no part behind."""
    for name in "abc":
        Path(f"{name}.csv").write_text(f"x\n{name}\n")
    code = """
        from mlsdk.data import statcache
        from mlsdk.data.files import fingerprint_path
        statcache.RACY_NS = -3600 * 10**9
        ids = {fingerprint_path(name, cache="cache").id for _ in range(20) for name in ("a.csv", "b.csv", "c.csv")}
        print(len(ids))
        """
    started = [begin(code, name=f"program{number}.py") for number in range(3)]
    said = [finish(process) for process in started]

    assert said == [("3\n", "")] * 3
    assert list(Path("cache").glob("*.part")) == []


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default folder follows the platform's custom."""
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setattr(sys, "platform", "linux")
    linux = statcache.default_folder()
    monkeypatch.delenv("XDG_CACHE_HOME")
    plain = statcache.default_folder()
    monkeypatch.setattr(sys, "platform", "darwin")

    assert linux == "/somewhere/mlsdk/data"
    assert plain == "/home/me/.cache/mlsdk/data"
    assert statcache.default_folder() == "/home/me/Library/Caches/mlsdk/data"
