"""Writes sample logs of the present format, raw and sealed, and what is in them.

`python -m tests.compat.make_logs FOLDER` is run once for each version of the format, into a folder of its own
(`tests/compat/v1`), whose files then never change: `test_compat.py` reads them for ever. Ids and clock are fixed, so
that the raw logs are always the same.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import struct
import sys
from pathlib import Path

from mlsdk.log import frames
from mlsdk.log.seal import seal
from mlsdk.log.values import dumps
from tests.log.made import Maker, end_of, parts_of, read

RUN = "0190c1f0a0007abc8123456789abcdef"
WRITER = "0190c1f0a0017def8fedcba987654321"
LOG = f"runs/{RUN}/{WRITER}"
T = 1_720_000_000_000_000_000


def _begun() -> Maker:
    made = Maker()
    writer = {"host": "box", "boot": "b00t", "pidns": "pid:[1]", "place": "0-12345678", "pid": 42, "start": 4711}
    head = {"format": 1, "log": LOG, "role": "main", "source": "mlsdk 0.1.0", "order": T, "t": T}
    made.add(frames.OPEN, dumps({**head, "writer": writer, "owed": "0" * 32}))
    run = {"experiment": "compat", "name": "compat-cdef", "status": "running", "user": "me", "started_ns": T}
    made.add(frames.FACTS, dumps({"t": T, "o": T + 1, "set": {"run": run}}))
    return made


def _ended(made: Maker) -> bytes:
    end = {"status": "finished", "ended_ns": T + 9}
    made.add(frames.FACTS, dumps({"t": T + 9, "set": {"run": end}}))
    made.add(frames.CLOSE, dumps({"t": T + 10}))
    return bytes(made.data)


def whole() -> bytes:
    """Every type of frame, every kind of metric, odd values and names, schemas that alternate."""
    made = _begun()
    params = {"lr": 0.1, "shape": {"$": "tuple", "v": [3, 4]}, "big": {"$": "int", "v": str(2**70)}, "none": None}
    made.add(frames.FACTS, dumps({"t": T + 1, "set": {"params": params, "tags": {"größe": True}}}))
    made.add(frames.SCHEMA, frames.schema_payload(0, ("loss", "größe", "n"), "fui"))
    made.add(frames.SCHEMA, frames.schema_payload(1, ("loss",), "f"))
    made.add(frames.SCHEMA, frames.schema_payload(2, ("loss", "\udc80"), "if"))
    odd = [0.5, math.nan, math.inf, -math.inf, -0.0, 5e-324, 1e308]
    for step, value in enumerate(odd):
        made.points(0, "fui", [(step, T + step, value, 2**64 - 1 - step, -(2**63) + step)])
        made.points(1, "f", [(-step, T - step, struct.unpack("<f", struct.pack("<f", step / 3))[0])] * (step % 3))
    made.points(2, "if", [(100, T, 2**63 - 1, 0.25)])
    made.add(frames.OUTPUT, frames.OUTPUT_HEAD.pack(1, T + 5) + "fertig ✓\n".encode())
    return _ended(made)


def damaged() -> bytes:
    """A log with gaps in its numbers, damage in the middle, a leftover of an older frame, and no proper end."""
    made = _begun()
    made.add(frames.SCHEMA, frames.schema_payload(0, ("loss",), "f"))
    made.points(0, "f", [(step, T + step, step / 3) for step in range(5)])
    made.data[-10] ^= 255
    made.number += 7
    made.points(0, "f", [(step, T + step, step / 3) for step in range(5, 10)])
    made.data += frames.encode(frames.POINTS, 3, struct.pack("<Iqqd", 0, 99, T, 99.0))
    made.points(0, "f", [(10, T, 10.0)])
    made.add(frames.POINTS, struct.pack("<Iqqd", 7, 1, T, 1.0))
    made.add(frames.FACTS, b'{"t":1}')
    made.points(0, "f", [(11, T, 11.0)])
    return bytes(made.data) + frames.encode(frames.FACTS, made.number, b'{"t":1,"set":{}}')[:-2] + bytes(100)


def many() -> bytes:
    """Enough points for a pyramid, of a kind for each way in which columns are packed."""
    made, noise = _begun(), random.Random(1)
    made.add(frames.SCHEMA, frames.schema_payload(0, ("single", "double", "count", "id", "flat"), "ffiui"))
    for step in range(4500):
        single = struct.unpack("<f", struct.pack("<f", noise.random()))[0]
        row = (
            single,
            noise.random() if step < 50 else step / 3,
            3 * step,
            noise.getrandbits(64) if step < 50 else 7,
            1,
        )
        made.points(0, "ffiui", [(step, T + 1000 * step + noise.randrange(300), *row)])
    return _ended(made)


def described(raw: bytes) -> dict[str, object]:
    """What a log holds, as JSON: points as hexadecimal bytes, long lists by their digest."""
    entries = [[part.hex() if isinstance(part, bytes) else part for part in entry] for entry in read(raw)]
    names = dict.fromkeys(name for entry in entries if entry[0] == "point" for name in entry[1])
    sealed = seal(raw, LOG)
    series = {name: [[*row[:3], row[3].hex()] for row in parts_of(sealed, name)] for name in names}
    end = end_of(raw)
    digest = hashlib.sha256(raw[:end]).hexdigest()
    found = {"log": LOG, "end": end, "sha256": digest, "entries": entries, "series": series}
    return found if len(entries) < 100 else {**found, "entries": _digest(entries), "series": _digest(series)}


def _digest(thing: object) -> str:
    return hashlib.sha256(json.dumps(thing, sort_keys=True).encode()).hexdigest()


SAMPLES = {"whole": whole, "damaged": damaged, "many": many}


def write(folder: Path) -> None:
    """Write all samples. Of a large one only the sealed log is kept: it gives the raw one back."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in SAMPLES.items():
        raw = make()
        if len(raw) < 10_000:
            (folder / f"{name}.log").write_bytes(raw)
        (folder / f"{name}.seal").write_bytes(seal(raw, LOG))
        text = json.dumps(described(raw), indent=1, ensure_ascii=True)
        (folder / f"{name}.json").write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
