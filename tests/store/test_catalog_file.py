"""The catalog is a cache: deleted, damaged, locked or not to be written, it costs a rebuild and nothing else."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import warnings

import pytest

import mlsdk
from mlsdk.errors import NewerFormatError, NotFoundError, StoreError
from mlsdk.log.frames import FORMAT_VERSION
from mlsdk.query.parse import parse
from mlsdk.store import base
from mlsdk.store.base import catalog_path, open_file
from mlsdk.store.layout import Layout
from mlsdk.store.target import FileTarget
from mlsdk.testing import MadeLog
from tests.conftest import ROOT, require
from tests.store.test_markers import names, short_run, target

PATH = "store/catalog.db"


def made_store(count: int = 3):
    for number in range(count):
        short_run(f"{number:03}")
    store = open_file("file:store")
    assert len(names(store)) == count
    return store


def put(log: MadeLog) -> MadeLog:
    """Put a whole log into the store, as a sync would."""
    store = open_file("file:store")
    target()
    store.logs.append(log.name, 0, log.data)
    target().retire(*log.name.split("/")[1:])
    return log


# deleting


def test_deleted_between_two_processes() -> None:
    """Without `catalog.db` the next query rebuilds it."""
    made_store()
    os.unlink(PATH)

    assert names(open_file("file:store")) == ["000", "001", "002"]
    assert os.path.exists(PATH)


def test_deleted_under_an_open_store() -> None:
    """Deleting the file that a process has open disturbs neither it nor those who make the next one."""
    store = made_store()
    os.unlink(PATH)
    fresh = open_file("file:store")
    both = [names(fresh), names(store)]
    short_run("003")

    assert both == [["000", "001", "002"]] * 2
    assert names(store) == names(fresh) == ["000", "001", "002", "003"]
    assert os.listdir("store").count("catalog.db") == 1


def test_the_whole_store_deleted() -> None:
    """When the folder is gone there are no runs, and no error; when it is made anew it is found."""
    store = made_store()
    shutil.rmtree("store")
    gone = names(store)
    target()
    short_run("new")

    assert gone == []
    assert names(store) == ["new"]


def test_a_store_made_after_it_was_opened() -> None:
    """A folder that is not there has no runs, is not made by looking, and is found once it is there."""
    store = open_file("file:store")
    before = names(store)

    assert (before, os.path.exists("store")) == ([], False)
    short_run("a")
    assert names(store) == ["a"]
    assert os.path.exists(PATH)


# damage

SPOILS = {
    "empty": lambda data: b"",
    "half": lambda data: data[: len(data) // 2],
    "a page less": lambda data: data[:-4096],
    "one byte": lambda data: data[:1],
    "no database": lambda data: b"This is no database, whatever its name says." * 200,
    "noise": lambda data: random.Random(1).randbytes(len(data)),
    "noise behind the head": lambda data: data[:100] + random.Random(2).randbytes(len(data) - 100),
    "noise in the middle": lambda data: data[:4096] + random.Random(3).randbytes(8192) + data[12288:],
    "zeros": lambda data: bytes(len(data)),
}


@pytest.mark.parametrize("how", SPOILS)
@pytest.mark.parametrize("open_before", [False, True], ids=["opened after", "opened before"])
def test_damaged(how: str, open_before: bool) -> None:
    """A damaged file is thrown away and rebuilt by whoever meets it, while it is open or when it is opened."""
    store = made_store(40)
    if not open_before:
        store.catalog.close()
    with open(PATH, "rb") as file:
        data = file.read()
    with open(PATH, "r+b") as file:
        file.truncate()
        file.write(SPOILS[how](data))
    if not open_before:
        store = open_file("file:store")
    short_run("new")

    assert len(names(store)) == 41
    assert len(store.find(parse("name = 'new'")).runs) == 1
    assert names(open_file("file:store")) == names(store)


@pytest.mark.parametrize("seed", range(12))
def test_noise_anywhere(seed: int) -> None:
    """A page of noise anywhere in the file is noticed, when it is read at the latest, and never breaks a query."""
    made_store(40).catalog.close()
    chance = random.Random(seed)
    size = os.path.getsize(PATH)
    with open(PATH, "r+b") as file:
        file.seek(chance.randrange(1, size // 4096) * 4096)
        file.write(chance.randbytes(4096))
    store = open_file("file:store")
    for _ in range(2):
        store.find(parse("name != '007' and status = 'finished'"), ((("name",), True),))
        for run in store.find().runs:
            assert run.code == {}
    short_run("new")

    assert "new" in names(store)


def test_text_that_is_no_document() -> None:
    """A document that cannot have been written by us is damage too."""
    store = made_store()
    with sqlite3.connect(PATH) as db:
        db.execute("UPDATE runs SET document = '{\"half'")
    db.close()

    assert names(store) == ["000", "001", "002"]


def test_another_version() -> None:
    """The catalog of another version of mlsdk is replaced, not read."""
    made_store().catalog.close()
    with sqlite3.connect(PATH) as db:
        db.execute("PRAGMA user_version = 77")
        db.execute("DROP TABLE vals")
    db.close()

    assert names(open_file("file:store")) == ["000", "001", "002"]


def test_a_tool_with_a_journal_of_its_own() -> None:
    """Somebody who looked at the file with another tool, and left it in another mode, is no trouble."""
    made_store().catalog.close()
    other = sqlite3.connect(PATH)
    other.execute("PRAGMA journal_mode = WAL")
    other.execute("SELECT count(*) FROM runs").fetchall()
    other.close()
    short_run("new")

    assert len(names(open_file("file:store"))) == 4


# several at once

REBUILD = """
import sys
from mlsdk.store.base import open_file
store = open_file("file:store")
for _ in range(3):
    if sys.argv[1] == "spoil":
        with open("store/catalog.db", "r+b") as file:
            file.write(b"spoilt")
    print(len(store.find().runs))
