"""What a rerun must leave alone: folders of the user's that links lead to, data, processes, secrets."""

from __future__ import annotations

import math
import os
from pathlib import Path

import attrs
import psutil
import pytest

import mlsdk
from mlsdk.errors import MlsdkError, RerunError
from mlsdk.log.values import encode
from mlsdk.records import Run
from mlsdk.reproduce.restore import Tree
from mlsdk.reproduce.world import carrier as carrier_module
from mlsdk.reproduce.world import links
from mlsdk.reproduce.world.carrier import Carrier
from mlsdk.reproduce.world.folders import Folders
from mlsdk.reproduce.world.links import lead_inside
from mlsdk.reproduce.world.place import Place
from tests.reproduce.again import start, write
from tests.trees import git

PROGRAM = """
    import os, subprocess, sys, time
    from pathlib import Path
    import mlsdk

    DAEMON = '''
    import os, sys, time
    if os.fork(): os._exit(0)
    os.setsid()
    if os.fork(): os._exit(0)
    os.chdir("/")
    open(sys.argv[1], "w").write(str(os.getpid()))
    time.sleep(60)
    '''.replace("\\n    ", "\\n")

    @mlsdk.track
    def train(x=1, api_key=""):
        n = int(Path("beside/n.txt").read_text())
        for place in ("beside", "absolute", "inside"):
            Path(place, f"made-{x}.txt").write_text("new")
        Path("beside/n.txt").write_text(str(n if x == 1 else 99))
        Path("nothing").write_text("new")
        if x == 2:
            subprocess.run([sys.executable, "-c", DAEMON, os.environ["PID_FILE"]])
            while not os.path.exists(os.environ["PID_FILE"]) or not Path(os.environ["PID_FILE"]).read_text():
                time.sleep(0.01)
        if x == 3:
            print("password=hunter2", flush=True)
            os._exit(3)
        return {"n": n, "at_home": float(os.environ.get("PWD") == os.getcwd())}

    train()
"""


def state(folder: Path) -> dict[str, object]:
    """What lies in a folder, but for git's and our own."""
    found: dict[str, object] = {}
    for path in folder.rglob("*"):
        if not {".git", ".mlsdk"} & set(path.parts):
            seen = path.lstat()
            found[str(path)] = (seen.st_mtime_ns, seen.st_size, os.readlink(path) if path.is_symlink() else None)
    return found


def is_alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_nothing_is_written_through_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What links lead to outside is read, and never written; daemons end with the program; secrets are not told."""
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    monkeypatch.setenv("PID_FILE", str(tmp_path / "pid"))
    git("init", "-q")
    write(".mlsdk/\n", ".gitignore")
    write("5", "../outside/n.txt")
    write("a", "results/kept.txt")
    for name, target in (
        ("beside", "../outside"),
        ("absolute", tmp_path / "outside"),
        ("inside", project / "results"),
        ("nothing", tmp_path / "nothing.txt"),
    ):
        os.symlink(target, name)
    write(PROGRAM)
    old = start("train.py")
    before = state(tmp_path)
    new = mlsdk.rerun(old, params={"x": 2, "api_key": "sk-0123456789abcdef0123"}, env="same")
    again = mlsdk.rerun(new, params={"x": 1}, env="same")
    pid = int((tmp_path / "pid").read_text())
    os.unlink(tmp_path / "pid")

    assert (new.metrics["n"].last, new.metrics["at_home"].last) == (5, 1)
    assert {problem.kind for problem in new.problems} == {"secret params.api_key", "secret code.rerun"}
    assert again.metrics["n"].last == 5
    assert state(tmp_path) == before
    assert not is_alive(pid)
    assert "0123456789" not in str(encode([dict(new.params), new.code["rerun"]]))

    with pytest.raises(RerunError, match="in the middle") as failed:
        mlsdk.rerun(old, params={"x": 3}, env="same")
    assert "password=" in str(failed.value)
    assert "hunter2" not in str(failed.value)
    assert state(tmp_path) == before


def test_large_folders_behind_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large folder that somebody has written to since is replaced by its folders; another stays linked."""
    monkeypatch.setattr(links, "COPIED_BYTES", 10)
    (tmp_path / "big/sub").mkdir(parents=True)
    (tmp_path / "big/sub/x").write_bytes(b"0" * 20)
    base, before = tmp_path / "base", str(tmp_path / "project")
    found = {}
    for since_s in (0.0, math.inf):
        top = base / f"{since_s}"
        top.mkdir(parents=True)
        os.symlink("../big", top / "link")
        tree = Tree([{"kind": "link", "path": "link", "target": "../big"}], [], lambda _: b"")
        moved, notes = lead_inside(
            str(base), str(top), tree, Folders([(before, str(top))]), Place(before, before), _make_sub, since_s
        )
        found[since_s] = (os.path.realpath(top / "link"), len(moved.pairs), len(notes))

    assert found[math.inf] == (str(tmp_path / "big"), 0, 0)
    assert found[0.0] == (str(base / "elsewhere/0/big"), 1, 1)
    assert os.listdir(base / "elsewhere/0/big") == ["sub"]


