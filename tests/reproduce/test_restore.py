"""The code of a run written back: whole, checked, and nowhere but into its folder."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

import mlsdk
from mlsdk.capture.code.packs import Known, Packer
from mlsdk.capture.code.tree import FORMAT
from mlsdk.cli import main
from mlsdk.errors import DigestError, FormatError, NotFoundError, UsageError
from mlsdk.records import Run
from mlsdk.reproduce.restore import check_path, restore
from mlsdk.store.target import FileTarget
from tests.conftest import require
from tests.programs import eventually, execute
from tests.trees import contents, git, run_of, take


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder of a store."""
    return tmp_path / "store"


def made(root: Path, entries: list[dict[str, Any]], data: bytes = b"x = 1\n", **changes: Any) -> Run:
    """A run with a tree that was made by hand; entries of files get the content `data`."""
    target = FileTarget(f"file:{root}", str(root))
    packer = Packer(target.put_blob, known := Known(str(root)))
    digest = packer.add(data)
    whole = [
        {"mode": "644", "size": len(data), "sha256": digest, **entry} if entry["kind"] == "file" else entry
        for entry in entries
    ]
    pages = [packer.add(json.dumps(whole).encode("ascii"))]
    packer.close()
    manifest = {"format": FORMAT, "packs": known.packs_of([digest, *pages]), "pages": pages, **changes}
    tree, _ = target.put_blob(json.dumps(manifest).encode("ascii"))
    return run_of({"tree": {"digest": tree}}, root)


def file(path: str, **more: Any) -> dict[str, Any]:
    return {"path": path, "kind": "file", **more}


def link(path: str, target: str) -> dict[str, Any]:
    return {"path": path, "kind": "link", "target": target}


# what is written


def test_a_tree_made_by_hand(tmp_path: Path, root: Path) -> None:
    """Files, links, modes and names come out as the entries say; what the run does not have is told."""
    entries = [
        file("a/b.py"),
        file("run.sh", mode="755"),
        file("caf\udce9"),
        file("r.py", spans=2),
        link("a/link", "../run.sh"),
        {"path": "m", "kind": "repository", "commit": "1" * 40, "head": "2" * 40},
        {"path": "n", "kind": "repository", "commit": "3" * 40},
        {"path": "big", "kind": "left out", "size": 9, "why": "larger than 8 bytes"},
        {"path": "gone", "kind": "missing", "why": "it vanished"},
    ]
    done = restore(made(root, entries), tmp_path / "r")

    assert contents(tmp_path / "r") == {
        b"a/b.py": ("file", "0o644", b"x = 1\n"),
        b"run.sh": ("file", "0o755", b"x = 1\n"),
        b"caf\xe9": ("file", "0o644", b"x = 1\n"),
        b"r.py": ("file", "0o644", b"x = 1\n"),
        b"a/link": ("link", b"../run.sh"),
    }
    assert (done.files, done.links, done.size_bytes, done.folder) == (4, 1, 24, str(tmp_path / "r"))
    assert done.repositories == {"m": "2" * 40, "n": "3" * 40}
    assert (done.left_out, done.redacted) == ({"big": "larger than 8 bytes"}, {"r.py": 2})
    assert done.missing == {"gone": "it vanished"}
    assert not done.is_exact
    assert (tmp_path / "r" / "n").is_dir()


def test_into_an_empty_folder(tmp_path: Path, root: Path) -> None:
    """An empty folder is as good as none; the parents of a new one are made."""
    (tmp_path / "empty").mkdir()

    assert restore(made(root, [file("a")]), tmp_path / "empty").is_exact
    assert restore(made(root, [file("a")]), tmp_path / "x" / "y").folder == str(tmp_path / "x" / "y")


@pytest.mark.parametrize("what", ["a file", "a full folder", "a link to nowhere"])
def test_never_over_something(tmp_path: Path, root: Path, what: str) -> None:
    """Where something is already, nothing is written, and the message says so."""
    place = tmp_path / "r"
    if what == "a file":
        place.write_text("mine")
    elif what == "a full folder":
        place.mkdir()
        (place / "a").write_text("mine")
    else:
        place.symlink_to(tmp_path / "nowhere")
    before = contents(tmp_path)

    with pytest.raises(UsageError, match="new or empty folder"):
        restore(made(tmp_path / "store", [file("a")]), place)
    shutil.rmtree(root)
    assert contents(tmp_path) == before


# what must not be written


@pytest.mark.parametrize(
    "path",
    [
        "../a",
        "a/../../b",
        "/etc/x",
        "",
        ".",
        "a//b",
        "a/./b",
        ".git/hooks/x",
        "m/.GIT/config",
        ".git ",
        "a\0b",
        7,
        None,
    ],
)
def test_paths_that_lead_out(tmp_path: Path, root: Path, path: Any) -> None:
    """An entry that leads out of the folder, or into a `.git`, is refused before anything is written."""
    with pytest.raises(FormatError, match="must not be written"):
        restore(made(root, [file("fine"), file(path)]), tmp_path / "r")

    assert not (tmp_path / "r").exists()


def test_paths_that_are_fine() -> None:
    """Odd names are no harm."""
    for path in ("a", ".gitignore", "a/.github/x", "..a", "a..", "-rf", "new\nline"):
        assert check_path(path) == path


