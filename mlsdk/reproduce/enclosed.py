"""What lies beside restored code: the lock, params, data by what they are, cells of a notebook, and how to run it."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from mlsdk.capture.secrets.redaction import REDACTED
from mlsdk.errors import MlsdkError
from mlsdk.log.values import encode
from mlsdk.records import Dataset, Run
from mlsdk.reproduce.program.command import options_of
from mlsdk.reproduce.program.variables import LEADING
from mlsdk.reproduce.restore import Restored
from mlsdk.reproduce.world.folders import Folders
from mlsdk.table import counted

FOLDER = ".mlsdk-run"
"""Hidden, and ignored by git through a file of its own."""


def enclose(run: Run, restored: Restored) -> str:
    """Write what a run's code needs beside itself into the folder where it was restored.

    Returns:
        The folder, `.mlsdk-run` in it. What the run does not have is left out; the README says so.
    """
    folder = os.path.join(restored.folder, FOLDER)
    if os.path.lexists(folder):
        folder += f"-{run.short_id}"
    os.mkdir(folder)
    _write(folder, ".gitignore", "*\n")
    _write(folder, "params.json", _json(encode(dict(run.params))))
    _write(folder, "data.json", _json([_about(one, run) for one in used_by(run)]))
    locks = _locks(run, folder)
    cells = run.code.get("cells")
    if isinstance(cells, (list, tuple)) and cells:
        _write(folder, "cells.py", "\n\n".join(f"# %%\n{str(cell).strip()}" for cell in cells) + "\n")
    sources = _sources(run, folder)
    _write(folder, "README.md", "\n".join(_readme(run, restored, os.path.basename(folder), locks, sources)) + "\n")
    return folder


def used_by(run: Run) -> list[Dataset]:
    """What a run used, declared or only seen to be read."""
    return [*run.datasets.values(), *(one for one in run.inputs.values() if not one.declared)]


def _write(folder: str, name: str, text: str) -> None:
    path = os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=True) + "\n"


def _about(one: Dataset, run: Run) -> dict[str, object]:
    names = ("path", "description", "digest", "fingerprint", "rows", "columns", "size_bytes", "note")
    found = {name: getattr(one, name) for name in names if getattr(one, name) is not None}
    return {"name": one.name, **found, "belongs_to": _relative(one.path, run), "declared": one.declared}


def _relative(path: str | None, run: Run) -> str | None:
    """A path within the project, from its top; any other as it was."""
    tree = run.code.get("tree")
    root = str(tree.get("root")) if isinstance(tree, Mapping) else ""
    if path is None:
        return None
    return (Folders([(root, ".")]).now(path) or path).removeprefix("./")


def _locks(run: Run, folder: str) -> list[str]:
    """Write the locks; the names of the files."""
    lock = run.environment.get("lock")
    found: list[str] = []
    if not isinstance(lock, Mapping):
        return found
    wanted = {"requirements.txt": lock.get("requirements")}
    if lock.get("format") == "pylock.toml":
        wanted["pylock.toml"] = lock.get("digest")
    for name, digest in wanted.items():
        try:
            with run._store().open_blob(str(digest)) as file:  # noqa: SLF001 - a run reads its own store
                _write(folder, name, file.read().decode())
            found.append(name)
        except MlsdkError:  # not brought along by a sync, say: the README names what is there
            continue
    return found


def _sources(run: Run, folder: str) -> list[str]:
    """Write the modules that lay outside of the code tree; their names."""
    kept, files = run.code.get("sources_kept"), run.code.get("modules")
    if not isinstance(kept, Mapping):
        return []
    places = files if isinstance(files, Mapping) else {}
    for module, text in kept.items():
        is_package = os.path.basename(str(places.get(module, ""))) == "__init__.py"
        place = str(module).replace(".", "/") + ("/__init__.py" if is_package else ".py")
        _write(folder, f"sources/{place}", str(text))
    return sorted(map(str, kept))


def _readme(run: Run, restored: Restored, folder: str, locks: list[str], sources: list[str]) -> Iterable[str]:
    yield f"# {run.name}"
    yield f"\nRun `{run.id}` of the experiment {run.experiment}, started at {run.started_at:%Y-%m-%d %H:%M:%S} UTC."
    by_itself = "" if run.code.get("cells") else " `mlsdk rerun` does all of the following by itself."
    yield f"The folder above this one holds its code as it was.{by_itself}\n"
    yield from _environment(run, folder, locks)
    yield from _start(run, folder, sources)
    yield from _data(run)
    yield from _lacking(restored, sources, folder)


def _environment(run: Run, folder: str, locks: list[str]) -> Iterable[str]:
    python = str(run.environment.get("python") or "3")
    minor = shlex.quote(".".join(python.split(".")[:2]))  # a record may say anything, and people paste this
    yield f"## Environment\n\nPython {python}, in the folder above this one:\n"
    if "requirements.txt" not in locks:
        yield "The run has no lock: install what the project asks for.\n"
        return
    yield "```sh\n# with uv"
    yield f"uv venv --python {minor} .venv"
    yield f"uv pip install --no-deps -r {folder}/requirements.txt"
    yield "# or with pip"
    yield f"python{minor} -m venv .venv"
    yield f".venv/bin/python -m pip install --no-deps -r {folder}/requirements.txt\n```\n"
    if "pylock.toml" in locks:
        yield f"`{folder}/pylock.toml` has the digests of all wheels too; uv and pip take it as `-r` as well.\n"


def _start(run: Run, folder: str, sources: list[str]) -> Iterable[str]:
    yield "## Start\n"
    if run.code.get("cells"):
        yield f"It was made in a notebook or at a prompt: `{folder}/cells.py` has what ran there, in its order. Make a"
        yield "script of it: what `mlsdk.track` or `mlsdk.run` records of that can be made again.\n"
        return
    argv, entry = run.code.get("argv"), str(run.code.get("entry"))
    if not isinstance(argv, (list, tuple)) or not argv:
        yield "How it was started was not recorded.\n"
        return
    within = _relative(str(run.code.get("folder") or ""), run) or "."
    yield "```sh"
    if within != "." and not os.path.isabs(within):
        yield f"cd {shlex.quote(os.path.normpath(within))}"
    for name, value in _variables(run):
        yield f"export {name}={shlex.quote(value)}"
    if path := _module_path(run, [f"{folder}/sources"] if sources else [], within):
        yield f"export PYTHONPATH={shlex.quote(path)}"
    python = os.path.relpath(".venv/bin/python", within) if not os.path.isabs(within) else ".venv/bin/python"
    words = [python, *options_of(run), *_entry(run, entry, str(argv[0])), *(str(word) for word in argv[1:])]
    yield f"{shlex.join(words)}\n```\n"
    if any(REDACTED in str(word) for word in argv):
        yield f"`{REDACTED}` stands for a secret, which was not kept.\n"


def _module_path(run: Run, first: list[str], within: str) -> str:
    """Folders of the restored tree that modules were found in by `PYTHONPATH`, and some before them."""
    found = run.environment.get("variables")
    told = str(found.get("PYTHONPATH", "")) if isinstance(found, Mapping) else ""
    places = [*first, *(place for entry in told.split(os.pathsep) if entry and (place := _relative(entry, run)))]
    here = [place for place in places if not os.path.isabs(place)]
    return os.pathsep.join(os.path.relpath(place, within) if not os.path.isabs(within) else place for place in here)


def _entry(run: Run, entry: str, typed: str) -> list[str]:
    main = run.code.get("main")
    if entry.startswith("-m "):
        return ["-m", entry[3:]]
    if entry in ("-c", "-"):
        return ["-c", str(main.get("source", "…")) if isinstance(main, Mapping) else "…"]
    return [typed if not os.path.isabs(typed) else (_relative(typed, run) or typed)]


def _variables(run: Run) -> Iterable[tuple[str, str]]:
    found = run.environment.get("variables")
    for name, value in (found if isinstance(found, Mapping) else {}).items():
        if (
            str(name).isidentifier()
            and name not in LEADING
            and not str(name).startswith("MLSDK_")
            and REDACTED not in str(value)
        ):
            yield str(name), str(value)


def _data(run: Run) -> Iterable[str]:
    known = [one for one in used_by(run) if one.path is not None]
    memory = [one.name for one in used_by(run) if one.path is None and one.description != "address"]
    if known:
        yield "## Data\n\n| name | where it belongs | what it is |\n|---|---|---|"
        for one in known:
            name = one.name if one.declared else "seen to be read"
            yield f"| {name} | `{_relative(one.path, run)}` | {one.note or _known_as(one)} |"
        yield ""
    if memory:
        yield f"Made by the program itself, or handed to it: {', '.join(memory)}.\n"


def _known_as(one: Dataset) -> str:
    rows = "" if one.rows is None else f"{counted(one.rows, 'row')}, "
    return rows + (f"sha256 {one.digest}" if one.digest else one.fingerprint or "not known by its content")


def _lacking(restored: Restored, sources: list[str], folder: str) -> Iterable[str]:
    lacking = {
        **{path: f"not kept: {why}" for path, why in restored.left_out.items()},
        **{path: f"without {counted(count, 'secret')} that stood in it" for path, count in restored.redacted.items()},
        **{path: f"not seen then: {why}" for path, why in restored.missing.items()},
    }
    if sources:
        yield f"## From elsewhere\n\n`{folder}/sources` has modules that are not in the tree: {', '.join(sources)}.\n"
    if lacking:
        yield "## Missing\n"
        yield from (f"- `{path}`: {why}" for path, why in lacking.items())
