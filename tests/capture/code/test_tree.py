"""The code tree: every file as it was, nothing of the user's touched, and little work the second time."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mlsdk
from mlsdk.capture import Context
from mlsdk.capture.code import git as git_capture
from mlsdk.capture.code import listing, scan
from mlsdk.capture.code.tree import capture, read_tree
from mlsdk.reproduce.restore import restore
from mlsdk.store.base import open_file
from tests.conftest import require
from tests.programs import eventually
from tests.trees import contents, git, make_hostile, run_of, take

ODD_NAMES = [
    b"new\nline.py",
    b"quote\"s'.py",
    b"tab\there.py",
    b"back\\slash.py",
    b"-rf",
    b" spaces ",
    b"#hash",
    b"? question",
    b"caf\xe9.py",
    b"\xff\xfe",
    "größe.py".encode(),
    "日本/コード.py".encode(),
    "e\u0301.py".encode(),
    b"a" * 200,
    b"*.py",
    b"$(touch x)",
    b"\x01\x7f",
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder of a store."""
    return tmp_path / "elsewhere" / "store"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one commit."""
    require(shutil.which("git"), "git")
    return commit_of(tmp_path / "repository", {"a.py": "a = 1\n", "below/b.py": "b = 1\n"})


def commit_of(folder: Path, files: dict[str, str]) -> Path:
    """A new repository with these files in one commit."""
    git("init", "-q", "-b", "main", str(folder))
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git("add", "-A", folder=folder)
    git("commit", "-qm", "first", folder=folder)
    return folder


def write(folder: Path, name: bytes, data: bytes, mode: int = 0o644) -> None:
    path = os.path.join(os.fsencode(folder), name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)
    os.chmod(path, mode)


def everything(tmp_path: Path) -> Path:
    """A repository in which all is in every state at once."""
    inner = commit_of(tmp_path / "made" / "inner", {"deep.py": "deep = 1\n"})
    library = commit_of(tmp_path / "made" / "library", {"lib.py": "lib = 1\n", "sub/x.py": "x = 1\n"})
    git("submodule", "--quiet", "add", str(inner), "inner", folder=library)
    git("commit", "-qm", "with inner", folder=library)
    folder = commit_of(
        tmp_path / "everything",
        {
            **{name: f"{name} = 1\n" for name in "clean staged unstaged both deleted unindexed fight sparse".split()},
            **{name: f"{name} = 1\n" for name in "old_name assumed becomes_link becomes_folder typed".split()},
            "was_folder/inside.py": "x = 1\n",
            ".gitignore": "ignored/\n*.log\n",
            ".gitattributes": "*.txt text eol=lf ident\n*.utf16 working-tree-encoding=UTF-16\n*.bin filter=lfs\n",
        },
    )
    for name, change in (("side", "ours"), ("main", "theirs")):
        git("checkout", "-q", "-B" if name == "side" else "-q", name, folder=folder)
        (folder / "fight").write_text(f"fight = {change!r}\n")
        git("commit", "-qam", name, folder=folder)
    for path in ("module", "never fetched"):
        git("submodule", "--quiet", "add", str(library), path, folder=folder)
    git("commit", "-qm", "modules", folder=folder)
    git("submodule", "--quiet", "update", "--init", "--recursive", "module", folder=folder)
    git("submodule", "--quiet", "deinit", "-f", "never fetched", folder=folder)
    write(folder, b"module/lib.py", b"lib = 2  # changed\n")
    write(folder, b"module/untracked.py", b"u = 1\n")
    write(folder, b"module/inner/deep.py", b"deep = 2\n")
    write(folder, b"tracked.sh", b"#!/bin/sh\n", 0o755)
    write(folder, b"crlf.txt", b"a\r\nb\r\n$Id$\r\n")
    write(folder, b"mixed.txt", b"a\r\nb\nc\r")
    write(folder, b"wide.utf16", "\ufeffwide".encode("utf-16-le"))
    write(folder, b"lfs.bin", bytes(range(256)) * 50)
    write(folder, b"empty.py", b"")
    for name in ODD_NAMES[::2]:
        write(folder, b"tracked odd/" + name, b"odd = 1\n")
    os.symlink("clean", folder / "link to file")
    os.symlink("was_folder", folder / "link to folder")
    git("-c", "core.autocrlf=false", "add", ".", folder=folder)
    git("commit", "-qm", "more", folder=folder)
    write(folder, b"clean", b"stashed = 1\n")
    git("stash", "-q", folder=folder)
    with pytest.raises(AssertionError, match="merge"):
        git("merge", "-q", "side", folder=folder)
    for name in ("staged", "both"):
        write(folder, name.encode(), b"changed = 1\n")
        git("add", name, folder=folder)
    for name in ("both", "unstaged", "assumed"):
        write(folder, name.encode(), b"changed = 'again'\n")
    git("update-index", "--assume-unchanged", "assumed", folder=folder)
    git("update-index", "--skip-worktree", "sparse", folder=folder)
    git("rm", "-q", "--cached", "unindexed", folder=folder)
    git("mv", "old_name", "new name", folder=folder)
    for name in ("deleted", "sparse", "becomes_link", "becomes_folder"):
        (folder / name).unlink()
    os.symlink("/etc/hostname", folder / "becomes_link")
    write(folder, b"becomes_folder/file.py", b"x = 1\n")
    shutil.rmtree(folder / "was_folder")
    os.symlink(tmp_path / "made", folder / "was_folder")
    write(folder, b"intended.py", b"i = 1\n")
    git("add", "-N", "intended.py", folder=folder)
    write(folder, b"untracked/new.sh", b"#!/bin/sh\n", 0o755)
    write(folder, b"untracked/mine", b"", 0o600)
    write(folder, b"untracked/binary", os.urandom(300_000))
    for name in ODD_NAMES:
        write(folder, b"untracked odd/" + name, b"odd = 2\n")
    for target in ("nowhere/at/all", "..", "/", "untracked", "link to itself"):
        os.symlink(target, folder / f"untracked/to {target.replace('/', '_')}")
    os.symlink(b"caf\xe9.py", os.fsencode(folder) + b"/untracked/caf\xe8")
    commit_of(folder / "nested", {"n.py": "n = 1\n"})
    write(folder, b"nested/later.py", b"later = 1\n")
    git("init", "-q", str(folder / "nested" / "fresh"))
    write(folder, b"nested/fresh/f.py", b"f = 1\n")
    (folder / "typed").chmod(0o755)
    return folder


def of_git(folder: Path) -> dict[str, object]:
    """All that a user's git knows and shows: every file of `.git` with its times, and what commands say."""
    settings = {"GIT_OPTIONAL_LOCKS": "0"}
    os.environ.update(settings)
    try:
        said = {
            words: git(*words.split(), folder=folder)
            for words in (
                "status --porcelain=v2 --branch -z --untracked-files=all",
                "stash list",
                "for-each-ref",
                "config --list --local",
                "rev-parse HEAD",
                "count-objects -v",
            )
        }
    finally:
        del os.environ["GIT_OPTIONAL_LOCKS"]
    files = {}
    for path in sorted((folder / ".git").rglob("*")):
        about = path.lstat()
        files[str(path)] = (about.st_mtime_ns, about.st_size, path.read_bytes() if path.is_file() else b"")
    return {**said, **files}


