"""How far the content of two files is from each other: by what they say, not by how they are packed.

Equal bytes are equal. Of other bytes the content is compared where the format is known and holds nothing else: arrays,
tables, tensors, JSON, text. A format that holds more than content (when it was written, in which order memory lay) says
nothing by other bytes: it is not looked into. A pickle least of all: reading one may run anything.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import struct
import zipfile
import zlib
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

from mlsdk.reproduce.outcome.gap import Gap, exactly, gap, text_gap

LARGEST_BYTES = 256 << 20
"""Larger files are not looked into."""

_PICKLES = ("pkl", "pickle", "joblib", "cloudpickle", "dill", "pt", "pth", "ckpt")
_ARCHIVES = ("zip", "whl", "egg", "tar", "tgz", "bz2", "xz", "zst", "7z")
_MODELS = ("h5", "hdf5", "keras", "onnx", "pb", "tflite", "mlmodel", "db", "sqlite")
_PICTURES = ("png", "jpg", "jpeg", "gif", "webp", "tif", "tiff", "bmp", "svg", "mp4", "wav")
_PAGES = ("pdf", "ps", "eps", "html", "ipynb", "docx", "xlsx")
_PACKED = (*_PICKLES, *_ARCHIVES, *_MODELS, *_PICTURES, *_PAGES)
"""Endings of formats that hold more than content, or hold it in a way that is not read here."""

_SIZES = ("F2", "F4", "F8", "I1", "I2", "I4", "I8", "U1", "U2", "U4", "U8")
_TENSORS = MappingProxyType(
    {f"{code[0]}{8 * int(code[1])}": f"<{code.lower()}" for code in _SIZES} | {"BOOL": "?", "BF16": "<u2"}
)
"""Types of safetensors as numpy's. What is not here is compared byte by byte."""


class NotLookedIntoError(Exception):
    """Other bytes, of which nobody can say whether their content is another.

    Attributes:
        unknown: whether the format is not known at all: bytes that two reruns agree on are then the program's own.
    """

    def __init__(self, why: str, *, unknown: bool = False) -> None:
        self.unknown = unknown
        super().__init__(why)


def file_gap(name: str, a: bytes, b: bytes) -> Gap | None:
    r"""How the content of two files of one name differs; None where it does not.

    Raises:
        NotLookedIntoError: it cannot be told.

    >>> file_gap("loss.csv", b"step,loss\n0,0.5\n", b'"step","loss"\r\n0,0.50\r\n') is None
    True
    >>> file_gap("loss.json", b'{"loss": 0.5}', b'{"loss": 0.25}').relative
    0.5
    """
    if max(len(a), len(b)) > LARGEST_BYTES:  # what is read of such a file may not be all of it
        raise NotLookedIntoError(f"other bytes, and larger than {LARGEST_BYTES >> 20} MB")
    if a == b:
        return None
    ending = name.lower().rpartition(".")[2]
    if ending == "gz":
        return file_gap(name[:-3], _unzipped(a), _unzipped(b))
    if ending != "npz" and all(data.startswith(b"PK") and zipfile.is_zipfile(io.BytesIO(data)) for data in (a, b)):
        if _members(a) == _members(b):
            return None
        raise NotLookedIntoError("other bytes, and what lies in the archive is not looked into")
    if ending in _PACKED:
        raise NotLookedIntoError(f"other bytes, and a .{ending} file may hold more than content")
    read = _READERS.get(ending) or _by_first_bytes(a)
    if read is None:
        raise NotLookedIntoError("other bytes, in a format that is not known", unknown=True)
    try:
        one, other = read(a), read(b)
    except ImportError as error:
        raise NotLookedIntoError(f"other bytes, and {error.name} is not installed to read them") from None
    except Exception as error:  # whatever a file's end says, anything may be in it, and any reader may stumble
        raise NotLookedIntoError(f"other bytes, and not to be read as .{ending}: {error}", unknown=True) from None
    return gap(one, other, text_gap if read in (_lines, _csv, _tsv) else exactly)