@pytest.mark.parametrize(
    "entries",
    [
        [link("a", "/tmp"), file("a/b")],
        [file("a"), file("a")],
        [file("a"), link("a", "b")],
        [link("a", ".."), link("a/b", "c")],
        [file("a"), file("a/b")],
    ],
)
def test_entries_in_each_others_way(tmp_path: Path, root: Path, entries: list[dict[str, Any]]) -> None:
    """Nothing is written through a link or over another entry."""
    with pytest.raises(FormatError, match="'a'"):
        restore(made(root, entries), tmp_path / "r")

    assert os.listdir(tmp_path) == ["store"]


def test_a_full_disk(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where writing fails, what was written before goes; the folder is empty, as it was."""
    run, real = made(root, [file("a/b"), file("c"), link("d", "c")]), os.symlink

    def full(*arguments: Any, **more: Any) -> None:
        real(*arguments, **more)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "symlink", full)
    with pytest.raises(OSError, match="No space"):
        restore(run, tmp_path / "r")

    assert os.listdir(tmp_path / "r") == []


# what is damaged


def blob(root: Path, digest: str) -> Path:
    return root / "blobs" / digest[:2] / digest


def test_damaged_blobs(tmp_path: Path, root: Path) -> None:
    """A pack that is cut, changed or gone is an error that names it, and leaves nothing half done."""
    run = made(root, [file("a")], data=os.urandom(1000))
    pack = json.loads(blob(root, run.code["tree"]["digest"]).read_bytes())["packs"][0]
    whole = blob(root, pack).read_bytes()
    for damaged in (whole[:-1], b"", whole[:300] + b"\0" + whole[301:]):
        blob(root, pack).write_bytes(damaged)
        with pytest.raises(DigestError, match=pack[:12]):
            restore(run, tmp_path / "r")
    blob(root, pack).unlink()
    with pytest.raises(NotFoundError, match=pack[:12]):
        restore(run, tmp_path / "r")

    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("entry", "changes", "said"),
    [
        (file("a", sha256="0" * 64), {}, "in none of its packs"),
        (file("a"), {"pages": ["0" * 64]}, "in none of its packs"),
        (file("a"), {"format": "mlsdk tree 2"}, "pip install -U"),
        (file("a"), {"packs": 7}, "no manifest"),
        (file("a"), {"pages": None}, "no manifest"),
    ],
)
def test_damaged_manifests(tmp_path: Path, root: Path, entry: Any, changes: Any, said: str) -> None:
    """A manifest that speaks of what is not there, or is of a newer mlsdk, is refused with a reason."""
    with pytest.raises(FormatError, match=said):
        restore(made(root, [entry], **changes), tmp_path / "r")

    assert not (tmp_path / "r").exists() or list((tmp_path / "r").iterdir()) == []


def test_no_tree(tmp_path: Path) -> None:
    """A run without a code tree is said to have none."""
    with mlsdk.run(capture=()) as run:
        pass

    with pytest.raises(NotFoundError, match="has no code tree"):
        restore(run.id, tmp_path / "r")
    assert not (tmp_path / "r").exists()


# from beginning to end

PROGRAM = """
@mlsdk.track(experiment="restore")
def train(lr=0.1):
    return {"acc": lr}
train()
"""


def test_a_real_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The code of a run, with what was not committed, is there again in another folder by one command."""
    require(shutil.which("git"), "git")
    (tmp_path / "data").write_text("committed\n")
    (tmp_path / ".gitignore").write_text("restored*\n.cache\n")
    git("init", "-q", ".", folder=tmp_path)
    git("add", ".", folder=tmp_path)
    git("commit", "-qm", "first", folder=tmp_path)
    (tmp_path / "data").write_text("changed\r\n")
    execute(PROGRAM)
    there = {path: what for path, what in contents(tmp_path).items() if not path.startswith(b".cache")}
    assert eventually(lambda: "tree" in mlsdk.get_run("latest").code)
    assert main(["restore", "latest", "restored"]) == 0
    said = capsys.readouterr().out
    assert main(["restore", "latest", "restored again", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)

    without = frozenset((b".git", b".mlsdk", b".mlsdk-run"))
    assert contents(tmp_path / "restored", without=without) == there
    assert contents(tmp_path / "restored again", without=without) == there
    assert Path(answer["beside"]).name == ".mlsdk-run"
    assert "3 files of " in said
    assert git("rev-parse", "HEAD", folder=tmp_path) in said
    assert answer["files"] == 3
    assert answer["is_exact"] is True
    assert main(["restore", "latest", "restored"]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert main(["restore", "latest"]) == 2
    assert "mlsdk undelete" in capsys.readouterr().err


def test_what_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command lists what the run does not have."""
    (tmp_path / ".env").write_text("DOOR=4711\n")
    (tmp_path / "a.py").write_text("password = 'correct-horse-7'\n")
    execute(PROGRAM)
    assert eventually(lambda: "tree" in mlsdk.get_run("latest").code)
    assert main(["restore", "latest", "restored"]) == 0
    said = capsys.readouterr().out

    assert "not kept with the run" in said
    assert ".env  a file of environment variables" in said
    assert "a.py  1 place" in said


def test_what_a_capture_took(tmp_path: Path) -> None:
    """Facts by hand and facts of a run are the same."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "a.py").write_text("a = 1\n")
    store = tmp_path / "store"
    facts = take(tmp_path / "code", store)

    assert restore(run_of(facts, store), tmp_path / "r").files == facts["tree"]["files"] == 1