# what is captured


def test_everything_at_once(tmp_path: Path, root: Path) -> None:
    """Whatever state the files are in, they come back byte for byte, and the repository is as it was before."""
    require(shutil.which("git"), "git")
    folder = everything(tmp_path)
    write(folder, b"ignored/data.csv", b"not code")
    write(folder, b"x.log", b"not code")
    (folder / "untracked" / "stashed").write_text("x")
    git("update-index", "--no-assume-unchanged", "assumed", folder=folder)
    git("update-index", "--assume-unchanged", "assumed", folder=folder)
    before, there = of_git(folder), contents(folder)
    facts = take(folder, root)
    assert of_git(folder) == before
    done = restore(run_of(facts, root), tmp_path / "restored")
    expected = {path: what for path, what in there.items() if path not in (b"ignored/data.csv", b"x.log")}

    assert contents(tmp_path / "restored") == expected
    assert (tmp_path / "restored" / "never fetched").is_dir()
    assert done.is_exact
    assert facts["tree"]["files"] == len(expected)
    assert facts["tree"]["by"] == "git"
    assert set(facts) == {"tree"}
    assert done.repositories["module"] == git("rev-parse", "HEAD", folder=folder / "module")
    assert done.repositories["nested"] == git("rev-parse", "HEAD", folder=folder / "nested")
    assert set(done.repositories) == {"module", "module/inner", "never fetched", "nested", "nested/fresh"}
    assert capture_again(folder, root) == facts


def capture_again(folder: Path, root: Path) -> dict[str, object]:
    return take(folder, root)


def test_from_a_folder_inside(repository: Path, root: Path) -> None:
    """The whole repository belongs to the code, wherever in it the run was started."""
    assert take(repository / "below", root) == take(repository, root)