"""


@pytest.mark.parametrize("how", ["plain", "spoil"])
def test_processes_rebuild_at_once(how: str) -> None:
    """Several processes that find no catalog, or a damaged one, at the same time all come to the right answer."""
    made_store(300).catalog.close()
    os.unlink(PATH)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    if how == "spoil":
        names(open_file("file:store"))
    both = [
        subprocess.Popen([sys.executable, "-c", REBUILD, how], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    found = [process.communicate(timeout=60)[0].split() for process in both]

    assert found == [["300"] * 3] * 2


def test_threads_share_a_store() -> None:
    """Threads that ask one store at once get the answer that one alone would get."""
    store = made_store(20)
    found, errors = [], []

    def ask() -> None:
        try:
            for number in range(10):
                found.append(len(store.find(parse("name != 'x'")).runs))
                if number == 5:
                    store.catalog.discard()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    assert found == [20] * 60


def test_patience_with_a_lock() -> None:
    """While another one writes, a query waits and then answers."""
    store = made_store()
    short_run("new")
    other = sqlite3.connect(PATH, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    timer = threading.Timer(0.4, lambda: other.execute("COMMIT"))
    timer.start()
    found = names(store)
    timer.join()
    other.close()

    assert found == ["000", "001", "002", "new"]


def test_a_lock_that_is_never_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """When nobody gets anything done, the query goes on with a view in memory rather than wait for ever."""
    monkeypatch.setattr("mlsdk.store.database.PATIENCE_S", 0.2)
    store = made_store()
    store.catalog.close()
    other = sqlite3.connect(PATH, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    short_run("new")
    found = names(store)
    other.execute("COMMIT")
    other.close()

    assert found == ["000", "001", "002", "new"]
    assert store.catalog.path == ":memory:"


def test_a_forked_child_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child forked while its parent's threads ask the store asks it too, and does the parent no harm."""
    require(hasattr(os, "fork"), "fork")
    store = made_store(10)
    held, done = threading.Event(), threading.Event()

    def hold(_db) -> None:
        held.set()
        done.wait(10)

    thread = threading.Thread(target=store.catalog.database.do, args=(hold,))
    thread.start()
    held.wait(10)
    pid = os.fork()
    if not pid:
        try:
            code = 0 if len(store.find().runs) == 10 else 1
        except BaseException:
            code = 2
        os._exit(code)
    _, status = os.waitpid(pid, 0)
    done.set()
    thread.join()
    short_run("new")

    assert os.waitstatus_to_exitcode(status) == 0
    assert len(names(store)) == 11


# where it may not be written

AS_NOBODY = """
import os, sys
from mlsdk.store.base import open_file
from mlsdk.store.target import open_target
open_file("file:store").find()  # loads all that is needed: nobody may not read every installation of Python
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
store = open_file("file:" + sys.argv[1])
for _ in range(2):
    print(store.catalog.path, *sorted(run.name for run in store.find().runs))
try:
    open_target("file:" + sys.argv[1])
except Exception as error:
    print(type(error).__name__, error)
"""


