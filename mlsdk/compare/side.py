"""One of the runs that are compared: its facts, its paths as seen from its own top, its sources."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from mlsdk.capture.code.packs import contents_of
from mlsdk.capture.code.tree import read_tree
from mlsdk.compare.values import listed, mapping
from mlsdk.errors import DigestError, FormatError, NotFoundError
from mlsdk.records import Run

Entries = dict[str, dict[str, Any]]
"""What a code tree holds, by path."""

KEPT_BYTES = 1 << 27
"""Of packs that were read, so that a store elsewhere is not asked for the same twice."""

_TEMPORARY = ("/tmp/", "/var/tmp/", "/dev/shm/", "/private/var/folders/", "/var/folders/")  # noqa: S108 - compared only


def switched_off(run: Run, name: str) -> bool:
    """Whether a setting of mlsdk was switched off by its variable."""
    value = mapping(run.environment.get("variables")).get(name, "")
    return str(value).lower() in ("0", "false", "no", "off")


class Side:
    """A run as it is compared.

    Args:
        run: as read from its store.

    Attributes:
        run: the same.
        code, environment, hardware: its facts.
        lost: what the record speaks of and its store does not have, in words.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.code: Mapping[str, object] = run.code
        self.environment: Mapping[str, object] = run.environment
        self.hardware: Mapping[str, object] = run.hardware
        self.lost: list[str] = []
        self._blobs: dict[str, bytes] = {}

    # Paths

    @cached_property
    def tops(self) -> tuple[str, ...]:
        """Folders that are elsewhere when a run is made again: that of the code tree, then others not below it."""
        tree = mapping(self.code.get("tree"))
        named = (tree.get("root"), self.code.get("root"), self.code.get("folder"))
        found = [top for top in (str(top).rstrip("/") for top in named if top) if top]
        above = [top for top in found if not any(top.startswith(f"{other}/") for other in found)]
        return tuple(dict.fromkeys([*found[:1], *above]))

    def place(self, path: str) -> str:
        """A path as seen from the top of the code; as it is where it lies elsewhere."""
        for top in self.tops:
            if path == top or path.startswith(f"{top}/"):
                is_above = self.tops[0].startswith(f"{top}/")  # the working folder, say, in which the project lies
                return posixpath.relpath(path, self.tops[0] if is_above else top)
        return path

    def within(self, text: str) -> str:
        """A text with the paths in it as seen from the top of the code."""
        for top in self.tops:
            if top in text:
                text = re.sub(rf"(?<![\w./-]){re.escape(top)}/", "", self.place(text))
        return text

    def plain(self, value: object) -> object:
        """A value with its paths as seen from the top of the code."""
        if isinstance(value, os.PathLike):
            value = os.fspath(value)
        if isinstance(value, str):
            return self.within(value)
        if isinstance(value, Mapping):
            return {name: self.plain(one) for name, one in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.plain(one) for one in value]
        return value

    def whole(self, path: str) -> str:
        """An absolute path of what the run named by a path of any kind."""
        return posixpath.normpath(posixpath.join(str(self.code.get("folder") or "/"), path))

    @property
    def names_what_it_read(self) -> bool:
        """Whether a file that it is not known to have read was not read: it was observed, and its top is known."""
        return bool(self.tops) and not switched_off(self.run, "MLSDK_OBSERVE")

    @staticmethod
    def is_temporary(place: str) -> bool:
        """Whether a place, outside the top, is in a folder for temporary files."""
        return place.startswith(_TEMPORARY)

    # The code tree

    @cached_property
    def _tree(self) -> tuple[Entries, list[str]]:
        tree = mapping(self.code.get("tree"))
        if "digest" not in tree:
            return {}, []
        try:
            entries, packs = read_tree(self._read_blob, str(tree["digest"]))
        except (NotFoundError, FormatError, DigestError) as error:
            self.lost.append(f"the code tree cannot be read: {error}")
            return {}, []
        return {str(entry["path"]): entry for entry in entries}, packs

    @property
    def entries(self) -> Entries:
        """What the code tree holds, by path."""
        return self._tree[0]

    def contents(self, digests: Iterable[str]) -> dict[str, bytes]:
        """Contents of the code tree by digest; those that cannot be read are left out."""
        found: dict[str, bytes] = {}
        try:
            found.update(contents_of(self._read_blob, self._tree[1], set(digests)))
        except (NotFoundError, FormatError, DigestError) as error:
            self.lost.append(f"files of the code tree cannot be read: {error}")
        return found

    def _read_blob(self, digest: str) -> bytes:
        if digest not in self._blobs:
            with self.run._store().open_blob(digest) as file:  # noqa: SLF001 - a run reads its own store
                data = file.read()
            if sum(map(len, self._blobs.values())) + len(data) > KEPT_BYTES:
                return data
            self._blobs[digest] = data
        return self._blobs[digest]

    # Modules

    @cached_property
    def module_places(self) -> dict[str, str]:
        """Where in the code tree the source of each module of the project lies, by name."""
        named = mapping(self.code.get("modules"))
        places = {str(name): self.place(str(path)) for name, path in named.items()}
        main = mapping(self.code.get("main")).get("file")
        if main and "__main__" not in places:
            places["__main__"] = self.place(str(main))
        sources = mapping(self.code.get("sources"))
        unplaced = {str(digest): str(name) for name, digest in sources.items() if name not in places}
        for path, entry in self.entries.items() if unplaced else ():  # imported while the run went on
            name = unplaced.get(str(entry.get("sha256")))
            if name is not None and path.endswith(".py"):
                places[name] = path
        return places

    @cached_property
    def sources(self) -> dict[str, list[bytes]]:
        """The sources of the project's modules by name; of a notebook its cells, in the order in which they ran."""
        kept = {str(name): str(text) for name, text in mapping(self.code.get("sources_kept")).items()}
        found = {name: [text.encode("utf-8", "surrogateescape")] for name, text in kept.items()}
        digests = {
            name: str(self.entries[place]["sha256"])
            for name, place in self.module_places.items()
            if name not in found and "sha256" in self.entries.get(place, {})
        }
        contents = self.contents(digests.values()) if digests else {}
        found.update({name: [contents[digest]] for name, digest in digests.items() if digest in contents})
        main = mapping(self.code.get("main"))
        cells = [str(cell).encode("utf-8", "surrogateescape") for cell in listed(self.code.get("cells"))]
        if cells:
            found["__main__"] = [*found.get("__main__", []), *cells]
        elif isinstance(main.get("source"), str):
            found["__main__"] = [str(main["source"]).encode("utf-8", "surrogateescape")]
        return found