def test_a_folder_with_an_odd_name(tmp_path: Path, root: Path) -> None:
    """The folder itself may have a name that is no text, and be reached by a link."""
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9\nx"))
    commit_of(folder, {"a.py": "a = 1\n"})
    (tmp_path / "link").symlink_to(folder)
    facts = take(tmp_path / "link", root)

    assert facts == take(folder, root)
    assert (facts["tree"]["files"], facts["tree"]["root"]) == (1, str(folder))


def test_before_the_first_commit(tmp_path: Path, root: Path) -> None:
    """A repository without a commit has files all the same; one without files is an empty tree."""
    git("init", "-q", str(tmp_path / "new"))
    empty = take(tmp_path / "new", root)
    (tmp_path / "new" / "a.py").write_text("a = 1\n")
    facts = take(tmp_path / "new", root)

    assert empty["tree"]["files"] == 0
    assert restore(run_of(empty, root), tmp_path / "r0").files == 0
    assert facts["tree"]["files"] == 1
    assert restore(run_of(facts, root), tmp_path / "r1").files == 1


def test_worktree_and_shallow_clone(repository: Path, tmp_path: Path, root: Path) -> None:
    """A linked working tree and a shallow clone are trees like any other; equal files are stored once."""
    (repository / "a.py").write_text("a = 2\n")
    git("commit", "-qam", "second", folder=repository)
    git("worktree", "add", "-q", "--detach", str(tmp_path / "linked"), folder=repository)
    git("clone", "-q", "--depth=1", f"file://{repository}", str(tmp_path / "shallow"))
    found = [take(folder, root)["tree"] for folder in (repository, tmp_path / "linked", tmp_path / "shallow")]

    assert len({tree["digest"] for tree in found}) == 1
    assert [Path(tree["root"]).name for tree in found] == ["repository", "linked", "shallow"]


def test_a_sparse_checkout(repository: Path, tmp_path: Path, root: Path) -> None:
    """What a sparse checkout leaves out of the working directory is not in the tree."""
    git("sparse-checkout", "set", "--cone", "elsewhere", folder=repository)
    facts = take(repository, root)
    restore(run_of(facts, root), tmp_path / "r")

    assert not (repository / "below").exists()
    assert contents(tmp_path / "r") == contents(repository)
    assert "tree_missing" not in facts


def test_the_store_is_never_captured(repository: Path, tmp_path: Path) -> None:
    """Neither `.mlsdk` nor a store under another name is part of the code, ignored or not."""
    for store in (repository / ".mlsdk", repository / "runs of ours"):
        take(repository, store)
        (store / ".gitignore").unlink()
        (store / "more.py").write_text("x = 1\n")
        git("add", "-f", "-N", str(store / "more.py"), folder=repository)
        tree = take(repository, store)["tree"]
        names = paths(tree, store)
        shutil.rmtree(store)

        assert names == {"a.py", "below/b.py"}


def paths(tree: Any, root: Path) -> set[str]:
    """Paths of a tree's entries."""
    store = open_file(f"file:{root}")

    def read_blob(digest: str) -> bytes:
        with store.blobs.open(digest) as file:
            return file.read()

    return {entry["path"] for entry in read_tree(read_blob, tree["digest"])[0]}


def test_a_virtual_environment_is_left_out(repository: Path, root: Path) -> None:
    """A virtual environment, or packages of node, that nobody has told git to ignore are named and not kept."""
    for name in ("env/pyvenv.cfg", "env/lib/x.py", "js/node_modules/y/y.js", "js/own.js"):
        write(repository, name.encode(), b"x")
    facts = take(repository, root)

    assert {one["path"]: one["why"] for one in facts["left_out"]} == {
        "env": "a virtual environment",
        "js/node_modules": "packages of node",
    }
    assert facts["tree"]["files"] == 3


# what is not kept


def test_large_files_are_known_by_digest(repository: Path, tmp_path: Path, root: Path, monkeypatch: Any) -> None:
    """A file over the limit is listed with its digest and not stored; with a higher limit it is."""
    from mlsdk.capture.code import tree

    monkeypatch.setattr(tree, "_largest_bytes", lambda: 1000)
    write(repository, b"weights.bin", bytes(1001))
    write(repository, b"small.bin", bytes(1000))
    facts, again = take(repository, root), take(repository, root)
    done = restore(run_of(facts, root), tmp_path / "r")
    monkeypatch.setattr(tree, "_largest_bytes", lambda: 2000)
    more = take(repository, root)

    digest = hashlib.sha256(bytes(1001)).hexdigest()
    assert facts["left_out"] == [
        {"path": "weights.bin", "size_bytes": 1001, "digest": digest, "why": "larger than 1,000 bytes"}
    ]
    assert facts["left_out_count"] == 1
    assert again == facts
    assert done.left_out == {"weights.bin": "larger than 1,000 bytes"}
    assert not done.is_exact
    assert "left_out" not in more
    assert more["tree"]["files"] == 4


