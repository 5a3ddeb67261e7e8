"""The published test vectors of `mlfp1`: read, checked, and written anew when the format gets a new version.

As a program it checks them with whatever interpreter runs it, numpy or not, and prints what does not fit:

    python tests/data/vectors.py
"""

from __future__ import annotations

import json
import os
import sys
from datetime import date, datetime, time, timedelta
from decimal import Decimal

PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "vectors.json")

DECODERS = {
    "float": float,
    "hexfloat": float.fromhex,
    "int": int,
    "bytes": bytes.fromhex,
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "seconds": lambda seconds: timedelta(seconds=seconds),
    "decimal": Decimal,
    "complex": complex,
    "list": lambda items: [value(item) for item in items],
    "struct": lambda items: {name: value(item) for name, item in items.items()},
    "repeat": lambda pair: pair[0] * pair[1],
}


def value(written: object) -> object:
    """A value as it is, or `{"decoder": text}`."""
    if isinstance(written, dict):
        ((how, what),) = written.items()
        return DECODERS[how](what)
    return written


def read() -> dict:
    with open(PATH, encoding="utf-8") as file:
        return json.load(file)


def cell_of(written: object) -> dict:
    from mlsdk.data.values import cell

    tag, word, data = cell(value(written))
    return {"tag": tag, "word": f"{word:016x}", "bytes": data.hex()}


def table_of(case: dict) -> dict:
    from mlsdk.data.fingerprint import fingerprint

    columns = {name: [value(one) for one in cells] * case.get("times", 1) for name, cells in case["columns"].items()}
    found = fingerprint(columns, **case.get("with", {}))
    shown = {name: getattr(found, name) for name in ("id", "rows", "rows_id", "schema_id")}
    shown["columns"] = [
        {name: getattr(column, name) for name in ("name", "kind", "missing", "ordered", "unordered")}
        for column in found.columns
    ]
    return shown


def computed() -> dict:
    """The same document, with all that is computed made anew."""
    from mlsdk.data.mixing import hash_bytes, mix, seed

    known = read()
    return {
        "version": known["version"],
        "mix": [[word, f"{mix(int(word, 16)):016x}"] for word, _ in known["mix"]],
        "seed": [[name, tag, f"{seed(name, tag):016x}"] for name, tag, _ in known["seed"]],
        "bytes": [[data, f"{hash_bytes(bytes.fromhex(data)):016x}"] for data, _ in known["bytes"]],
        "cells": [{"value": case["value"], **cell_of(case["value"])} for case in known["cells"]],
        "tables": [{**case, "is": table_of(case)} for case in known["tables"]],
    }


if __name__ == "__main__":
    found = computed()
    if sys.argv[1:] == ["write"]:
        with open(PATH, "w", encoding="utf-8") as file:
            file.write(json.dumps(found, indent=1, ensure_ascii=True) + "\n")
    print(json.dumps({"same": found == read(), "numpy": "numpy" in sys.modules, "python": sys.version_info[:2]}))