def test_a_store_that_may_only_be_read() -> None:
    """Who may only read a store finds everything, changes nothing, and cannot start runs there."""
    made_store().catalog.close()
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # the folders of tests may be closed to others
        shutil.copytree("store", f"{folder}/store")
        os.unlink(f"{folder}/store/catalog.db")
        before = sorted(os.listdir(f"{folder}/store"))
        _allow(folder, 0o555)
        done = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, f"{folder}/store"],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        _allow(folder, 0o755)
        after = sorted(os.listdir(f"{folder}/store"))
    lines = done.stdout.splitlines()

    assert done.returncode == 0, done.stderr
    assert lines[:2] == [":memory: 000 001 002"] * 2
    assert lines[2].startswith("ReadOnlyError")
    assert "MLSDK_STORE" in lines[2]
    assert before == after


def _allow(folder: str, mode: int) -> None:
    os.chmod(folder, mode)
    for parent, folders, _ in os.walk(folder):
        for name in folders:
            os.chmod(os.path.join(parent, name), mode)


def test_read_only_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The view in memory of a store that may only be read is kept from one query to the next."""
    made_store().catalog.close()
    os.unlink(PATH)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    store = open_file("file:store")
    names(store)
    connection = store.catalog.database._connect()
    names(store)

    assert store.catalog.path == ":memory:"
    assert store.catalog.database._connect() is connection
    assert not os.path.exists(PATH)


def test_on_a_network_the_catalog_is_local(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    """For a store on a network file system the catalog lies in this user's cache folder."""
    made_store().catalog.close()
    os.unlink(PATH)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(base, "filesystem_of", lambda path: "ext4" if "cache" in str(path) else "nfs4")
    store = open_file("file:store")

    assert names(store) == ["000", "001", "002"]
    assert os.path.dirname(store.catalog.path) == str(tmp_path / "cache" / "mlsdk")
    assert not os.path.exists(PATH)
    assert catalog_path(Layout(os.path.abspath("store"))) == store.catalog.path


def test_where_home_is_on_a_network_too(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    """A home that many hosts share holds no catalog: the folder of temporary files does, or else memory."""
    target()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "local"))
    monkeypatch.setattr(base, "filesystem_of", lambda path: "tmpfs" if "local" in str(path) else "nfs4")
    local = catalog_path(Layout(os.path.abspath("store")))
    monkeypatch.setattr(base, "filesystem_of", lambda path: "lustre")

    assert local.startswith(str(tmp_path / "local"))
    assert catalog_path(Layout(os.path.abspath("store"))) == ":memory:"


# newer versions


def test_a_store_of_a_newer_layout() -> None:
    """A store that a newer mlsdk has made is refused at the call, reading and writing, by what to do."""
    target()
    with open("store/format", "w", encoding="utf-8") as file:
        file.write("mlsdk store 99\n")
    for call in (
        lambda: open_file("file:store"),
        lambda: FileTarget("file:store", os.path.abspath("store")),
        lambda: mlsdk.runs(store="store"),
        lambda: mlsdk.run("x", store="store"),
    ):
        with pytest.raises(NewerFormatError, match=r"layout 99.*pip install -U mlsdk"):
            call()


def test_a_log_of_a_newer_format() -> None:
    """A run with a log of a newer format is refused when it is asked for; lists leave it out with one warning."""
    made_store()
    newer = put(MadeLog(version=FORMAT_VERSION + 1).facts({"run": {"name": "new"}}).close())
    store = open_file("file:store")
    with pytest.warns(UserWarning, match=r"1 runs are left out: .*pip install -U mlsdk"):
        found = names(store)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = names(store)

    assert found == again == ["000", "001", "002"]
    for which in (newer.run, newer.run[-8:], newer.run[:30]):
        with pytest.raises(NewerFormatError, match=f"format {FORMAT_VERSION + 1}"):
            store.find_one(which)
    with pytest.raises(NotFoundError):
        store.find_one("new")


def test_a_newer_edit_of_an_old_run() -> None:
    """A run that somebody has edited with a newer mlsdk is not shown half: it is refused like any newer one."""
    store = made_store()
    run = store.find().runs[0]
    put(MadeLog(run.id, "edit", version=FORMAT_VERSION + 1).close())
    with pytest.warns(UserWarning, match="left out"):
        found = names(store)

    assert found == ["000", "001"]
    with pytest.raises(NewerFormatError):
        store.find_one(run.id)


def test_an_error_names_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where not even a view in memory can be made, the error says what the catalog is and what to do."""
    store = made_store()
    store.catalog.database.relocate(":memory:")

    def broken(_):
        raise sqlite3.OperationalError("disk I/O error: full")

    with pytest.raises(StoreError, match="it is a cache: delete it, or see `mlsdk doctor`"):
        store.catalog.database.do(broken)
