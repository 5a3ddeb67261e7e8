"""Building an environment from a list of packages: kept in a cache by what is in it, made by one process at a time.

Where an environment at hand has most of the list and nothing else, the new one leads to it, and has only the rest in
itself. What is to be installed is installed by uv, or else by pip.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from urllib.parse import urlsplit
from urllib.request import pathname2url, url2pathname

from mlsdk import config
from mlsdk.capture.environment.installed import scan
from mlsdk.capture.environment.lock import find_uv
from mlsdk.capture.secrets.redaction import redact_text
from mlsdk.errors import RerunError
from mlsdk.reproduce.environments.interpreter import Interpreter, ask, find, minor
from mlsdk.reproduce.environments.packages import OURSELVES, Wanted, differences, installed

Leave = Callable[[Wanted], bool]

_PATIENCE_S = 1800.0
_DONE = "mlsdk-complete"
_LINES = 12
_FORM = 1


def build(
    python: str,
    wanted: Mapping[str, Wanted],
    *,
    donors: Sequence[Interpreter],
    prefixes: Sequence[str],
    folder: str | None = None,
    leave: Leave = lambda _: False,
) -> Interpreter:
    """An environment with these packages and no others.

    Args:
        python: version of the interpreter.
        wanted: packages by name.
        donors: environments that the new one may lead to.
        prefixes: where an interpreter of that version may lie.
        folder: where to build it anew; None for the cache.
        leave: tells packages that are left out of account.

    Raises:
        RerunError: it cannot be built.
    """
    if folder is not None:
        return _built(os.path.join(folder, "environment"), python, wanted, donors, prefixes, leave)
    kept = os.path.join(config.cache_folder(), "environments")
    os.makedirs(kept, mode=0o700, exist_ok=True)
    place = os.path.join(kept, _key(python, wanted))
    with _alone(place):
        if os.path.exists(os.path.join(place, _DONE)):
            one = ask(os.path.join(place, "bin", "python"))
            with open(os.path.join(place, _DONE), encoding="utf-8") as file:
                if one is not None and differences(wanted, packages_of(one, leave)) == json.load(file):
                    return _with_ourselves(one)
        shutil.rmtree(place, ignore_errors=True)
        try:
            one = _built(place, python, wanted, donors, prefixes, leave)
            with open(os.path.join(place, _DONE), "w", encoding="utf-8") as file:
                json.dump(differences(wanted, packages_of(one, leave)), file)
            return one
        except BaseException:
            shutil.rmtree(place, ignore_errors=True)
            raise


def _key(python: str, wanted: Mapping[str, Wanted]) -> str:
    whole = [_FORM, python, platform.platform(), [list(wanted[name]) for name in sorted(wanted)]]
    return hashlib.sha256(json.dumps(whole).encode()).hexdigest()[:32]


@contextlib.contextmanager
def _alone(place: str) -> Iterator[None]:
    """While this holds, no other process builds the same."""
    import fcntl

    with open(f"{place}.lock", "w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _built(
    place: str,
    python: str,
    wanted: Mapping[str, Wanted],
    donors: Sequence[Interpreter],
    prefixes: Sequence[str],
    leave: Leave,
) -> Interpreter:
    uv = find_uv(sys.prefix, os.environ.get("PATH", ""))
    base = find(python, prefixes)
    if base is not None:
        _run([base.executable, "-m", "venv", "--without-pip", place], f"a virtual environment of Python {base.version}")
    elif uv is not None:
        _run([uv, "venv", "--quiet", "--python", minor(python), place], f"an interpreter of Python {minor(python)}")
    else:
        raise RerunError(
            f"there is no Python {minor(python)} here: install it (uv does so by itself), or use --env same",
            "environment",
        )
    one = _asked(place)
    below, left = _below(one, wanted, donors, leave)
    for name in [name for name in left if left[name].editable]:
        _lead_to(left.pop(name), one)
    if left:
        with tempfile.TemporaryDirectory(prefix="mlsdk-sources-") as sources:
            _install(uv, one, [_line(left[name], sources) for name in sorted(left)])
    if below:
        with open(os.path.join(_site(one), "_below.pth"), "w", encoding="utf-8") as file:
            file.write("".join(f"import site; site.addsitedir({entry!r})\n" for entry in below))
    return _with_ourselves(_asked(place))


def _asked(place: str) -> Interpreter:
    one = ask(os.path.join(place, "bin", "python"))
    if one is None:
        raise RerunError(f"the interpreter of {place} cannot be started; use --env same", "environment")
    return one


def _site(one: Interpreter) -> str:
    return os.path.join(one.prefix, "lib", f"python{one.minor}", "site-packages")


def packages_of(one: Interpreter, leave: Leave) -> dict[str, Wanted]:
    """The packages of an environment, but for those to be left out of account."""
    found = installed(scan(one.path).distributions, one.version)
    return {name: package for name, package in found.items() if not leave(package)}


def _below(
    one: Interpreter, wanted: Mapping[str, Wanted], donors: Sequence[Interpreter], leave: Leave
) -> tuple[list[str], dict[str, Wanted]]:
    """Folders of an environment that has nothing that is not wanted, and what is left to be installed."""
    for donor in donors:
        found = packages_of(donor, leave)
        left = {name: package for name, package in wanted.items() if not package.is_same(found.get(name))}
        if donor.minor == one.minor and found.keys() <= wanted.keys() and len(left) < len(wanted):
            return [entry for entry in donor.path if os.path.basename(entry).endswith("-packages")], left
    return [], dict(wanted)


def _lead_to(wanted: Wanted, one: Interpreter) -> None:
    """Let the modules of something that was installed in place be found: an installer would write into its folder."""
    folder = url2pathname(urlsplit(wanted.url or "").path)
    inside = [os.path.join(folder, "src"), folder]
    with open(os.path.join(_site(one), f"{wanted.name}.pth"), "w", encoding="utf-8") as file:
        file.write("".join(f"{place}\n" for place in inside if os.path.isdir(place)))


def _line(wanted: Wanted, sources: str) -> str:
    """What to install; of a folder a copy, as building leaves files in it."""
    folder = url2pathname(urlsplit(wanted.url or "").path) if (wanted.url or "").startswith("file:") else ""
    if not os.path.isdir(folder):
        return wanted.line
    copy = os.path.join(sources, wanted.name)
    ignored = shutil.ignore_patterns(".git", ".venv", "venv", "node_modules", "__pycache__", ".mlsdk")
    shutil.copytree(folder, copy, symlinks=True, ignore=ignored)
    return f"{wanted.name} @ file://{pathname2url(copy)}"


def _install(uv: str | None, one: Interpreter, lines: Sequence[str]) -> None:
    """Install a list, and nothing that it does not name."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
        file.write("".join(f"{line}\n" for line in lines))
        file.flush()
        if uv is not None:
            command = [uv, "pip", "install", "--quiet", "--no-deps", "--python", one.executable, "-r", file.name]
        else:
            command = [*_pip(one), "install", "--quiet", "--no-deps", "--ignore-installed"]
            command += ["--disable-pip-version-check", "--no-input", "-r", file.name]
        _run(command, "the packages of the lock")