def _make_sub(_: str, there: str) -> None:
    os.mkdir(os.path.join(there, "sub"))


def test_what_was_written_since_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    """Large files and folders are linked only if nobody has written to them since; nothing goes out of the world."""
    monkeypatch.setattr(carrier_module, "COPIED_BYTES", 10)
    write("b" * 20, "from/large")
    os.makedirs("to")
    os.makedirs("out")
    os.symlink(os.path.abspath("out"), "to/link")
    carrier = Carrier(os.path.abspath("to"), 0.0)
    carrier.bring(os.path.abspath("from/large"), os.path.abspath("to/large"))
    carrier.bring(os.path.abspath("from"), os.path.abspath("to/folder"))

    assert not any(Path("to", name).is_symlink() for name in ("large", "folder", "folder/large"))
    with pytest.raises(RerunError, match="leads out"):
        carrier.write(os.path.abspath("to/link/x"), b"x")
    with pytest.raises(RerunError, match="leads out"):
        carrier.bring(os.path.abspath("from"), os.path.abspath("to/link"))
    assert os.listdir("out") == []


def test_records_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """No name in a record leads out or becomes an option; somebody else's paths to libraries do not hold here."""
    git("init", "-q")
    source = (
        "import os, mlsdk\n\n@mlsdk.track\ndef train(a=1):\n    return {'set': float('LD_PRELOAD' in os.environ)}\n"
    )
    write(source + "\ntrain()\n", "-c")
    old = start("./-c", MALLOC_ARENA_MAX="3")
    assert old.code["argv"] == ["./-c"]
    typed = attrs.evolve(old, code={**old.code, "argv": ["-c"], "umask": "99"})
    assert mlsdk.rerun(typed, env="same").metrics["set"].last == 0

    monkeypatch.setenv("USER", "ann")
    told = {**dict(old.environment["variables"]), "LD_PRELOAD": "/no/such.so"}  # type: ignore[call-overload]
    new = mlsdk.rerun(attrs.evolve(old, user="eve", environment={**old.environment, "variables": told}), env="same")
    assert "eve recorded the run" in str(new.code["rerun"])
    assert new.metrics["set"].last == 0
    assert new.environment["variables"]["MALLOC_ARENA_MAX"] == "3"  # type: ignore[index]

    os.symlink(os.path.abspath("outside"), "link")
    os.mkdir("outside")
    linked = start("./-c")
    for facts, what in (
        ({"argv": ["-c", "\0"]}, "null byte"),
        ({"folder": str(Path.cwd() / "link/new")}, "link that leads out"),
        ({"tree": {**dict(old.code["tree"]), "root": "/x/.."}}, "not in its code tree"),  # type: ignore[call-overload]
    ):
        with pytest.raises(RerunError, match=what):
            mlsdk.rerun(attrs.evolve(linked, code={**linked.code, **facts}), env="same")
    assert os.listdir("outside") == []

    for name in (str(Path.cwd() / "evil"), str(Path.cwd() / "evil").replace("/", ".")):
        digest = "2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683"  # of `key`
        facts = {"sources_kept": {name: "key"}, "modules": {name: "/nowhere.py"}, "sources": {name: digest}}
        with pytest.raises(MlsdkError, match="leads out"):
            mlsdk.rerun(attrs.evolve(old, code={**old.code, **facts}), env="same")
    assert not Path("evil.py").exists()


def test_data_by_absolute_paths() -> None:
    """A program that reads changed data by a path of its own is not taken for one that reads what it read then."""
    git("init", "-q")
    data = write("1", "data.txt").resolve()
    write(
        f"import mlsdk\n\nDATA = {str(data)!r}\n\n@mlsdk.track\ndef train(lr=1):\n"
        "    return {'n': len(open(DATA).read())}\n\ntrain()\n"
    )
    old: Run = start("train.py")
    assert mlsdk.rerun(old, env="same").metrics["n"].last == 1
    data.write_text("22")

    with pytest.raises(RerunError, match="by its absolute path") as refused:
        mlsdk.rerun(old, env="same")
    assert refused.value.why == "data"
