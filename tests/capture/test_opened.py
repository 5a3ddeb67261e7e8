"""`mlsdk/capture/opened.py`: inputs that nobody declared."""

from __future__ import annotations

import hashlib
import http.server
import io
import os
import sqlite3
import threading
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest

import mlsdk
from mlsdk.capture.opened import Opened
from tests import programs


@pytest.fixture(autouse=True)
def _few_captures(_own_folder: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLSDK_CAPTURE", "process")


def _read(run: mlsdk.ActiveRun) -> dict[str, mlsdk.Dataset]:
    return dict(mlsdk.get_run(run.id).inputs)


def test_files_that_are_read() -> None:
    """Every way of Python to open a file for reading is seen, once, with what the file is like; and nothing else."""
    names = [f"{number}.csv" for number in range(5)]
    for name in names:
        Path(name).write_text("a\n1\n")
    with mlsdk.run("it") as run:
        with open("0.csv", encoding="utf-8") as file:
            file.read()
        Path("1.csv").read_bytes()
        os.close(os.open("2.csv", os.O_RDONLY))
        io.FileIO(os.path.abspath("3.csv")).close()
        Path("3.csv").read_text("utf-8")
        with open(b"4.csv", "rb") as file:
            file.read()
        Path("out.txt").write_text("made here")
        Path("out.txt").read_text("utf-8")
        with pytest.raises(FileNotFoundError):
            Path("missing.csv").read_text("utf-8")
    found = _read(run)

    assert sorted(found) == [os.path.abspath(name) for name in names]
    assert found[os.path.abspath("0.csv")].size_bytes == 4
    assert not found[os.path.abspath("0.csv")].declared


def test_databases() -> None:
    """A sqlite database that is there is an input; one that the run makes is not, nor one in memory."""
    with closing(sqlite3.connect("there.db")) as made:
        made.execute("create table rows (a)")
    with mlsdk.run("it") as run:
        for name in ("there.db", f"file:{os.path.abspath('there.db')}?mode=ro", "made.db", ":memory:"):
            with closing(sqlite3.connect(name, uri=name.startswith("file:"))) as opened:
                opened.execute("select 1")

    assert list(_read(run)) == [os.path.abspath("there.db")]


def test_what_is_declared() -> None:
    """A file that a data set names, or that lies in its folder or fits its pattern, is a declared input."""
    Path("all").mkdir()
    for name in ("one.csv", "all/two.csv", "three.txt", "four.csv"):
        Path(name).write_text("a\n1\n")
    with mlsdk.run("it") as run:
        run.use_data("one.csv")
        run.use_data("all")
        run.use_data(os.path.abspath("thr*.txt"), name="three")
        for name in ("one.csv", "all/two.csv", "three.txt", "four.csv"):
            Path(name).read_text("utf-8")
    found = _read(run)

    assert [os.path.basename(name) for name, one in sorted(found.items()) if not one.declared] == ["four.csv"]
    assert len(found) == 4


def test_a_warning_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """With `warn_undeclared` the end of a run names what was read and not declared; without, it is only on the run."""
    Path("a.csv").write_text("a\n")
    with mlsdk.run("it"):
        Path("a.csv").read_text("utf-8")
    monkeypatch.setenv("MLSDK_WARN_UNDECLARED", "1")
    with pytest.warns(RuntimeWarning, match=r"read what no use_data names: .*a\.csv"), mlsdk.run("it"):
        Path("a.csv").read_text("utf-8")


def test_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """With `observe` off nothing is seen."""
    monkeypatch.setenv("MLSDK_OBSERVE", "0")
    Path("a.csv").write_text("a\n")
    with mlsdk.run("it") as run:
        Path("a.csv").read_text("utf-8")

    assert not _read(run)


def test_each_run_has_its_own() -> None:
    """Two runs in two threads: each has what its own thread read; a file is seen again by the next run."""
    for name in ("a.csv", "b.csv"):
        Path(name).write_text("a\n")
    found: dict[str, mlsdk.ActiveRun] = {}

    def train(name: str) -> None:
        with mlsdk.run("it") as run:
            barrier.wait()
            Path(name).read_text("utf-8")
            barrier.wait()
            found[name] = run

    barrier = threading.Barrier(2)
    threads = [threading.Thread(target=train, args=(name,)) for name in ("a.csv", "b.csv")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with mlsdk.run("it") as later:
        Path("a.csv").read_text("utf-8")

    assert {name: list(_read(run)) for name, run in found.items()} == {
        name: [os.path.abspath(name)] for name in ("a.csv", "b.csv")
    }
    assert list(_read(later)) == [os.path.abspath("a.csv")]


def test_artifacts_are_no_inputs() -> None:
    """What a run keeps is read for that, and is an output all the same."""
    Path("model.bin").write_bytes(b"x")
    with mlsdk.run("it") as run:
        run.log_artifact("model.bin")

    assert not _read(run)


def test_addresses() -> None:
    """Addresses that are asked through Python's own clients are named, without what looks like a secret."""
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    server.RequestHandlerClass.log_message = lambda *_: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    secret = "ghp_" + "a1B2c3D4e5" * 4
    try:
        with mlsdk.run("it") as run:
            url = f"http://127.0.0.1:{server.server_port}/?token={secret}"
            with urllib.request.urlopen(url) as answer:
                answer.read()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    found = _read(run)

    assert sorted(one.description for one in found.values()) == ["address", "address"]
    assert f"127.0.0.1:{server.server_port}" in found
    assert not any(secret in name for name in found)


def test_a_great_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond so many inputs the rest is not named, and that is said; what is remembered of them is limited."""
    monkeypatch.setattr("mlsdk.capture.opened.MOST", 10)
    monkeypatch.setattr("mlsdk.capture.opened.MOST_SEEN", 15)
    Path("data").mkdir()
    for number in range(20):
        Path(f"data/{number}").touch()
    cut = []
    with mlsdk.run(name="many") as many:
        for number in range(20):
            for _ in range(2):
                open(f"{Path.cwd()}/data/{number}", "rb").close()
            cut.append(many.opened.is_cut)
    with mlsdk.run(name="few") as few:
        open("data/1", "rb").close()

    assert cut == [False] * 10 + [True] * 10
    assert len(many.opened._seen) <= 16
    assert few.problems == ()
    assert [problem.kind for problem in mlsdk.get_run(many.id).problems] == ["inputs"]
    assert len(_read(many)) == 10


def test_what_belongs_to_python_is_no_input() -> None:
    """Importing, and what the system and the interpreter have of their own, leaves nothing; nor does the store."""
    done = programs.execute(
        """
        with mlsdk.run(name="it") as run:
            import csv, decimal, email.message, encodings.latin_1, tempfile, zoneinfo
            zoneinfo.ZoneInfo("Europe/Berlin")
            mlsdk.runs().best
            open("/proc/self/status").close()
            tempfile.TemporaryFile().close()
        print(list(mlsdk.get_run("it").inputs))
        """,
        MLSDK_CAPTURE="process",
    )

    assert done.stdout.strip() == "[]"


def test_the_digest_comes_beside() -> None:
    """The companion reads what was seen: the SHA-256 of the bytes stands on the run."""
    Path("a.csv").write_text("a\n1\n")
    programs.execute(
        """
        with mlsdk.run(name="it"):
            open("a.csv").read()
        """,
        MLSDK_CAPTURE="process",
    )
    (found,) = mlsdk.get_run("it").inputs.values()

    assert found.digest == hashlib.sha256(b"a\n1\n").hexdigest()


def test_the_hook_never_harms(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error within it is not an error of the user's `open`; without a run it hears nothing."""
    with mlsdk.run("it") as run:
        monkeypatch.setattr(Opened, "read", lambda *_: 1 / 0)
        Path("a.csv").write_text("a\n")
        text = Path("a.csv").read_text("utf-8")
    Path("a.csv").read_text("utf-8")

    assert (text, dict(_read(run))) == ("a\n", {})


def test_another_working_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative name is the file that it means where the program stands when it opens it."""
    opened = Opened(None)
    for folder in ("first", "second"):
        Path(folder).mkdir()
        monkeypatch.chdir(folder)
        opened.read("a.csv")
        opened.wrote("made.csv")
        monkeypatch.chdir(os.pardir)
    opened.read("made.csv")
    opened.read("second/made.csv")

    assert list(opened.names) == [os.path.abspath(name) for name in ("first/a.csv", "second/a.csv", "made.csv")]


def test_a_python_that_lies_beside_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an installation like `/usr`, or an environment that is the project, only its own folders are left out."""
    monkeypatch.setattr("sys.path", [])
    for name, folder in (("", "/wide/project"), ("base_", "/wide")):
        monkeypatch.setattr(f"sys.{name}prefix", folder)
        monkeypatch.setattr(f"sys.{name}exec_prefix", folder)
    opened = Opened(None)
    for name in ("/wide/lib/python3/x.json", "/wide/project/lib/y.json", "/wide/project/a.csv", "/wide/src/b.csv"):
        opened.read(name)

    assert list(opened.names) == ["/wide/project/a.csv", "/wide/src/b.csv"]