def test_secrets_are_not_kept(repository: Path, tmp_path: Path, root: Path) -> None:
    """A secret file is listed by a keyed digest; a secret in a file is replaced there, which is marked."""
    secret = "ghp_" + "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1dE3fG5"
    (repository / "a.py").write_text(f"a = 1\nTOKEN = '{secret}'\r\nb = 2\n", newline="")
    (repository / ".env").write_text("DOOR=4711\n")
    facts = take(repository, root)
    done = restore(run_of(facts, root), tmp_path / "r")
    stored = b"".join(path.read_bytes() for path in root.rglob("*") if path.is_file())

    assert [(one["path"], one["size_bytes"]) for one in facts["left_out"]] == [(".env", 10)]
    assert facts["redacted"] == {"a.py": 1} == done.redacted
    assert done.left_out.keys() == {".env"}
    assert (tmp_path / "r" / "a.py").read_bytes() == b"a = 1\nTOKEN = '[redacted]'\r\nb = 2\n"
    assert hashlib.sha256(b"DOOR=4711\n").hexdigest().encode() not in stored
    assert secret.encode() not in stored
    assert take(repository, root) == facts


def test_secrets_in_names_are_not_kept(repository: Path, root: Path) -> None:
    """A file whose name or folder holds a secret, and a link that points to one, are left out, their names cleaned."""
    secret = "ghp_" + "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1dE3fG5"
    (repository / f"run-{secret}.txt").write_text("x")
    (repository / secret).mkdir()
    (repository / secret / "a.py").write_text("a = 1\n")
    (repository / "link").symlink_to(f"elsewhere/{secret}")
    facts = take(repository, root)
    stored = b"".join(path.read_bytes() for path in root.rglob("*") if path.is_file())

    assert {one["path"]: one["why"] for one in facts["left_out"]} == {
        "run-[redacted].txt": "its name holds what looks like a secret",
        "[redacted]/a.py": "its name holds what looks like a secret",
        "link": "its target holds what looks like a secret",
    }
    assert secret.encode() not in stored


def test_more_untracked_than_fits(repository: Path, root: Path, monkeypatch: Any) -> None:
    """Untracked files beyond a total size are named and not kept; tracked ones always are."""
    monkeypatch.setattr(scan, "MOST_OTHERS_BYTES", 2500)
    for number in range(4):
        write(repository, f"new {number}".encode(), bytes(1000))
    facts = take(repository, root)
    age(repository)
    take(repository, root)
    monkeypatch.setattr(listing, "MOST_OTHERS", 3)
    fewer = take(repository, root)

    assert [one["path"] for one in facts["left_out"]] == ["new 2", "new 3"]
    assert facts["tree"]["files"] == 4
    assert take(repository, root) == fewer
    assert [one["path"] for one in fewer["left_out"]] == ["new 2"]
    assert fewer["tree_missing"]["files"].startswith("1 files were not taken")


def test_what_is_no_file(repository: Path, root: Path) -> None:
    """A pipe where git has a file is not waited for; it is named."""
    (repository / "a.py").unlink()
    os.mkfifo(repository / "a.py")
    facts = take(repository, root)

    assert [(one["path"], one["why"]) for one in facts["left_out"]] == [("a.py", "neither a file, a folder nor a link")]


# the second time


