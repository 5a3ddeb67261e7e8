"""The code tree: every file of the working directory that belongs to the code, put away with the run.

The bytes are read as they lie there, without attributes or filters. A manifest lists names, modes, links and digests;
what no run before has had goes into one new pack (`packs.py`). `docs/format.md` describes both.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from mlsdk import config
from mlsdk.capture import Context, PutBlob, cache
from mlsdk.capture.code.listing import Listing, files_of
from mlsdk.capture.code.packs import Known, Packer, contents_of
from mlsdk.capture.code.scan import Scan
from mlsdk.capture.facts import ByName
from mlsdk.errors import FormatError, StoreError
from mlsdk.store.blobs import check_digest
from mlsdk.version import VERSION

FORMAT = "mlsdk tree 1"

MOST_TOLD = 100
"""Entries of a fact that is a list; the tree itself has all."""

_FORGET_AFTER_S = 90 * 86_400
_PAGE = 128
"""Entries of a page of the list, on the average."""


def capture(where: Context) -> Mapping[str, object] | None:
    """Facts `tree`, `left_out`, `left_out_count`, `redacted`, `tree_missing`.

    `tree` is where the code lies: `digest` of the manifest, `identity` (equal for equal files, however they are
    packed), number of `files`, their `size_bytes`, the `root` folder, and who said which files belong, `by` git or a
    walk. `left_out` are files of which only a digest is kept (too large, a secret), `redacted` those that are kept
    without a secret, by number of spans, and `tree_missing` what could not be read, and why. None where there is no
    store.
    """
    if where.root is None or not where.folder:
        return None
    entry = where.facts.get("code", {}).get("entry")
    listing = files_of(where.folder, entry if isinstance(entry, str) else None, where.root)
    known = Known(where.root)
    kept = f"trees/{_short(listing.root)}.files"
    before = _known_before(where.root, kept, known)
    scan, found = _look(listing, known, before, where.put_blob, where.root)
    if found is None:  # the cache knows of a content that is in no pack any more
        before = {}
        scan, found = _look(listing, known, before, where.put_blob, where.root)
    if found is None:
        raise StoreError("the code was packed, and the packs were gone before they could be listed: is the disk full?")
    if not before:
        _forget(os.path.dirname(cache.path_of(where.root, kept)))
    if scan.changed or found != before.get("tree"):
        now = {"version": VERSION, "tree": found, "files": scan.seen}
        cache.write(where.root, kept, json.dumps(now, separators=(",", ":")).encode("ascii"))
    return _facts(found, listing, scan)


def _look(
    listing: Listing, known: Known, before: dict[str, Any], put_blob: PutBlob, root: str
) -> tuple[Scan, dict[str, Any] | None]:
    """Look at the files, and put away what is new; the tree is None where a content is in no pack."""
    packer = Packer(put_blob, known)
    scan = Scan(listing, packer, before.get("files", {}), _largest_bytes(), root)
    scan.look()
    lines = scan.lines()
    identity = _short("\n".join(lines), digits=64)
    tree: dict[str, Any] | None = before.get("tree")
    if tree is not None and tree["identity"] == identity:
        return scan, tree
    # The list is cut into pages which are contents like the files: in a large tree one change makes one new page.
    pages = [packer.add(page) for page in _pages(lines)]
    packer.close()
    packs = known.packs_of({*pages, *scan.contents()})
    if packs is None:
        return scan, None
    known.renew(packs)
    about: dict[str, object] = {"files": scan.files, "size_bytes": scan.size_bytes, "packs": packs}
    manifest = {"format": FORMAT, **about, "pages": pages}
    digest, _ = put_blob(json.dumps(manifest, separators=(",", ":")).encode("ascii"))
    return scan, {"digest": digest, **about, "identity": identity}


def _largest_bytes() -> int:
    return int(config.number("largest_source_bytes"))


def _short(text: str, digits: int = 24) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:digits]


def _known_before(root: str, name: str, known: Known) -> dict[str, Any]:
    """What the last look at this folder found.

    Nothing if a pack has been erased since, or if another version of mlsdk looked: its rules may be others.
    """
    try:
        found = json.loads(cache.read(root, name) or b"null")
        usable = found["version"] == VERSION and known.renew([found["tree"]["digest"], *found["tree"]["packs"]])
    except (ValueError, KeyError, TypeError):
        return {}
    return found if usable else {}


def _forget(folder: str) -> None:
    """Drop what was known of folders at which nobody has looked for long: clones of one job each, say."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith((".files", ".part")) and entry.stat().st_mtime < time.time() - _FORGET_AFTER_S:
                os.unlink(entry.path)


def _pages(lines: list[str]) -> list[bytes]:
    """The entries as pieces of JSON, cut where their own bytes say so: a change moves no border elsewhere."""
    pages: list[list[str]] = [[]]
    for line in lines:
        if pages[-1] and zlib.crc32(line.encode("ascii")) % _PAGE == 0:
            pages.append([])
        pages[-1].append(line)
    return [f"[{','.join(page)}]".encode("ascii") for page in pages]


def _facts(tree: dict[str, Any], listing: Listing, scan: Scan) -> dict[str, object]:
    about = {name: tree[name] for name in ("digest", "identity", "files", "size_bytes")}
    found: dict[str, object] = {"tree": {**about, "root": listing.root, "by": listing.by}}
    if scan.left_out:
        found["left_out"] = scan.left_out[:MOST_TOLD]
        found["left_out_count"] = len(scan.left_out)
    if scan.redacted:
        found["redacted"] = ByName(sorted(scan.redacted.items())[:MOST_TOLD])
    missing = ByName({**listing.notes, **dict(list(scan.missing.items())[:MOST_TOLD])})
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
        packs, pages = list(map(check_digest, packs)), list(map(check_digest, pages))
    except (ValueError, KeyError, TypeError, StoreError):
        raise FormatError(f"blob {digest} is no manifest of a code tree") from None
    found = dict(contents_of(read_blob, packs, pages))
    missing = [page for page in pages if page not in found]
    if missing:
        raise FormatError(f"the code tree {digest} is damaged: page {missing[0]} is in none of its packs")
    return [entry for page in pages for entry in json.loads(found[page])], packs
