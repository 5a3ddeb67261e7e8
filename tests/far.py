"""A stranger's remote store: a folder behind a network that fails as it is told. It joins by the entry-point group."""

from __future__ import annotations

import json
import os
from pathlib import Path

_CODE = '''
import json, os, time

from mlsdk.errors import AccessError, ConflictError, UnavailableError
from mlsdk.store.base import Store, open_file


def mood(root):
    try:
        with open(root + ".mood") as file:
            return json.load(file)
    except (OSError, ValueError):
        return {}


class Network:
    """Each call may fail before or after it was done, take its time, or be done twice."""

    def __init__(self, inner, root):
        self._inner, self._root, self._calls = inner, root, 0
        self.capabilities = getattr(inner, "capabilities", frozenset()) | {"batch"}

    def __getattr__(self, name):
        call = getattr(self._inner, name)
        if not callable(call):
            return call

        def through(*args):
            told = mood(self._root)
            self._calls += 1
            with open(self._root + ".calls", "a") as file:
                file.write(f"{name}\\n")
            time.sleep(told.get("delay_s", 0))
            while name == "put" and mood(self._root).get("hold_puts"):
                time.sleep(0.02)
            if told.get("refuse"):
                raise AccessError("the token is not valid: ask for a new one")
            if told.get("down") or self._calls % told.get("fail_each", 10**9) == 0:
                raise UnavailableError("connection refused", told.get("retry_after_s"))
            found = call(*args)
            if told.get("twice") and name in ("append",):
                call(*args)
            if self._calls % told.get("lose_answer_each", 10**9) == 0:
                raise UnavailableError("the answer was lost")
            return found

        return through

    def append_all(self, pieces):
        found = []
        for piece in pieces:
            try:
                found.append(self.append(*piece))
            except ConflictError as conflict:
                found.append(conflict)
        return found


def open_far(uri):
    root = uri.partition("://")[2].partition("?")[0]
    os.makedirs(root, exist_ok=True)
    store = open_file("file:" + root, ":memory:")
    store.layout.make()
    logs, blobs = Network(store.logs, root), Network(store.blobs, root)
    return Store(uri, logs, blobs, store.catalog, store.refresh)
'''


def install(folder: Path) -> Path:
    """Install the stranger's package below a folder; returns what to put on the path of Python."""
    packages = folder / "stranger" / "site-packages"
    about = packages / "farstore-1.0.dist-info"
    about.mkdir(parents=True)
    (packages / "farstore.py").write_text(_CODE, "utf-8")
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: farstore\nVersion: 1.0\n", "utf-8")
    (about / "entry_points.txt").write_text("[mlsdk.stores]\nfar = farstore:open_far\n", "utf-8")
    return packages


def uri(folder: Path, name: str = "team") -> str:
    """The URI of a far store."""
    return f"far://{folder / 'far' / name}"


def path(far_uri: str) -> str:
    """The folder behind the network."""
    return far_uri.partition("://")[2]


def mood(far_uri: str, **told: object) -> None:
    """Tell the network how to be: `down`, `refuse`, `twice`, `delay_s`, `hold_puts` and so on."""
    os.makedirs(os.path.dirname(path(far_uri)), exist_ok=True)
    temporary = Path(path(far_uri) + ".mood.part")
    temporary.write_text(json.dumps(told), "utf-8")
    temporary.replace(path(far_uri) + ".mood")


def calls(far_uri: str) -> list[str]:
    """Names of the calls so far."""
    try:
        return Path(path(far_uri) + ".calls").read_text("utf-8").split()
    except OSError:
        return []