def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths that are read from now on."""
    found: list[str] = []
    read = scan.Scan._read_once

    def note(self: scan.Scan, path: str, full: str) -> Any:
        found.append(path)
        return read(self, path, full)

    monkeypatch.setattr(scan.Scan, "_read_once", note)
    return found


def manifest(facts: dict[str, Any], root: Path) -> Any:
    digest = facts["tree"]["digest"]
    return json.loads((root / "blobs" / digest[:2] / digest).read_bytes())


def age(folder: Path) -> None:
    """Wait until no file of a folder was written within a tick of the clock."""
    import time

    last = max(path.lstat().st_ctime_ns for path in folder.rglob("*"))
    while time.time_ns() < last + 3 * scan._TICK_NS:
        time.sleep(0.01)


def test_unchanged_files_are_not_read_again(repository: Path, root: Path, monkeypatch: Any) -> None:
    """The second look asks files for their state only; a changed one is read, and only it is packed."""
    age(repository)
    first, read = take(repository, root), reads(monkeypatch)
    second = take(repository, root)
    assert read == []
    (repository / "below" / "b.py").write_text("b = 2\n")
    third = take(repository, root)

    assert second == first
    assert read == ["below/b.py"]
    assert set(manifest(first, root)["packs"]) < set(manifest(third, root)["packs"])


def test_racy_files_are_read_again(repository: Path, root: Path, monkeypatch: Any) -> None:
    """A file written at about the time of a look could change once more without showing: the next look reads it."""
    monkeypatch.setattr(scan, "_TICK_NS", 10**12)
    take(repository, root)
    read = reads(monkeypatch)
    take(repository, root)

    assert sorted(read) == ["a.py", "below/b.py"]


def test_going_back_stores_nothing(repository: Path, root: Path) -> None:
    """Contents that any run before has had are not packed again, wherever they lie now."""
    first = take(repository, root)["tree"]
    (repository / "a.py").write_text("a = 2\n")
    take(repository, root)
    (repository / "a.py").write_text("a = 1\n")
    blobs = set((root / "blobs").rglob("*"))
    back = take(repository, root)["tree"]

    assert back["digest"] == first["digest"]
    assert set((root / "blobs").rglob("*")) == blobs


@pytest.mark.parametrize("lost", ["packs", "digest"])
def test_erased_blobs_are_put_again(repository: Path, tmp_path: Path, root: Path, lost: str) -> None:
    """The cache is not believed where a blob that it names has been erased."""
    age(repository)
    facts = take(repository, root)
    for digest in manifest(facts, root)["packs"] if lost == "packs" else [facts["tree"]["digest"]]:
        (root / "blobs" / digest[:2] / digest).unlink()
    again = take(repository, root)

    assert again == facts
    assert restore(run_of(again, root), tmp_path / "r").files == 2


def test_a_broken_cache_is_no_harm(repository: Path, tmp_path: Path, root: Path) -> None:
    """Whatever is in the cache, the tree is right."""
    facts = take(repository, root)
    for path in (root / "cache" / "trees").iterdir():
        path.write_bytes(b'{"version"')
    assert take(repository, root) == facts
    (root / "cache" / "trees" / "packs").unlink()
    (repository / "below" / "b.py").write_text("b = 2\n")
    again = take(repository, root)

    assert restore(run_of(again, root), tmp_path / "r").files == 2
    assert contents(tmp_path / "r") == contents(repository)


def test_one_change_in_many_costs_little(tmp_path: Path, root: Path) -> None:
    """One changed file among a thousand adds a small pack and a small manifest."""
    folder = commit_of(tmp_path / "many", {f"part {n % 20}/{n}.py": f"n = {n}\n" for n in range(1000)})
    take(folder, root)
    before = set((root / "blobs").rglob("*"))
    (folder / "part 3" / "43.py").write_text("n = -1\n")
    facts = take(folder, root)
    new = [path for path in (root / "blobs").rglob("*") if path.is_file() and path not in before]

    assert len(new) == 2
    assert sum(path.stat().st_size for path in new) < 30_000
    assert restore(run_of(facts, root), tmp_path / "r").files == 1000
    assert contents(tmp_path / "r") == contents(folder)


def test_several_packs(repository: Path, tmp_path: Path, root: Path, monkeypatch: Any) -> None:
    """What is too much for one pack goes into several."""
    from mlsdk.capture.code import packs

    monkeypatch.setattr(packs, "PACK_BYTES", 1000)
    monkeypatch.setattr(packs, "STREAM_BYTES", 600)
    for number in range(20):
        write(repository, str(number).encode(), os.urandom(300))
    facts = take(repository, root)
    restore(run_of(facts, root), tmp_path / "r")

    assert len(manifest(facts, root)["packs"]) > 3
    assert contents(tmp_path / "r") == contents(repository)
    assert take(repository, root) == facts


def test_a_collection_of_garbage_keeps_the_packs(repository: Path, tmp_path: Path) -> None:
    """A collection of garbage keeps what runs need, and takes the packs when the last of them is gone."""
    from mlsdk.store.gc import collect

    with mlsdk.run(capture=("git", "tree"), store=str(tmp_path / "s")) as run:
        pass
    store = mlsdk.open_store(str(tmp_path / "s"))
    assert eventually(lambda: "tree" in mlsdk.get_run(run.id, store=str(tmp_path / "s")).code)
    assert eventually(lambda: not os.listdir(tmp_path / "s" / "open"))
    for path in (tmp_path / "s" / "blobs").rglob("*"):
        os.utime(path, (1, 1))
    collect(store)
    done = restore(mlsdk.get_run(run.id, store=str(tmp_path / "s")), tmp_path / "r")
    mlsdk.edit(run.id, store=str(tmp_path / "s")).delete()
    collect(store, older_than_s=0)

    assert done.is_exact
    assert list(store.blobs.list()) == []


def test_what_is_long_forgotten(repository: Path, root: Path) -> None:
    """What was known of folders at which nobody has looked for months is dropped."""
    take(repository, root)
    cache = root / "cache" / "trees"
    (cache / "old.files").write_text("{}")
    (cache / "new.files").write_text("{}")
    os.utime(cache / "old.files", (1, 1))
    take(repository / "below", root)
    assert (cache / "old.files").exists(), "a folder that is known does not make us look"
    shutil.copytree(repository, repository.parent / "other")
    take(repository.parent / "other", root)

    assert not (cache / "old.files").exists()
    assert (cache / "new.files").exists()


def test_a_strange_index(repository: Path, root: Path) -> None:
    """An index that names files outside the tree does not make us read them."""
    index = repository / ".git" / "index"
    git("update-index", "--index-version=2", folder=repository)
    (repository.parent / "letter").write_text("private")
    data = index.read_bytes().replace(b"below/b.py", b"../letter\0")
    index.write_bytes(data[:-20] + hashlib.sha1(data[:-20]).digest())
    facts = take(repository, root)

    assert "../letter" in git("ls-files", folder=repository)
    assert "../letter" not in paths(facts["tree"], root)
    assert restore(run_of(facts, root), repository.parent / "r").missing == {}


NAMES = st.sampled_from([b"a", b"b.py", b"caf\xe9", b"d/a", b"d/\n", b"d/e/f", b"d"])
CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("write"), NAMES, st.binary(max_size=40)),
        st.tuples(st.just("write"), NAMES, st.sampled_from([b"x = 1\n", b"x = 2\n"])),
        st.tuples(st.just("mode"), NAMES, st.sampled_from([0o644, 0o755, 0o600])),
        st.tuples(st.just("link"), NAMES, NAMES),
        st.tuples(st.just("remove"), NAMES, st.none()),
    ),
    max_size=5,
)


def change(folder: Path, what: str, name: bytes, value: Any) -> None:
    """Change one file of a folder, if that is possible with what lies there."""
    path = os.path.join(os.fsencode(folder), name)
    with contextlib.suppress(OSError):
        if what == "write":
            write(folder, name, value, 0o644)
        elif what == "mode" and not os.path.islink(path) and os.path.isfile(path):
            os.chmod(path, value)
        elif what == "link":
            os.symlink(value, path)
        elif what == "remove" and os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        elif what == "remove":
            os.unlink(path)


@settings(max_examples=15)
@given(st.lists(CHANGES, min_size=1, max_size=4), st.booleans())
def test_any_changes(batches: list[Any], with_git: bool) -> None:
    """After any changes a look with a cache finds what a first look finds, and what it finds can be restored."""
    with tempfile.TemporaryDirectory() as temporary:
        folder, warm = Path(temporary) / "w", Path(temporary) / "warm"
        folder.mkdir()
        if with_git:
            git("init", "-q", str(folder))
        for number, batch in enumerate(batches):
            for one in batch:
                change(folder, *one)
            facts = take(folder, warm)
            first = take(folder, Path(temporary) / f"cold {number}")
            restore(run_of(facts, warm), Path(temporary) / f"restored {number}")

            assert facts["tree"]["identity"] == first["tree"]["identity"]
            assert contents(Path(temporary) / f"restored {number}") == contents(folder)


# what goes wrong


def test_a_file_that_may_not_be_read(repository: Path, tmp_path: Path, root: Path, monkeypatch: Any) -> None:
    """A file that may not be read is named with the reason; all others are kept."""
    real = os.open

    def open_but(path: Any, flags: int, *more: Any) -> int:
        if str(path).endswith("b.py") and not flags & os.O_CREAT:
            raise PermissionError(13, "Permission denied", path)
        return real(path, flags, *more)

    monkeypatch.setattr(os, "open", open_but)
    facts = take(repository, root)
    done = restore(run_of(facts, root), tmp_path / "r")

    assert facts["tree_missing"] == {"below/b.py": "cannot be read: Permission denied"} == done.missing
    assert facts["tree"]["files"] == 1


def test_a_file_that_vanishes(repository: Path, root: Path, monkeypatch: Any) -> None:
    """A file that is gone before it can be read is named; one that was deleted before is not missed."""
    read = scan.Scan._read_once

    def vanish(self: scan.Scan, path: str, full: str) -> Any:
        os.unlink(full)
        return read(self, path, full)

    (repository / "a.py").unlink()
    monkeypatch.setattr(scan.Scan, "_read_once", vanish)

    assert take(repository, root)["tree_missing"] == {"below/b.py": "it vanished before it could be read"}


def test_a_file_that_changes_while_it_is_read(repository: Path, root: Path, monkeypatch: Any) -> None:
    """A file that is being written is read again; if that does not help, it is said."""
    whole, times = scan._whole, 0

    def grow(descriptor: int, size: int, limit: int) -> bytes:
        nonlocal times
        data = whole(descriptor, size, limit)
        times += 1
        if times <= most:
            with open(repository / "a.py", "a") as file:
                file.write("# more\n")
        return data

    monkeypatch.setattr(scan, "_whole", grow)
    most = 1
    assert "tree_missing" not in take(repository, root)
    most, times = 100, 0
    (repository / "below" / "b.py").unlink()
    (repository / "a.py").write_text("a = 1\n")

    assert "changed while it was read" in take(repository, root)["tree_missing"]["a.py"]


def broken(repository: Path, how: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Make git useless."""
    programs = tmp_path / "programs"
    programs.mkdir()
    if how == "missing":
        monkeypatch.setenv("PATH", str(programs))
    elif how == "hangs":
        (programs / "git").write_text("#!/bin/sh\n/bin/sleep 1000 & /bin/sleep 1000\n")
        (programs / "git").chmod(0o755)
        monkeypatch.setenv("PATH", str(programs))
        monkeypatch.setattr(git_capture, "FIRST_TIMEOUT_S", 0.3)
    elif how == "hangs later":
        real = shutil.which("git")
        (programs / "git").write_text(
            f'#!/bin/sh\ncase "$*" in *ls-files*) exec /bin/sleep 1000; esac\nexec {real} "$@"\n'
        )
        (programs / "git").chmod(0o755)
        monkeypatch.setenv("PATH", str(programs))
        monkeypatch.setattr(git_capture, "TIMEOUT_S", 0.3)
    elif how == "no HEAD":
        (repository / ".git" / "HEAD").write_text("")
    else:
        (repository / ".git" / how).write_text("[core\n")


