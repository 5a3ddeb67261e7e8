"""What RECORD says of a distribution's files."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from mlsdk.capture.environment.recorded import content_digest, entries, holds, modified, tops
from tests.capture.environment.distributions import install

FILES = {"thing/__init__.py": "x = 1\n", "thing/data.bin": "abc", "thing_extra.py": "y = 2\n"}
INSTALLERS = (
    "thing-1.0.dist-info/INSTALLER,sha256=zuuue4knoyJ-UwPPXg8fezS7VCrXJQrAP7zeNuwvFQg,4",
    "../../../bin/thing,sha256=6XXIS1KFUoShFUHJQ1TOFvnaouUErpcvfcVG2UbvsxE,164",
    "thing/__pycache__/__init__.cpython-311.pyc,,",
)


def test_modules(tmp_path: Path) -> None:
    """The modules at the top are those of the files, packages within namespaces can be asked for."""
    info = install(tmp_path, "thing", files={**FILES, "ns/part/leaf.py": ""}, extra=INSTALLERS)

    assert {"thing", "thing_extra", "ns"} <= tops(str(info))
    assert [holds(str(info), name) for name in ("ns.part", "ns.part.leaf", "ns.other", "ns.par")] == [
        True,
        True,
        False,
        False,
    ]
    assert tops(str(tmp_path / "none.dist-info")) == frozenset()
    assert not holds(str(tmp_path / "none.dist-info"), "a.b")


def test_modules_of_an_egg(tmp_path: Path) -> None:
    """An older distribution lists its modules itself."""
    (tmp_path / "old.egg-info").mkdir()
    (tmp_path / "old.egg-info" / "top_level.txt").write_text("old\n_old\n")

    assert tops(str(tmp_path / "old.egg-info")) == {"old", "_old"}


def test_modified(tmp_path: Path) -> None:
    """A changed file is named, of the same size too, and one that is gone; what has no digest is not looked at."""
    info = install(tmp_path, "thing", files=FILES, extra=INSTALLERS[2:])
    untouched = modified(str(info))
    (tmp_path / "thing" / "data.bin").write_text("abd")
    (tmp_path / "thing_extra.py").unlink()
    changed = modified(str(info))

    assert untouched == ([], [])
    assert changed == (["thing/data.bin"], ["thing_extra.py"])
    with pytest.raises(OSError, match="RECORD"):
        modified(str(tmp_path / "none.dist-info"))


def test_odd_records(tmp_path: Path) -> None:
    """Quoted paths are read as paths; of a digest that this Python does not know nothing is claimed."""
    info = install(tmp_path, "odd", files={}, extra=('"a,b.py",sha256=x,1', "c.py,md17=abc,3", "d.py"))
    (tmp_path / "c.py").write_text("abc")

    assert [path for path, _, _ in entries(str(info))][1:4] == ["a,b.py", "c.py", "d.py"]
    assert modified(str(info)) == ([], ["a,b.py"])


def test_content(tmp_path: Path) -> None:
    """One wheel has one digest, whoever installed it and whatever they added; one other byte makes another."""
    plain = install(tmp_path / "a", "thing", files=FILES)
    added = install(tmp_path / "b", "thing", files=dict(reversed(FILES.items())), extra=INSTALLERS)
    other = install(tmp_path / "c", "thing", files={**FILES, "thing_extra.py": "y = 3\n"})

    assert content_digest(str(plain)) == content_digest(str(added)) != content_digest(str(other))
    assert content_digest(str(tmp_path / "none.dist-info")) is None


def test_content_as_pip_installs_it(tmp_path: Path) -> None:
    """The digest of what pip has installed is that of the wheel itself."""
    about = "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    info = install(tmp_path / "wheel", "thing", files={**FILES, "thing-1.0.dist-info/WHEEL": about})
    wheel = tmp_path / "thing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path in sorted((tmp_path / "wheel").rglob("*")):
            archive.write(path, path.relative_to(tmp_path / "wheel"))
    pip = [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "install", "--quiet", "--no-index"]
    subprocess.run([*pip, "--target", str(tmp_path / "site"), str(wheel)], check=True, timeout=60)
    found = str(tmp_path / "site" / "thing-1.0.dist-info")

    assert (Path(found) / "INSTALLER").exists()
    assert content_digest(found) == content_digest(str(info)) is not None
    assert modified(found) == ([], [])
