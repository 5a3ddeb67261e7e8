"""What the children of the rows about captures and fingerprints do. Each function returns what JSON can hold."""

from __future__ import annotations

import hashlib
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def _least(call: Callable[[], object], times: int = 5) -> float:
    """Seconds of the fastest of some calls."""
    found = []
    for _ in range(times):
        begun = time.perf_counter()
        call()
        found.append(time.perf_counter() - begun)
    return min(found)


def audit_event(times: int = 200_000) -> dict[str, float]:
    """Nanoseconds that an event of Python's costs: before the first run, and while one is live."""
    import mlsdk

    def event() -> float:
        return _least(lambda: [id(None) for _ in range(times)]) / times * 1e9

    before = event()
    with mlsdk.run("events"):
        return {"before": before, "live": event()}


def code_tree(files: int) -> dict[str, float]:
    """Seconds of the code tree's capture: cold, unchanged, with one file changed."""
    import git  # noqa: F401 - loaded once by a companion

    from tests.trees import make_tree, measure

    return measure(make_tree(Path("tree").absolute(), files), Path("store").absolute())


def reachable(modules: int) -> dict[str, float]:
    """Seconds of the functions that a generated project's `train` can reach: in the caller, and beside."""
    from mlsdk.capture import Context
    from mlsdk.capture.code import source as before
    from mlsdk.capture.functions import reachable as beside
    from mlsdk.store.target import FileTarget
    from tests.projects import make_project

    main = make_project(Path.cwd() / "made", modules)
    sys.path.insert(0, str(main.parent))
    import main as program  # type: ignore[import-not-found]

    root = str(Path("store").absolute())
    target = FileTarget(f"file:{root}", root)
    where = Context(str(main.parent), function=program.train, root=root, put_blob=target.put_blob)
    begun = time.perf_counter()
    taken = before.capture(where)
    first = time.perf_counter() - begun
    again = _least(lambda: before.capture(where))
    from mlsdk.capture.facts import encode_facts
    from mlsdk.companion.header import Decoded
    from mlsdk.store.blobs import FileBlobs

    facts, _ = encode_facts("code", dict(taken), target.put_blob)
    read: Callable[[str], bytes] = lambda digest: FileBlobs(target.layout.blobs).open(digest).read()  # noqa: E731
    there = where._replace(facts={"code": Decoded(facts, read)}, read_blob=read, pid=os.getpid())
    begun = time.perf_counter()
    found: Any = beside.capture(there)
    cold = time.perf_counter() - begun
    count = len(found["functions"])
    return {"first": first, "again": again, "cold": cold, "warm": _least(lambda: beside.capture(there)), "count": count}


def file_speed(size_bytes: int = 1_000_000_000) -> dict[str, float]:
    """GB/s of a file's fingerprint, and of SHA-256 over the same bytes in memory; ms of the file unchanged."""
    import mlsdk

    piece = random.Random(1).randbytes(10_000_000)
    with open("data.bin", "wb") as file:
        file.writelines(piece for _ in range(size_bytes // len(piece)))
    os.utime("data.bin", (time.time() - 100, time.time() - 100))

    def bare() -> None:
        hasher = hashlib.sha256()
        for _ in range(size_bytes // len(piece)):
            hasher.update(piece)

    from mlsdk.data.files import fingerprint_path

    limit = _least(bare, 3)
    read = _least(lambda: fingerprint_path("data.bin", cache=False), 3)
    mlsdk.fingerprint("data.bin")
    time.sleep(3)  # an entry made within two seconds of a change is not trusted
    mlsdk.fingerprint("data.bin")
    unchanged = _least(lambda: mlsdk.fingerprint("data.bin"), 20)
    return {"limit": size_bytes / limit / 1e9, "read": size_bytes / read / 1e9, "unchanged_ms": unchanged * 1e3}


def frame_speed(rows: int = 1_000_000, columns: int = 10) -> dict[str, float]:
    """Seconds of a frame's fingerprint and of a bare pass of the row hash; of comparing it with changed ones."""
    import numpy as np
    import pandas as pd

    import mlsdk
    from mlsdk.data.mixing import row_pass

    chance = np.random.default_rng(1)
    frame = pd.DataFrame({f"c{number}": chance.standard_normal(rows) for number in range(columns)})
    arrays = [frame[name].to_numpy() for name in frame]
    limit = _least(lambda: row_pass(arrays))
    taken = _least(lambda: mlsdk.fingerprint(frame))
    before, right, slowest = mlsdk.fingerprint(frame), True, 0.0
    for count in (1, 3, 1000):
        other = frame.copy()
        other.iloc[chance.choice(rows, count, replace=False), 3] += 1e-9
        after = mlsdk.fingerprint(other)
        begun = time.perf_counter()
        found = before.compare(after)
        slowest = max(slowest, time.perf_counter() - begun)
        right = right and (found.changed_rows, tuple(found.changed_columns)) == (count, ("c3",))
    return {"limit": limit, "taken": taken, "compared": slowest, "right": right}