@pytest.mark.parametrize("how", ["missing", "hangs", "hangs later", "config", "index", "no HEAD"])
def test_without_git_the_folder_is_walked(
    repository: Path, tmp_path: Path, root: Path, monkeypatch: Any, how: str
) -> None:
    """Where git is missing, hangs, or cannot read the repository, the code is captured by a walk, which is said."""
    write(repository, b"__pycache__/a.pyc", b"x")
    write(repository, b".hidden/x", b"x")
    broken(repository, how, monkeypatch, tmp_path)
    facts = take(repository / "below", root)
    done = restore(run_of(facts, root), tmp_path / "r")

    assert facts["tree"]["by"] == "walk"
    assert facts["tree"]["root"] == str(repository)
    assert "the folder was walked instead" in facts["tree_missing"]["git"]
    assert {one["path"] for one in facts["left_out"]} == {"__pycache__", ".hidden"}
    assert contents(tmp_path / "r").keys() == {b"a.py", b"below/b.py"}
    assert done.missing["git"] == facts["tree_missing"]["git"]


# outside git


def test_the_folder_of_the_script(tmp_path: Path, root: Path) -> None:
    """Outside git the folder of the script that was started is walked, else the working folder."""
    write(tmp_path, b"code/train.py", b"x")
    write(tmp_path, b"code/package/a.py", b"x")
    write(tmp_path, b"code/env/pyvenv.cfg", b"x")
    write(tmp_path, b"code/.git-credentials", b"x")
    write(tmp_path, b"work/data.csv", b"x")
    of_script = take(tmp_path / "work", root, tmp_path / "code" / "train.py")
    of_folder = take(tmp_path / "work", root)

    assert paths(of_script["tree"], root) == {"train.py", "package/a.py", ".git-credentials", "env"}
    assert of_script["tree"]["root"] == str(tmp_path / "code")
    assert of_script["tree"]["files"] == 2
    assert "tree_missing" not in of_script
    assert paths(of_folder["tree"], root) == {"data.csv"}


