"""What holds for every test: its own empty folder, its own store, no setting from outside, nothing left behind."""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent

# A shared machine may stop for a second in the middle of an example: that is no failure.
settings.register_profile("mlsdk", deadline=None, print_blob=True)
settings.register_profile("thorough", parent=settings.get_profile("mlsdk"), max_examples=2000)
settings.register_profile("ci", parent=settings.get_profile("mlsdk"), max_examples=50)
settings.register_profile("quick", parent=settings.get_profile("mlsdk"), max_examples=20)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "mlsdk"))


def pytest_configure() -> None:
    """Refuse to run below a store that is already there, which would be found by walking up; hear Ctrl-C."""
    for folder in (Path(tempfile.gettempdir()).resolve() / "x").parents:
        if (folder / ".mlsdk").exists():
            pytest.exit(f"{folder / '.mlsdk'} lies above the tests' temporary folders; remove it, or set TMPDIR", 2)
    # What a shell starts in the background ignores Ctrl-C, and so would the programs that the tests interrupt.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test in its own empty folder, hence with its own store and caches, and with no setting from outside.

    What it takes to install the tests' own environment again is found out once for all of them.
    """
    from mlsdk import config

    for name in os.environ:
        if name.startswith("MLSDK_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", f"{tmp_path}-cache")
    locks = tmp_path_factory.getbasetemp() / "locks"
    locks.mkdir(exist_ok=True)
    caches = Path(f"{tmp_path}-cache", "mlsdk")
    caches.mkdir(parents=True, mode=0o700)
    (caches / "locks").symlink_to(locks)
    monkeypatch.setattr(config, "_configured", {})
    monkeypatch.setattr(config, "_files", {})


@pytest.fixture
def root() -> Path:
    """The root of the repository."""
    return ROOT


def require(found: object, what: str) -> None:
    """Go on only if something from outside Python is there; with `CI=true` its absence fails instead of skipping.

    >>> require(shutil.which("git"), "git")
    """
    if not found and os.environ.get("CI") == "true":
        pytest.fail(f"{what} is missing, and CI=true says that everything must run")
    if not found:
        pytest.skip(f"{what} is missing")
