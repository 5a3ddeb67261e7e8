"""Fingerprints of what a path names: a file, a folder, a pattern, a table in a database."""

from __future__ import annotations

import contextlib
import glob
import json
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import attrs

from mlsdk.data.delimited import NotATable, read_delimited
from mlsdk.data.digest import digest_table
from mlsdk.data.listing import digest_of_listing, listing, note_of
from mlsdk.data.parquet import read_arrow, read_json_lines, read_parquet
from mlsdk.data.record import Fingerprint, prefix
from mlsdk.data.statcache import Note, StatCache, default_folder, stat_of
from mlsdk.data.stored import dump, load_from
from mlsdk.data.table import Column, Table
from mlsdk.errors import FormatError, UsageError
from mlsdk.version import VERSION

READERS: dict[str, Callable[[str], Table]] = {
    ".csv": read_delimited,
    ".csv.gz": partial(read_delimited, compressed=True),
    ".tsv": partial(read_delimited, delimiter="\t"),
    ".tsv.gz": partial(read_delimited, delimiter="\t", compressed=True),
    ".parquet": read_parquet,
    ".arrow": read_arrow,
    ".feather": read_arrow,
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    ".jsonl.gz": partial(read_json_lines, compressed=True),
    ".ndjson.gz": partial(read_json_lines, compressed=True),
}
"""By the end of the name, in any case. All other files are their bytes."""


def fingerprint_path(
    path: str | os.PathLike[str],
    *,
    key: str | Sequence[str] | None = None,
    decimals: int | None = None,
    sample: int | None = None,
    table: str | None = None,
    query: str | None = None,
    trust_mtime: bool = False,
    cache: str | os.PathLike[str] | Literal[False] | None = None,
) -> Fingerprint:
    """The fingerprint of what a path names.

    Args:
        path: a file, a folder, or a pattern such as `data/*.csv`.
        key: the column or columns that name a row. A folder's rows are its files, and their key is their path.
        decimals: see `digest_table`.
        sample: see `digest_table`; the id of the bytes is that of the whole file all the same.
        table: of a sqlite database, this table; nothing but its rows counts then.
        query: of a sqlite database, the result of this query.
        trust_mtime: believe times on network file systems too.
        cache: the folder with what is known of files read before; None for the user's own, False for none.

    Raises:
        UsageError: there is no such file, it cannot be read, or it has no rows where rows are asked for.
    """
    path = os.fsdecode(path)
    if table is not None or query is not None:
        from mlsdk.data.sql import sql_table

        # No id of bytes: the file holds more than these rows, and what was last written may lie in its journal.
        rows = sql_table(path, table=table, query=query)
        return attrs.evolve(digest_table(rows, key=key, decimals=decimals, sample=sample), name=path)
    known = StatCache(None if cache is False else os.path.abspath(cache or _own_cache()))
    if os.path.exists(path) and not os.path.isdir(path):
        return _file(path, known, key, decimals, sample, trust_mtime)
    if os.path.isdir(path) or glob.has_magic(path):
        if decimals is not None or sample is not None or key not in (None, "path", ["path"], ("path",)):
            raise UsageError(f"{path!r} are files, whose key is their path: leave out key, decimals and sample")
        return _files(path, known, trust_mtime)
    raise UsageError(f"there is no file, folder or pattern {path!r} (looked in {os.getcwd()!r})")


def _own_cache() -> str:
    """The user's own cache, made if need be."""
    folder = default_folder()
    with contextlib.suppress(OSError):  # without it every file is read each time
        os.makedirs(folder, mode=0o700, exist_ok=True)
    return folder


def _files(path: str, cache: StatCache, trust_mtime: bool) -> Fingerprint:
    """A folder or a pattern, as the table of its files."""
    files = listing(path, cache, trust_mtime=trust_mtime)
    if not files and not os.path.isdir(path):
        raise UsageError(f"no file fits the pattern {path!r} (looked in {os.getcwd()!r})")
    columns = [Column("path", "text", False), Column("size_bytes", "int64", False), Column("sha256", "text", False)]
    rows = [[file.path for file in files], [file.size_bytes for file in files], [file.sha256 for file in files]]
    links = sum(file.is_link for file in files)
    return attrs.evolve(
        digest_table(Table(columns, [rows]), key="path"),
        bytes_id=digest_of_listing(files),
        size_bytes=sum(file.size_bytes for file in files),
        name=path,
        notes=(f"{links} links in {path!r} count as what they point to; what is there was not read",) if links else (),
    )


def _file(
    path: str,
    cache: StatCache,
    key: str | Sequence[str] | None,
    decimals: int | None,
    sample: int | None,
    trust_mtime: bool,
) -> Fingerprint:
    """One file: its bytes and, where it is a table, its rows."""
    note = note_of(path, cache, trust_mtime=trust_mtime)
    ends = [end for end in READERS if path.lower().endswith(end)]
    if not ends:
        return _bytes_only(path, note, None, key, decimals, sample)
    read = partial(_table, path, note, READERS[ends[-1]], key, decimals, sample)
    # With the version, so that no answer outlives the rules by which it was found.
    told = json.dumps([VERSION, prefix(), note.sha256, ends[-1], key, decimals, sample])
    place = cache.path(told, ".table")
    kept = _kept(path, place, read)
    if kept is not None:
        cache.touch(place)
        return attrs.evolve(kept, name=path)
    try:
        made = read()
    except NotATable as why:
        return _bytes_only(path, note, f"{path!r} is known by its bytes alone: {why}", key, decimals, sample)
    if cache.folder is not None:
        cache.keep(place, dump(made))
    return made


def _kept(path: str, place: str, read: Callable[[], Fingerprint]) -> Fingerprint | None:
    """A fingerprint made before; the hashes of its rows stay in the cache until they are needed."""

    def part(offset: int, length: int) -> bytes:
        with open(place, "rb") as file:
            file.seek(offset)
            return file.read(length)

    def again() -> Fingerprint:
        made = read()
        if made.id != kept.id:
            raise UsageError(f"{path!r} was changed, and the hashes of its rows before are gone from the cache")
        return made

    try:
        kept = load_from(part, again)
    except (OSError, FormatError):  # not there, or damaged: then it is made
        return None
    return kept


def _table(
    path: str,
    note: Note,
    reader: Callable[[str], Table],
    key: str | Sequence[str] | None,
    decimals: int | None,
    sample: int | None,
) -> Fingerprint:
    """The rows of a file."""
    made = digest_table(reader(path), key=key, decimals=decimals, sample=sample)
    if stat_of(os.stat(path)) != note.stat:
        raise UsageError(f"{path!r} was changed while it was read; fingerprint it when nobody writes to it")
    return attrs.evolve(made, bytes_id=note.sha256, size_bytes=note.stat.size, name=path)


def _bytes_only(
    path: str, note: Note, why: str | None, key: str | Sequence[str] | None, decimals: int | None, sample: int | None
) -> Fingerprint:
    """A file that is its bytes and nothing else."""
    asked = {"key": key, "decimals": decimals, "sample": sample}
    given = [f"{name}={value!r}" for name, value in asked.items() if value is not None]
    if given:
        known = ", ".join(f"*{end}" for end in READERS)
        raise UsageError(f"{', '.join(given)} asks for rows; {why or f'{path!r} is no table by its name ({known})'}")
    return Fingerprint(
        id=f"{prefix(bytes_only=True)}:{note.sha256[:32]}",
        bytes_id=note.sha256,
        size_bytes=note.stat.size,
        name=path,
        notes=(why,) if why else (),
    )