def test_the_repository_of_the_script(repository: Path, tmp_path: Path, root: Path) -> None:
    """A script in a repository, started from a folder outside, brings its repository."""
    (tmp_path / "work").mkdir()

    assert take(tmp_path / "work", root, repository / "a.py")["tree"]["root"] == str(repository)


def test_an_installed_program_is_no_code(tmp_path: Path, root: Path) -> None:
    """A program of an environment does not make its folder the code."""
    write(tmp_path, b"env/pyvenv.cfg", b"x")
    write(tmp_path, b"env/bin/torchrun", b"x")
    write(tmp_path, b"work/a.py", b"x")

    assert paths(take(tmp_path / "work", root, tmp_path / "env" / "bin" / "torchrun")["tree"], root) == {"a.py"}


def test_a_walk_is_bounded(tmp_path: Path, root: Path, monkeypatch: Any) -> None:
    """A walk ends after so many files, those at the top first, and says so."""
    monkeypatch.setattr(listing, "MOST_WALKED", 3)
    for name in (b"w/z", b"w/y", b"w/a/b/c", b"w/a/b/d"):
        write(tmp_path, name, b"x")
    facts = take(tmp_path / "w", root)

    assert paths(facts["tree"], root) == {"z", "y", "a/b/c"}
    assert "more than 3 files" in facts["tree_missing"]["files"]


