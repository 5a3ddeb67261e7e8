"""Data sets of a run as facts.

What is in memory by its fingerprint, at once; what lies in files by its name, for the companion, which reads them
beside the training.
"""

from __future__ import annotations

import os
import sys
import time

from mlsdk.capture import PutBlob

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mlsdk.data.record import Fingerprint

SMALL_BYTES = 1 << 20
"""A file up to this size is read by the run itself: it takes less than a millisecond."""

BYTES_A_SECOND = 200_000_000
"""Slower than any fingerprint of data in memory: what would take longer than the limit even so is not taken."""

_KINDS = {
    "pandas": ("DataFrame", "Series"),
    "polars": ("DataFrame", "Series", "LazyFrame"),
    "pyarrow": ("Table", "RecordBatch"),
    "numpy": ("ndarray", "recarray", "memmap", "MaskedArray"),
    "torch": ("Tensor", "TensorDataset", "Subset"),
    "datasets": ("Dataset", "DatasetDict"),
}
"""Types of data by library: an argument of one of them is a data set of the run."""

_GLOB = frozenset("*?[")


def is_data(value: object) -> bool:
    """Is an argument data: a frame, an array, or a `Path` of a file that is there?

    Text is not, though it may name a file, nor is a folder, which may be for output: say so by `data=`.
    """
    kind = type(value)
    try:
        if kind.__name__ in _KINDS.get(kind.__module__.partition(".")[0], ()):
            return True
        return isinstance(value, os.PathLike) and os.path.isfile(value)
    except Exception:  # an argument may be of any class, and its class may raise at any question
        return False


def dataset(data: object, name: str | None, put_blob: PutBlob, limit_s: float) -> tuple[str, dict[str, object]]:
    """Name and fact of a data set.

    Args:
        data: a path or pattern of files, a `Fingerprint`, or an object.
        name: by default the file's name, or `data`.
        put_blob: where the whole fingerprint goes.
        limit_s: seconds that reading it may take here.

    Raises:
        OSError: a file cannot be read.
    """
    if isinstance(data, (str, os.PathLike)):
        path = os.fspath(data)
        if isinstance(path, str) and (os.path.exists(path) or not _GLOB.isdisjoint(path)):
            path = os.path.abspath(path)
            return name or os.path.basename(path), pending(path)
    record = sys.modules.get("mlsdk.data.record")
    if record is not None and isinstance(data, record.Fingerprint):
        return name or "data", taken(data, put_blob)
    return name or "data", _in_memory(data, put_blob, limit_s)


def pending(path: str) -> dict[str, object]:
    """The fact of files that the companion is to read: what they are like now."""
    if not os.path.exists(path):
        return {"description": "files", "path": path, "pending": []}
    found = os.stat(path)
    fact: dict[str, object] = {"description": "folder", "path": path, "pending": []}
    if os.path.isfile(path):
        fact = {"description": "file", "path": path, "size_bytes": found.st_size}
        fact["pending"] = [found.st_size, found.st_mtime_ns]
        if found.st_size <= SMALL_BYTES:
            from hashlib import sha256

            with open(path, "rb") as file:
                fact["digest"] = sha256(file.read()).hexdigest()
    return fact


def taken(fingerprint: Fingerprint, put_blob: PutBlob) -> dict[str, object]:
    """The fact of data whose fingerprint was taken."""
    from mlsdk.data.stored import dump

    rows, columns = fingerprint.rows, len(fingerprint.columns)
    found = {
        "description": "bytes" if rows is None else f"{rows:,} rows x {columns:,} columns",
        "digest": fingerprint.bytes_id,
        "size_bytes": fingerprint.size_bytes,
        "fingerprint": fingerprint.id,
        "rows": rows,
        "columns": columns or None,
        "blob": put_blob(dump(fingerprint))[0],
    }
    return {name: value for name, value in found.items() if value is not None}


def in_time(batches: Iterable[Sequence[object]], limit_s: float) -> Iterator[Sequence[object]]:
    """The batches, as long as there is time: how large data are is often seen only by reading them.

    Raises:
        UsageError: there is no time left.
    """
    end = time.monotonic() + limit_s
    for batch in batches:
        if time.monotonic() > end:
            from mlsdk.errors import UsageError

            raise UsageError(f"not read to its end: that takes more than {limit_s:g} s")
        yield batch


def _in_memory(data: object, put_blob: PutBlob, limit_s: float) -> dict[str, object]:
    from mlsdk.data.digest import digest_table
    from mlsdk.data.fingerprint import fingerprint, table_of
    from mlsdk.errors import UsageError
    from mlsdk.log.standins import type_name
    from mlsdk.log.values import encode

    coded = encode(data)
    text = coded.get("text") if isinstance(coded, dict) else None
    described = (type_name(type(data)) + (f" {text}" if text else ""))[:1000]
    try:
        size = getattr(data, "nbytes", 0)
        if isinstance(size, int) and size > limit_s * BYTES_A_SECOND:
            return {"description": described, "note": f"not read: {size:,} bytes may take more than {limit_s:g} s"}
        if isinstance(data, (str, os.PathLike, bytes, bytearray, memoryview)):
            found = fingerprint(data)
        else:
            table = table_of(data)
            found = digest_table(table._replace(batches=in_time(table.batches, limit_s)))
    except UsageError as error:  # a kind of object that nobody can read twice, say
        return {"description": described, "note": str(error)}
    except Exception as error:  # libraries refuse in no end of ways: a sparse tensor, a query of a column that is not
        return {"description": described, "note": f"could not be read: {type(error).__name__}: {error}"}
    return {**taken(found, put_blob), "description": described}