def _unzipped(data: bytes) -> bytes:
    try:
        with gzip.open(io.BytesIO(data)) as file:
            found = file.read(LARGEST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise NotLookedIntoError(f"other bytes, and not to be unpacked: {error}", unknown=True) from None
    return found


def _members(data: bytes) -> dict[str, tuple[int, int]]:
    """What lies in an archive. When it was packed does not count, nor the folder at its top.

    PyTorch's files are such archives: the tensors lie in them as they are, beside a pickle that names them.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        found = {info.filename: (info.CRC, info.file_size) for info in archive.infolist()}
    tops = {name.partition("/")[0] for name in found}
    if len(tops) == 1 and all("/" in name for name in found):
        return {name.partition("/")[2]: known for name, known in found.items()}
    return found


def _by_first_bytes(data: bytes) -> Callable[[bytes], object] | None:
    """A reader for a file whose name does not tell."""
    if data.startswith(b"\x93NUMPY"):
        return _npy
    if data.startswith(b"PAR1"):
        return _parquet
    try:
        return None if "\0" in data.decode() else _lines
    except UnicodeDecodeError:
        return None


# readers: what they give is compared by `gap.gap`


def _npy(data: bytes) -> Any:
    """The array of a file; a list where several were saved one after the other."""
    import numpy as np

    file = io.BytesIO(data)
    found: list[Any] = []
    while not found or file.tell() < len(data):
        found.append(np.lib.format.read_array(file, allow_pickle=False))
    return found[0] if len(found) == 1 else found


def _npz(data: bytes) -> dict[str, Any]:
    import numpy as np

    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays}


def _safetensors(data: bytes) -> dict[str, Any]:
    import numpy as np

    (size,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + size])
    header.pop("__metadata__", None)
    found: dict[str, Any] = {}
    for name, tensor in header.items():
        start, end = tensor["data_offsets"]
        raw = data[8 + size + start : 8 + size + end]
        kind = tensor["dtype"]
        if kind not in _TENSORS:
            found[name] = {"type": kind, "shape": tensor["shape"], "bytes": np.frombuffer(raw, np.uint8)}
            continue
        values = np.frombuffer(raw, _TENSORS[kind]).reshape(tensor["shape"])
        # bfloat16 is the upper half of a float32
        found[name] = (values.astype("<u4") << 16).view("<f4") if kind == "BF16" else values
    return found


def _delimited(data: bytes, delimiter: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), delimiter=delimiter))


def _csv(data: bytes) -> list[list[str]]:
    return _delimited(data, ",")


def _tsv(data: bytes) -> list[list[str]]:
    return _delimited(data, "\t")


def _json(data: bytes) -> object:
    return json.loads(data, object_pairs_hook=_once, parse_float=_finite)


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice in it")
    return found


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"no float holds {text[:20]}")
    return number


def _json_lines(data: bytes) -> list[object]:
    return [_json(line) for line in data.splitlines() if line.strip()]


def _lines(data: bytes) -> list[str]:
    return data.decode().splitlines()


def _parquet(data: bytes) -> dict[str, Any]:
    import pyarrow as pa
    from pyarrow import parquet

    return _columns(parquet.ParquetFile(pa.BufferReader(data)).read())


def _arrow(data: bytes) -> dict[str, Any]:
    import pyarrow as pa
    from pyarrow import feather

    return _columns(feather.read_table(pa.BufferReader(data)))


def _columns(table: Any) -> dict[str, Any]:
    import pyarrow as pa

    found: dict[str, Any] = {"": [f"{field.name}: {field.type}" for field in table.schema]}
    for place, (name, column) in enumerate(zip(table.schema.names, table.columns, strict=True)):
        plain = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
        values = column.to_numpy() if plain and not column.null_count else column.to_pylist()
        found[f"{name} ({place})" if table.schema.names.count(name) > 1 or not name else name] = values
    return found


_READERS: MappingProxyType[str, Callable[[bytes], object]] = MappingProxyType(
    {
        "npy": _npy,
        "npz": _npz,
        "safetensors": _safetensors,
        "csv": _csv,
        "tsv": _tsv,
        "json": _json,
        "jsonl": _json_lines,
        "ndjson": _json_lines,
        "parquet": _parquet,
        "arrow": _arrow,
        "feather": _arrow,
        **dict.fromkeys(("txt", "md", "log", "yaml", "yml", "toml", "ini", "cfg", "py", "rst"), _lines),
    }
)