def test_a_home_folder_is_not_walked(tmp_path: Path, root: Path, monkeypatch: Any) -> None:
    """In a folder that holds more than code only the script itself is taken, or scripts directly in it."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in (b"home/train.py", b"home/other.py", b"home/letters.txt", b"home/private/x.py"):
        write(tmp_path, name, b"x")
    with_entry = take(tmp_path / "home", root, tmp_path / "home" / "train.py")
    without = take(tmp_path / "home", root)

    assert paths(with_entry["tree"], root) == {"train.py"}
    assert paths(without["tree"], root) == {"train.py", "other.py"}
    assert "holds more than code" in without["tree_missing"]["folder"]


# nothing of the user's is touched


def test_a_lock_is_in_nobodys_way(repository: Path, root: Path) -> None:
    """An index.lock is neither waited for nor taken."""
    (repository / ".git" / "index.lock").touch()
    before = of_git(repository)

    assert take(repository, root)["tree"]["files"] == 2
    assert of_git(repository) == before


def test_a_hostile_repository(repository: Path, tmp_path: Path, root: Path) -> None:
    """No program that a repository or a submodule names in its configuration is run."""
    for name in ("b.py", "c.py"):
        (repository / name).write_text("x\n")
    git("add", ".", folder=repository)
    git("commit", "-qm", "more", folder=repository)
    inner = commit_of(tmp_path / "library", dict.fromkeys(("a.py", "b.py", "c.py"), "x\n"))
    git("submodule", "--quiet", "add", str(inner), "module", folder=repository)
    git("commit", "-qm", "module", folder=repository)
    make_hostile(repository / "module", tmp_path, repository / ".git" / "modules" / "module")
    called = make_hostile(repository, tmp_path)
    assert not called.exists()
    facts = take(repository, root)
    git_capture.capture(Context(str(repository)))

    assert not called.exists(), called.read_text()
    assert facts["tree"]["by"] == "git"
    restore(run_of(facts, root), tmp_path / "r")
    assert contents(tmp_path / "r") == contents(repository)
    subprocess.run(["git", "status"], cwd=repository, capture_output=True, check=False, timeout=30)
    assert called.exists(), "the trap does not work, so that the test shows nothing"


def test_a_working_tree_elsewhere(repository: Path, tmp_path: Path, root: Path) -> None:
    """A repository that claims that its files are elsewhere does not make us read there."""
    write(tmp_path, b"private/letter", b"x")
    git("config", "core.worktree", str(tmp_path / "private"), folder=repository)
    facts = take(repository, root)

    assert paths(facts["tree"], root) == {"a.py", "below/b.py"}
    assert facts["tree"]["by"] == "walk"


def test_without_a_store() -> None:
    """Without a folder for blobs nothing is claimed."""
    assert capture(Context(".")) is None


def test_modes_are_those_of_the_file(tmp_path: Path, root: Path) -> None:
    """A file comes back with its own permissions, never with those of another user's programs."""
    for mode in (0o644, 0o600, 0o755, 0o777, 0o400):
        write(tmp_path, f"w/{mode:o}".encode(), b"x", mode)
    write(tmp_path, b"w/4755", b"x", 0o4755)
    restore(run_of(take(tmp_path / "w", root), root), tmp_path / "r")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "r").iterdir()}

    assert modes == {"644": 0o644, "600": 0o600, "755": 0o755, "777": 0o777, "400": 0o400, "4755": 0o755}
