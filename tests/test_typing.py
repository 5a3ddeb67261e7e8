"""What a user's type checker sees: `tests/typing/user_code.py`, read by mypy and by pyright in their strict modes.

A line that must be an error ends in `# expect-error`; every other line must be clean.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import attr
import attrs
import pytest

from tests.conftest import ROOT

USER_CODE = ROOT / "tests" / "typing" / "user_code.py"
EXPECTED = {
    number
    for number, line in enumerate(USER_CODE.read_text("utf-8").splitlines(), 1)
    if line.endswith("# expect-error")
}


def _run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=cwd, capture_output=True, text=True, timeout=110, check=False
    )


def _shown(errors: dict[int, str]) -> str:
    return "\n".join(f"{USER_CODE.name}:{line}: {message}" for line, message in sorted(errors.items()))


@pytest.mark.slow
def test_mypy_strict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --strict, mypy sees the decorated functions' own parameters and results, and each marked mistake."""
    # Of other packages it reads attrs alone, which makes the records: numpy, pandas, polars take five times as long.
    beside = tmp_path / "attrs alone"
    beside.mkdir()
    for package in (attr, attrs):
        (beside / package.__name__).symlink_to(Path(str(package.__file__)).parent)
    monkeypatch.setenv("MYPYPATH", f"{ROOT}{os.pathsep}{beside}")
    done = _run(
        "mypy",
        "--strict",
        "--config-file=",
        "--no-site-packages",
        "--output=json",
        "--cache-dir",
        str(tmp_path),
        str(USER_CODE),
        cwd=tmp_path,
    )
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    errors = {
        item["line"]: item["message"]
        for item in found
        if item["severity"] == "error" and Path(item["file"]).name == USER_CODE.name
    }

    assert set(errors) == EXPECTED, _shown(errors)


@pytest.mark.slow
def test_pyright_strict(tmp_path: Path) -> None:
    """In its strict mode, pyright sees the same."""
    # Pyright reads what lies below its project; the user's file goes there, as it would at the user's.
    (tmp_path / USER_CODE.name).write_text(USER_CODE.read_text("utf-8"), "utf-8")
    project = {"include": [USER_CODE.name], "extraPaths": [str(ROOT)], "typeCheckingMode": "strict"}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(project), "utf-8")
    done = _run("pyright", "--outputjson", "--pythonpath", sys.executable, "--project", str(tmp_path), cwd=tmp_path)
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["summary"]["filesAnalyzed"] == 1
    found = report["generalDiagnostics"]
    errors = {item["range"]["start"]["line"] + 1: item["message"] for item in found if item["severity"] == "error"}

    assert set(errors) == EXPECTED, _shown(errors)