def _pip(one: Interpreter) -> list[str]:
    """How pip is started for an environment: the one that is installed here, else the one that Python brings along."""
    if importlib.util.find_spec("pip") is None:
        import ensurepip

        wheels = sorted(glob.glob(os.path.join(os.path.dirname(ensurepip.__file__), "_bundled", "pip-*.whl")))
        if wheels:
            return [one.executable, os.path.join(wheels[-1], "pip")]
    return [sys.executable, "-m", "pip", "--python", one.executable]


def _run(command: Sequence[str], what: str) -> None:
    """Run an installer.

    Raises:
        RerunError: it fails; with what it said.
    """
    dropped = ("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH", "PYTHONHOME", "PIP_REQUIRE_VIRTUALENV")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    try:
        done = subprocess.run(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=kept,
            timeout=_PATIENCE_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise RerunError(f"{what} cannot be had: {error}; use --env same", "environment") from error
    if done.returncode:
        lines = [redact_text(line)[0] for line in done.stdout.decode("utf-8", "replace").splitlines() if line.strip()]
        said = "\n".join(f"  {line}" for line in lines[-_LINES:])
        raise RerunError(
            f"{what} cannot be had: {os.path.basename(command[0])} says\n{said}\nuse the present environment by"
            " --env same",
            "environment",
        )


def _with_ourselves(one: Interpreter) -> Interpreter:
    """Let an environment have the mlsdk that reruns: the run's own may be older than what a rerun needs of it."""
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    _point(os.path.join(_site(one), OURSELVES), package)
    about = scan([entry for entry in sys.path if os.path.isabs(entry)]).distributions.get(OURSELVES)
    if about is not None and about.info.endswith(".dist-info"):
        _point(os.path.join(_site(one), os.path.basename(about.info)), about.info)
    return one


def _point(link: str, target: str) -> None:
    """Make a link lead somewhere, at once for whoever looks."""
    if os.path.islink(link) and os.readlink(link) == target:
        return
    new = f"{link}.{os.getpid()}"
    os.symlink(target, new)
    os.replace(new, link)
