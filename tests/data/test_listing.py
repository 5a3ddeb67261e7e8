"""The bytes of files, folders and patterns."""

from __future__ import annotations

import hashlib
import os
import random
import threading
from pathlib import Path

import pytest

from mlsdk.data import listing, statcache
from mlsdk.data.listing import File, digest_of_listing, hash_file
from mlsdk.data.statcache import Note, StatCache, stat_of
from mlsdk.errors import UsageError
from tests.conftest import require
from tests.programs import execute

NOWHERE = StatCache(None)


def files_of(path: str) -> list[File]:
    return listing.listing(path, NOWHERE)


def write(**files: str) -> None:
    """Files by name; two underscores stand for a slash."""
    for name, text in files.items():
        path = Path(name.replace("__", "/"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")


@pytest.mark.parametrize("size", [0, 1, 256 << 10, (256 << 10) + 1, 1_000_000])
def test_hash_is_sha256(size: int) -> None:
    """The digest of a file is the SHA-256 of its bytes, whatever its size."""
    data = random.Random(size).randbytes(size)
    Path("data.bin").write_bytes(data)
    note = hash_file("data.bin")

    assert note.sha256 == hashlib.sha256(data).hexdigest()
    assert note.stat.size == size


def test_folder_digest_is_as_published() -> None:
    """A folder's digest is what docs/data.md says: sorted entries of size, digest, path and a zero byte."""
    write(d__b="two", d__a="one", d__sub__c="three", **{"d__é": "four", "d__.hidden": "five"})
    wanted = hashlib.sha256()
    for name, text in sorted({"b": "two", "a": "one", "sub/c": "three", "é": "four", ".hidden": "five"}.items()):
        content = hashlib.sha256(text.encode()).hexdigest()
        wanted.update(f"{len(text)} {content} {name}\0".encode())

    assert digest_of_listing(files_of("d")) == wanted.hexdigest()


def test_folder_does_not_depend_on_where_it_is() -> None:
    """Order of creation, times, empty folders and the place of a folder are no part of its digest."""
    write(one__a="1", one__b__c="2")
    write(other__two__b__c="2", other__two__a="1")
    os.utime("one/a", (0, 0))
    Path("one/empty").mkdir()

    assert digest_of_listing(files_of("one")) == digest_of_listing(files_of("other/two"))


@pytest.mark.parametrize("change", ["name", "content", "more", "fewer", "moved"])
def test_folder_sees_each_change(change: str) -> None:
    """A renamed, changed, added, removed or moved file changes the digest of the folder."""
    write(d__a="1", d__b="2", d__sub__c="3")
    before = digest_of_listing(files_of("d"))
    if change == "name":
        os.rename("d/a", "d/z")
    elif change == "content":
        write(d__a="9")
    elif change == "more":
        write(d__new="")
    elif change == "fewer":
        os.remove("d/a")
    else:
        os.rename("d/b", "d/sub/b")

    assert digest_of_listing(files_of("d")) != before


def test_links_count_as_what_they_point_to() -> None:
    """A link in a folder is its target's name: it is not followed, not even when it points outside or to itself."""
    write(outside="secret", d__a="1")
    os.symlink("../outside", "d/link")
    os.symlink("loop", "d/loop")
    os.symlink("..", "d/up")
    before = files_of("d")
    write(outside="other")
    same = files_of("d")
    os.remove("d/link")
    os.symlink("../elsewhere", "d/link")

    assert [file.path for file in before] == ["a", "link", "loop", "up"]
    assert [file.is_link for file in before] == [False, True, True, True]
    assert same == before
    assert files_of("d") != before


def test_pattern_lists_files_and_folders() -> None:
    """A pattern names files below its fixed part, and all that is in the folders that it names; each once."""
    write(data__x__a="1", data__x__b="2", data__y__a="3", data__y__deep__c="4", data__z="5")

    assert [file.path for file in files_of("data/*/a")] == ["x/a", "y/a"]
    assert [file.path for file in files_of("data/y*")] == ["y/a", "y/deep/c"]
    assert [file.path for file in files_of("data/**")] == ["x/a", "x/b", "y/a", "y/deep/c", "z"]


def test_pattern_follows_a_link_that_it_names() -> None:
    """A link whose name fits the pattern is read: the caller named it."""
    write(blob="12345", data__keep="")
    os.symlink("../blob", "data/a.bin")

    assert [(file.path, file.size_bytes) for file in files_of("data/*.bin")] == [("a.bin", 5)]


def test_links_below_a_folder_that_a_pattern_names() -> None:
    """Only what the pattern itself names is followed: below, links are what they point to."""
    write(data__part__a="1")
    os.symlink("..", "data/part/up")
    os.symlink("nowhere", "data/part/broken")

    assert [(file.path, file.is_link) for file in files_of("data/*")] == [
        ("part/a", False),
        ("part/broken", True),
        ("part/up", True),
    ]


def test_names_that_are_no_text() -> None:
    """A name that is not UTF-8 is a name like any other."""
    Path("d").mkdir()
    try:
        with open(os.fsencode("d/") + b"\xff\xfe", "wb") as file:
            file.write(b"x")
    except OSError:
        require(None, "a file system that takes any name")

    assert (
        digest_of_listing(files_of("d"))
        == hashlib.sha256(b"1 " + hashlib.sha256(b"x").hexdigest().encode() + b" \xff\xfe\0").hexdigest()
    )


def test_what_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that cannot be read are an error that names them, and how many more there are."""
    write(**{f"d__f{number}": "" for number in range(8)}, d__good="")
    real = listing.hash_file

    def refuse(path: str) -> listing.Note:
        if "good" not in path:
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(listing, "hash_file", refuse)
    with pytest.raises(UsageError, match=r"f0' \(Permission denied\).*f4' \(Permission denied\) and 3 more"):
        files_of("d")


def test_broken_link_named_by_a_pattern() -> None:
    """A link to nowhere that a pattern names is an error, not silence."""
    os.symlink("nowhere", "a.bin")

    with pytest.raises(UsageError, match=r"a\.bin.*No such file"):
        files_of("*.bin")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with a name")
def test_a_pipe_is_refused() -> None:
    """A pipe in a folder is an error at once: reading it would wait for ever."""
    Path("d").mkdir()
    os.mkfifo("d/pipe")

    with pytest.raises(UsageError, match="no regular file"):
        files_of("d")


def test_changed_while_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that grows while it is read gets no digest."""
    Path("data.bin").write_bytes(b"x" * 1000)

    class Growing:
        def update(self, data: object) -> None:
            with open("data.bin", "ab") as file:
                file.write(b"more" if os.path.getsize("data.bin") < 2000 else b"")

    monkeypatch.setattr(listing.hashlib, "sha256", Growing)
    with pytest.raises(UsageError, match="changed while it was read"):
        hash_file("data.bin")


def test_memory_is_flat() -> None:
    """A file ten times larger than the memory that is left is hashed all the same."""
    require(os.name == "posix", "limits of POSIX")
    with open("big.bin", "wb") as file:
        file.truncate(80 << 20)
    done = execute(
        """
        import resource
        from mlsdk.data.listing import hash_file
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (8 << 20),) * 2)
        print(hash_file("big.bin").sha256)
        """
    )

    assert done.stdout.strip() == hashlib.sha256(bytes(80 << 20)).hexdigest()


def test_many_threads_at_once() -> None:
    """Files may be hashed in several threads."""
    data = [random.Random(seed).randbytes(100_000) for seed in range(4)]
    for number, content in enumerate(data):
        Path(f"{number}.bin").write_bytes(content)
    found: dict[int, str] = {}
    threads = [
        threading.Thread(target=lambda n=number: found.update({n: hash_file(f"{n}.bin").sha256})) for number in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [found[number] for number in range(4)] == [hashlib.sha256(content).hexdigest() for content in data]


def test_another_file_system_below(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times are believed by file system: one on a network that is mounted below a local folder is read each time."""
    write(d__local="1", d__mounted__far="2")
    monkeypatch.setattr(statcache, "RACY_NS", -3600 * 10**9)
    monkeypatch.setattr(statcache, "filesystem_of", lambda path: "nfs4" if "mounted" in path else "ext4")
    real, read = os.lstat, []

    def lstat(path: str) -> os.stat_result:
        found = real(path)
        return os.stat_result(
            [*found[:2], found.st_dev + ("mounted" in path), *found[3:]],
            {"st_mtime_ns": found.st_mtime_ns, "st_ctime_ns": found.st_ctime_ns},
        )

    def hashed(path: str) -> Note:
        read.append(os.path.basename(path))
        note = hash_file(path)
        return note._replace(stat=stat_of(lstat(path)))

    monkeypatch.setattr(listing.os, "lstat", lstat)
    monkeypatch.setattr(listing, "hash_file", hashed)
    cache = StatCache(str(Path.cwd() / "cache"))
    for _ in range(2):
        listing.listing("d", cache)

    assert sorted(read) == ["far", "far", "local"]
