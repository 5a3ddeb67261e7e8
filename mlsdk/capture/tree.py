"""The code tree: every file of the working directory that belongs to the code, put away with the run.

The bytes are read as they lie there, without attributes or filters. A manifest lists names, modes, links and digests;
what no run before has had goes into one new pack (`packs.py`). `docs/format.md` describes both.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from mlsdk import config
from mlsdk.capture import Context
from mlsdk.capture.listing import Listing, files_of
from mlsdk.capture.packs import Known, Packer, contents_of, write_cache
from mlsdk.capture.scan import Scan
from mlsdk.errors import FormatError
from mlsdk.version import VERSION

FORMAT = "mlsdk tree 1"

MOST_TOLD = 100
"""Entries of a fact that is a list; the tree itself has all."""

_LARGEST_BYTES = 10_000_000
_PAGE = 128
"""Entries of a page of the list, on the average."""


def capture(where: Context) -> Mapping[str, object] | None:
    """Facts `tree`, `left_out`, `left_out_count`, `redacted`, `tree_missing`.

    `tree` is where the code lies: `digest` of the manifest, number of `files`, their `size_bytes`, the `packs` that hold
    them, the `root` folder, and who said which files belong, `by` git or a walk. `left_out` are files of which only a
    digest is kept (too large, a secret), `redacted` those that are kept without a secret, by number of spans, and
    `tree_missing` what could not be read, and why. None where there is no store.
    """
    if where.root is None:
        return None
    entry = where.facts.get("code", {}).get("entry")
    listing = files_of(where.folder, entry if isinstance(entry, str) else None, where.root)
    known = Known(where.root)
    packer = Packer(where.put_blob, known)
    cache = os.path.join(where.root, "cache", "trees", f"{_short(listing.root)}.files")
    before = _read_cache(cache)
    scan = Scan(listing, packer, before.get("files", {}), _largest_bytes(), where.root)
    scan.look()
    lines = scan.lines()
    identity = _short("\n".join(lines), digits=64)
    tree = before.get("tree")
    if before.get("identity") != identity or not tree or not known.renew([tree["digest"], *tree["packs"]]):
        tree = _put(lines, scan, packer, known, where.put_blob)
    if scan.changed:
        now = {"version": VERSION, "identity": identity, "tree": tree, "files": scan.seen}
        write_cache(cache, json.dumps(now, separators=(",", ":")).encode("ascii"))
    return _facts(tree, listing, scan)


def _largest_bytes() -> int:
    name = "largest_source_bytes"
    return int(config.number(name)) if name in config.SETTINGS else _LARGEST_BYTES


def _short(text: str, digits: int = 24) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:digits]


def _read_cache(path: str) -> dict[str, Any]:
    """What the last look at this folder found; nothing if another version took it: its rules may be others."""
    try:
        with open(path, encoding="ascii") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and found.get("version") == VERSION else {}


def _put(
    lines: list[str], scan: Scan, packer: Packer, known: Known, put_blob: Callable[[bytes | str], tuple[str, int]]
) -> dict[str, Any]:
    """Put the manifest away, and before it what it lists.

    The list is cut into pages which are contents like the files: in a large tree with one change all but one are there.
    """
    pages = [packer.add(page) for page in _pages(lines)]
    packer.close()
    packs = known.packs_of({*pages, *scan.contents()})
    known.renew(packs)
    manifest: dict[str, object] = {"format": FORMAT, "files": scan.files, "size_bytes": scan.size_bytes}
    manifest |= {"packs": packs, "pages": pages}
    digest, _ = put_blob(json.dumps(manifest, separators=(",", ":")).encode("ascii"))
    return {"digest": digest, "files": scan.files, "size_bytes": scan.size_bytes, "packs": packs}


def _pages(lines: list[str]) -> list[bytes]:
    """The entries as pieces of JSON, cut where their own bytes say so: a change moves no border elsewhere."""
    pages: list[list[str]] = [[]]
    for line in lines:
        if pages[-1] and zlib.crc32(line.encode("ascii")) % _PAGE == 0:
            pages.append([])
        pages[-1].append(line)
    return [f"[{','.join(page)}]".encode("ascii") for page in pages]


def _facts(tree: dict[str, Any], listing: Listing, scan: Scan) -> dict[str, object]:
    found: dict[str, object] = {"tree": {**tree, "root": listing.root, "by": listing.by}}
    if scan.left_out:
        found["left_out"] = scan.left_out[:MOST_TOLD]
        found["left_out_count"] = len(scan.left_out)
    if scan.redacted:
        found["redacted"] = dict(sorted(scan.redacted.items())[:MOST_TOLD])
    missing = listing.notes | dict(list(scan.missing.items())[:MOST_TOLD])
    if len(scan.missing) > MOST_TOLD:
        missing["files"] = f"{len(scan.missing) - MOST_TOLD} more could not be read"
    if missing:
        found["tree_missing"] = missing
    return found


def read_tree(read_blob: Callable[[str], bytes], digest: str) -> tuple[list[dict[str, Any]], list[str]]:
    """The entries of a code tree, by path, and the packs that hold its files.

    Raises:
        FormatError: the blob is no manifest of a tree, or one of a newer mlsdk.
    """
    try:
        manifest = json.loads(read_blob(digest))
        packs, pages = manifest["packs"], manifest["pages"]
        if manifest["format"] != FORMAT:
            raise FormatError(f"the code tree {digest} is written as {manifest['format']!r}: pip install -U mlsdk")
    except (ValueError, KeyError, TypeError):
        raise FormatError(f"blob {digest} is no manifest of a code tree") from None
    found = dict(contents_of(read_blob, packs, pages))
    missing = [page for page in pages if page not in found]
    if missing:
        raise FormatError(f"the code tree {digest} is damaged: page {missing[0]} is in none of its packs")
    return [entry for page in pages for entry in json.loads(found[page])], packs
