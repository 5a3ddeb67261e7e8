"""What a tracked function returned, so that two runs can be compared by it: exactly, and in little space.

Small values are kept as they are, arrays and tables by a digest of their content, whatever they are nested in: tuples,
lists, mappings, bundles of fields, and what was fitted in an estimator or a module of torch. Never the content of what
is large, and never a pickle: equal models have unequal ones.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from mlsdk import config
from mlsdk.capture import Context
from mlsdk.capture.facts import ByName
from mlsdk.capture.secrets.forms import LONG_WORD
from mlsdk.capture.secrets.redaction import REDACTED, redact_text, redact_value
from mlsdk.log.standins import fields_of, in_use, is_instance, type_name
from mlsdk.log.values import encode

MOST_PARTS = 1000
"""Values that are told apart."""

MOST_NUMBERS = 1000
"""Numbers of an array, or of a list, that are kept as they are; of more there is a digest."""

MOST_CHARACTERS = 1000
"""Of a text; of a longer one there is a digest."""

ALONE = "value"
"""The path of what has no parts."""

_DEEPEST = 20
_LONG_LIST = 100
_BYTES_A_SECOND = 300_000_000
_FRAMES = {"pandas": ("DataFrame", "Series", "Index"), "polars": ("DataFrame", "Series"), "pyarrow": ("Table",)}
_NUMBERS = (bool, int, float)


def later(where: Context, already: Mapping[str, object]) -> Mapping[str, object]:
    """Fact `returned`: by path within what was returned (`1/coef_`), a small value as it is, or what is known of it.

    `{"type": …, "values": […]}` of few numbers, `{"type": …, "digest": …}` of many, `{"type": …, "note": …}` of what
    cannot be compared. Nothing of None.
    """
    if where.returned is None or already:
        return {}
    return {"returned": ByName(content(where.returned))}


def content(returned: object, limit_s: float | None = None) -> dict[str, object]:
    """What something holds, by path.

    Args:
        returned: anything.
        limit_s: what takes longer than so many seconds in all is noted as not read; by default the setting.

    Example:
        >>> content({"acc": 0.75, "labels": ("cat", "dog")})
        {'acc': 0.75, 'labels/0': 'cat', 'labels/1': 'dog'}
    """
    look = _Look(limit_s)
    look.add("", returned, 0)
    return look.found


class _Look:
    """A walk through what was returned."""

    def __init__(self, limit_s: float | None) -> None:
        self.found: dict[str, object] = {}
        self._limit_s, self._began = limit_s, time.monotonic()
        self._is_full = False

    def _left_s(self) -> float:
        """Seconds that are left; asked only where something large is to be read."""
        if self._limit_s is None:
            self._limit_s = config.number("capture_limit_s")
        return max(0.0, self._began + self._limit_s - time.monotonic())

    def add(self, path: str, value: Any, depth: int) -> None:
        """Take a value with all that is in it."""
        if len(self.found) >= MOST_PARTS:
            self._keep("…", {"note": f"there are more than {MOST_PARTS:,} parts"})
            self._is_full = True
            return
        try:
            inner = _parts(value) if depth < _DEEPEST else None
            if inner is None:
                self._keep(path, self._leaf(path, value))
                return
        except Exception as error:  # it may be an odd object, which raises at any question
            self._keep(path, {"type": type_name(type(value)), "note": f"not read: {type(error).__name__}"})
            return
        if not inner:
            self._keep(path, {"type": type_name(type(value)), "values": []})
        for name, part in inner:
            self.add(f"{path}/{name}" if path else name, part, depth + 1)
            if self._is_full:
                return

    def _keep(self, path: str, found: object) -> None:
        """Note what lies at a path; two may read alike: of the keys 1 and "1", of `a/b` and `b` within `a`."""
        path = path or ALONE
        while path in self.found:
            path += "'"
        self.found[path] = found

    def _leaf(self, path: str, value: Any) -> object:
        kind = type(value)
        if value is None or kind in _NUMBERS:
            return value
        if kind is str and len(value) <= MOST_CHARACTERS:
            return redact_value(path.rpartition("/")[2], value)
        if isinstance(value, (str, bytes, bytearray)):
            data = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
            return {"type": f"{type_name(kind)} of {len(value):,}", "digest": _sha256(data)}
        if is_instance(value, "numpy", "generic") and value.dtype.kind in "biufcMm":
            return value.item() if value.dtype.kind in "biuf" else {"type": str(value.dtype), "values": [str(value)]}
        if hasattr(kind, "dtype") and hasattr(kind, "shape") and not _is_frame(value):
            return self._array(value)
        if isinstance(value, (list, tuple)) and all(type(one) in _NUMBERS for one in value[:MOST_NUMBERS]):
            if len(value) <= MOST_NUMBERS:
                return {"type": type_name(kind), "values": list(value)}
            return self._table(value)
        if isinstance(value, (list, tuple)) or _is_frame(value):
            return self._table(value)
        coded = encode(value)
        if isinstance(coded, dict) and coded.get("$") in ("described", "object"):
            return {"type": type_name(kind), "note": "not compared: it is no data"}
        shown = redact_value(path.rpartition("/")[2], coded)
        return value if shown is coded else REDACTED

    def _array(self, array: Any) -> dict[str, object]:
        """An array of numpy, or of what gives one; a tensor."""
        kind = f"{type_name(type(array))} {str(array.dtype).removeprefix('torch.')} {tuple(array.shape)}"
        if array.nbytes > self._left_s() * _BYTES_A_SECOND:
            return {"type": kind, "note": "not read: it may take too long"}
        if type(array).__module__.partition(".")[0] == "torch":
            return {"type": kind, **_tensor(array)}
        np = in_use("numpy")
        values = np.asarray(array)
        if is_instance(array, "numpy.ma", "MaskedArray") or values.dtype.kind not in "biufcMmSU":
            return {**self._table(array), "type": kind}
        if values.dtype.kind in "biuf" and values.size <= MOST_NUMBERS:
            return {"type": kind, "values": values.ravel().tolist()}
        little = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<"), copy=False))
        return {"type": kind, "digest": _sha256(little.reshape(-1).view("u1").data)}

    def _table(self, data: Any) -> dict[str, object]:
        """A frame, or rows: by their fingerprint."""
        from mlsdk.capture.datasets import in_time
        from mlsdk.data.digest import digest_table
        from mlsdk.data.fingerprint import table_of

        kind = type_name(type(data))
        table = table_of(data)
        try:
            found = digest_table(table._replace(batches=in_time(table.batches, self._left_s())))
        except Exception as error:  # libraries refuse in no end of ways
            return {"type": kind, "note": f"not read: {error}"[:200]}
        return {"type": f"{kind} {found.rows:,} x {len(found.columns):,}", "digest": f"{found.id} {found.schema_id}"}


def _parts(value: Any) -> list[tuple[str, Any]] | None:
    """Names and values of what something is made of; None of what is looked at as one."""
    if isinstance(value, (str, bytes, *_NUMBERS)) or value is None or _is_frame(value):
        return None
    if isinstance(value, Mapping):
        return [(_safe(str(key)), part) for key, part in value.items()]
    if isinstance(value, (set, frozenset)):  # whose order is chance
        return [(str(place), part) for place, part in enumerate(sorted(value, key=repr))]
    if is_instance(value, "torch.nn", "Module"):
        return list(value.state_dict().items())
    if is_instance(value, "scipy.sparse", "spmatrix") or is_instance(value, "scipy.sparse", "sparray"):
        rows = value.tocsr()
        return [(name, getattr(rows, name)) for name in ("shape", "indptr", "indices", "data")]
    fields = fields_of(value)
    if fields is not None:
        return fields + _fitted(value)
    if isinstance(value, (list, tuple)):
        is_plain = len(value) > 1 and all(type(one) in _NUMBERS for one in value)
        return None if is_plain or len(value) > _LONG_LIST else [(str(n), part) for n, part in enumerate(value)]
    return None


def _fitted(estimator: Any) -> list[tuple[str, Any]]:
    """What fitting left in an estimator, without the times that it took."""
    if not hasattr(type(estimator), "get_params"):
        return []
    return [
        (name, part)
        for name, part in vars(estimator).items()
        if name.endswith("_") and not name.startswith("_") and "time" not in name
    ]


def _safe(name: str) -> str:
    return name if len(name) < LONG_WORD and "=" not in name else redact_text(name)[0]


def _is_frame(value: object) -> bool:
    kind = type(value)
    return kind.__name__ in _FRAMES.get(kind.__module__.partition(".")[0], ())


def _tensor(tensor: Any) -> dict[str, object]:
    """The numbers of a tensor, or the digest of its bytes; without numpy, which torch does not need."""
    plain = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    if plain.numel() <= MOST_NUMBERS and not plain.is_complex():
        return {"values": plain.reshape(-1).tolist()}
    import ctypes  # not needed for a few numbers

    return {"digest": _sha256((ctypes.c_char * plain.nbytes).from_address(plain.data_ptr()))}


def _sha256(data: Any) -> str:
    from hashlib import sha256  # not needed for a few numbers

    return f"sha256:{sha256(data).hexdigest()}"
