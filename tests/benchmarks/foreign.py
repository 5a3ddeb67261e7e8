"""Twelve programs that nobody here wrote, made again in fresh environments: the level reached, the time taken, and why.

Needs `uv` and an index that it is configured for.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.benchmarks.measure import ROOT, Row, environment, folder
from tests.reproduce import foreign

_LIBRARIES = {"sklearn": "scikit-learn", "torch": "torch"}


def foreign_programs() -> list[Row]:
    """Each example as a run in an environment of its library alone, verified in two and more that are built anew."""
    rows = []
    with folder() as where:
        pythons = {module: _environment(where / f"venv-{module}", wanted) for module, wanted in _LIBRARIES.items()}
        for example in foreign.EXAMPLES:
            rows.append(
                _verified(example, where / example.replace(":", "."), pythons[example.split(":")[0].split(".")[0]])
            )
            print(rows[-1], file=sys.stderr, flush=True)
    return rows


def _environment(place: Path, wanted: str) -> str:
    uv = shutil.which("uv") or "uv"
    python = str(place / "bin" / "python")
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(place)], check=True)
    subprocess.run([uv, "pip", "install", "--quiet", "--python", python, "--editable", str(ROOT), wanted], check=True)
    return python


def _verified(example: str, where: Path, python: str) -> Row:
    path = foreign.write(example, where)
    variables = environment(MLSDK_COMPANION="0")
    subprocess.run([python, path.name], cwd=where, env=variables, check=True, capture_output=True)
    (run,) = (where / ".mlsdk" / "runs").iterdir()
    begun = time.perf_counter()
    done = subprocess.run(
        [python, "-m", "mlsdk", "verify", run.name, "--env", "fresh", "--reruns", "3", "--json"],
        cwd=where,
        env=variables,
        check=False,
        capture_output=True,
        text=True,
    )
    took = time.perf_counter() - begun
    if not done.stdout:
        return Row(f"`{example}`", "failed", "B", done.stderr[-300:].replace("\n", " "), False)
    found = json.loads(done.stdout)
    causes = ", ".join(f"{cause['kind']} {cause['what']}" for cause in found["causes"] if cause["confirmed"])
    why = f"because of {causes}" if causes else "" if found["level"] == "B" else found["reason"]
    is_known = found["level"] == "B" or (example in foreign.UNSEEDED and "seed" in causes)
    return Row(
        f"`{example}`",
        f"{found['level']}, {took:.0f} s",
        "B, or an unset seed named",
        f"{len(found['reruns'])} reruns{'; ' if why else ''}{why}",
        is_known,
    )
