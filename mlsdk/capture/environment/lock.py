"""A lock of the environment: what it takes to install it again, made from what is installed.

Always a list of requirements; where the program uv is there, a `pylock.toml` (PEP 751) for all platforms with the
digests of all wheels as well. Nothing is asked of the network unless the setting `lock` is `uv`: by default uv answers
from its own cache, which knows the environments that it has made.
"""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from mlsdk import config
from mlsdk.capture import Context, cache
from mlsdk.capture.environment.installed import Distribution, scan
from mlsdk.capture.environment.recorded import content_digest
from mlsdk.capture.facts import ByName
from mlsdk.capture.secrets.redaction import redact_text

CACHE_LIMIT_S = 10.0
"""For uv to answer from its cache."""

INDEX_LIMIT_S = 120.0
"""For uv to ask an index, where the setting says so."""

TRY_AGAIN_S = 3600.0
"""After this, what uv could not do is tried again."""

_MOST_UNKNOWN = 8
"""So many distributions that uv does not know are left out of its lock; with more it is given up."""

_KEPT = ("HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA", "SYSTEMROOT", "TMPDIR", "TEMP", "XDG_CACHE_HOME")
_KEPT_OF_UV = ("UV_CACHE_DIR", "UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS")
_VERSION_OF_CACHE = 3


class LockError(Exception):
    """There is no lock by uv; the text says why, to people."""


class _Python(NamedTuple):
    """The interpreter to lock for."""

    version: str
    executable: str
    prefix: str
    search: str
    """Its `PATH`."""


class _Locked(NamedTuple):
    by: str
    text: str
    left_out: dict[str, str]


def capture(where: Context) -> Mapping[str, object]:
    """Fact `lock`, of what the capture `python` says; `lock_missing` says what is not in it, and why.

    Keys of `lock`:
        format: `pylock.toml`, or `requirements` where that could not be made.
        digest, size_bytes: of the blob that holds it.
        requirements: digest of the blob with the list of requirements, which is always made.
        by, python: what made it (`uv 0.13.8`, `mlsdk`), the minor version of Python that it is for.
        packages: how many distributions are in it.
        to_build: names of those that come from a folder or a repository: no wheel of theirs can be fetched.
    """
    known = where.facts.get("env", {})
    path = known.get("path")
    if not isinstance(path, (list, tuple)):
        return {"lock_missing": {"lock": "the capture `python`, which knows the path, was not taken"}}
    variables = known.get("variables")
    search = str(variables.get("PATH", "")) if isinstance(variables, Mapping) else ""
    version, executable, prefix = (str(known.get(name, "")) for name in ("python", "executable", "prefix"))
    python = _Python(version, executable, prefix, search)
    distributions = scan([str(entry) for entry in path]).distributions
    key = _key(distributions.values(), python)
    made = _kept(key)
    if made is None:
        made = _make(distributions, python, where)
        _keep(key, made)
    blobs = {name: where.put_blob(text.encode()) for name, text in made.texts.items()}
    kind = "pylock.toml" if "pylock.toml" in blobs else "requirements"
    digest, size = blobs[kind]
    lock = {"format": kind, "digest": digest, "size_bytes": size, "requirements": blobs["requirements"][0]}
    facts: dict[str, object] = {"lock": {**lock, **made.facts}}
    return {**facts, **({"lock_missing": ByName(made.missing)} if made.missing else {})}


class _Made(NamedTuple):
    """What is kept in the cache."""

    facts: dict[str, object]
    texts: dict[str, str]
    """By format."""
    missing: dict[str, str]


def _make(distributions: Mapping[str, Distribution], python: _Python, where: Context) -> _Made:
    texts = {"requirements": _clean(requirements(distributions.values(), python.version))}
    unknown = [name for name, one in distributions.items() if not one.version and "url" not in (one.origin or ())]
    facts = {
        "by": "mlsdk",
        "python": _minor(python),
        "packages": len(distributions) - len(unknown),
        "to_build": _to_build(distributions),
    }
    made = _Made(facts, texts, dict.fromkeys(unknown, "its version is not known"))
    try:
        locked = _by_uv(distributions, python, where)
    except LockError as error:
        made.missing["pylock.toml"] = str(error)
        return made
    texts["pylock.toml"] = _clean(locked.text)
    made.missing.update(locked.left_out)
    made.facts.update(by=locked.by, packages=len(distributions) - len(made.missing))
    return made


def _to_build(distributions: Mapping[str, Distribution]) -> list[str]:
    return sorted(
        name for name, one in distributions.items() if one.editable or one.folder or "vcs" in (one.origin or ())
    )


def _clean(text: str) -> str:
    """Without secrets, line by line, so that a hit costs no more than its line."""
    return "".join(redact_text(line, code=True)[0] for line in text.splitlines(keepends=True))


def _minor(python: _Python) -> str:
    return ".".join(python.version.split(".")[:2])


def requirements(distributions: Iterable[Distribution], python: str) -> str:
    """A list for `pip install --no-deps -r`: exact versions, and where else they come from than an index.

    The digest of a distribution's content stands behind it as a comment: with `recorded.content_digest` it can be seen
    whether what was installed again is the same. The digests of the wheels are not known to who has installed them.

    Args:
        distributions: what is installed; one whose version is not known is left out.
        python: version of the interpreter, for the first line.
    """
    lines = [f"# Python {python}", "# content: SHA-256 of the sorted lines `path,digest` of RECORD"]
    for one in sorted(distributions):
        content = content_digest(one.info)
        comment = f"  # content {content}" if content else ""
        if one.editable and one.origin and "url" in one.origin:
            lines.append(f"-e {one.origin['url']}  # {one.name}=={one.version}")
        elif one.origin and "url" in one.origin:
            lines.append(f"{one.name} @ {_direct(one.origin)}{comment}")
        elif one.version:
            lines.append(f"{one.name}=={one.version}{comment}")
    return "\n".join(lines) + "\n"


def _direct(origin: Mapping[str, object]) -> str:
    """A direct reference (PEP 508) to where something came from."""
    url = str(origin["url"])
    if "vcs" in origin:
        url = f"{origin['vcs']}+{url}@{origin.get('commit') or origin.get('revision') or ''}".rstrip("@")
    parts = []
    hashes = origin.get("hashes")
    if isinstance(hashes, Mapping):
        parts += [f"{name}={digest}" for name, digest in sorted(hashes.items())][:1]
    if origin.get("subdirectory"):
        parts.append(f"subdirectory={origin['subdirectory']}")
    return url + ("#" + "&".join(parts) if parts else "")


def pylock_entry(one: Distribution) -> str:
    """An entry of `pylock.toml` for what comes from no index: a folder, a repository, an archive.

    https://packaging.python.org/specifications/pylock-toml
    """
    origin = dict(one.origin or {})
    values = {"name": one.name, "version": one.version}
    if one.folder is not None:
        source: dict[str, object] = {"path": one.folder, "editable": one.editable}
        kind = "directory"
    elif "vcs" in origin:
        source = {"type": origin["vcs"], "url": origin["url"], "commit-id": origin.get("commit", "")}
        source.update({"requested-revision": origin["revision"]} if "revision" in origin else {})
        kind = "vcs"
    else:
        source, kind = {"url": origin["url"], "hashes": origin.get("hashes", {})}, "archive"
    if "subdirectory" in origin:
        source["subdirectory"] = origin["subdirectory"]
    return f"\n[[packages]]\n{_toml(values)}\n[packages.{kind}]\n{_toml(source)}"


def _toml(values: Mapping[str, object]) -> str:
    """Lines of TOML; a basic string of TOML is one of JSON."""
    return "".join(f"{name} = {_toml_value(value)}\n" for name, value in values.items())


def _toml_value(value: object) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{name} = {_toml_value(item)}" for name, item in value.items()) + " }"
    return json.dumps(value)


def _by_uv(distributions: Mapping[str, Distribution], python: _Python, where: Context) -> _Locked:
    """A lock for all platforms, of exactly what is installed: nothing is resolved, nothing is built.

    For one platform alone a lock would be a trap: on another Python it makes pip build from source for minutes.

    Raises:
        LockError: there is no uv, or it has no answer.
    """
    program = find_uv(python.prefix, python.search)
    if program is None:
        raise LockError("there is no program `uv` in the interpreter's environment or on PATH")
    asks = config.text("lock") == "uv"
    pins = {name: one for name, one in distributions.items() if one.origin is None and one.version}
    until = time.monotonic() + (INDEX_LIMIT_S if asks else CACHE_LIMIT_S)
    folder = where.root if where.root and not asks else where.folder
    environment = dict(os.environ) if asks else _environment(python.search)
    by = _run([program, "--version"], "", folder, environment, until)[1].split(" (")[0].strip()
    command = [program, "pip", "compile", "-", "--quiet", "--universal", "--no-deps", "--no-build", "--no-header"]
    command += ["--format", "pylock.toml", "--python-version", _minor(python)]
    command += ["--python", python.executable] if python.executable else []
    command += [] if asks else ["--offline", "--no-config"]
    left_out: dict[str, str] = {}
    said = ""
    for _ in range(_MOST_UNKNOWN + 1):
        listed = "".join(f"{name}=={one.version}\n" for name, one in sorted(pins.items()) if name not in left_out)
        code, printed, said = _run(command, listed, folder, environment, until)
        if code == 0:
            others = [one for one in distributions.values() if one.origin is not None and "url" in one.origin]
            return _Locked(by, printed + "".join(map(pylock_entry, others)), left_out)
        unknown = {name for name in re.findall(r"([\w.-]+)==", said) if name in pins and name not in left_out}
        if not unknown:
            break
        left_out.update(dict.fromkeys(unknown, _plain(said)))
    raise LockError(
        f"uv cannot tell{'' if asks else ' from its cache (the setting lock=uv asks an index)'}: {_plain(said)}"
    )


def _plain(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    told = [line for line in lines if line.startswith("cause:")] or lines
    return redact_text(told[0].removeprefix("cause: ") if told else "it said nothing")[0][:300]


def find_uv(prefix: str, search: str) -> str | None:
    """The program uv: beside the interpreter, else on `PATH`, of which relative entries do not count."""
    import shutil

    beside = os.path.join(prefix, "Scripts" if os.name == "nt" else "bin") if prefix else ""
    places = [place for place in (beside, *search.split(os.pathsep)) if os.path.isabs(place)]
    return shutil.which("uv", path=os.pathsep.join(places)) if places else None


def _environment(search: str) -> dict[str, str]:
    """What uv needs to find its cache: no proxy, no configuration, no key."""
    kept = {name: os.environ[name] for name in (*_KEPT, *_KEPT_OF_UV) if name in os.environ}
    return {**kept, "PATH": search or os.defpath}


def _run(
    command: Sequence[str], given: str, folder: str, environment: Mapping[str, str], until: float
) -> tuple[int, str, str]:
    """Run a program to its end: its code, what it printed, what it said.

    Raises:
        LockError: it cannot be started, or takes too long; it and all that it started are then killed.
    """
    import subprocess

    pipe = subprocess.PIPE
    try:
        process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=pipe, cwd=folder, env=dict(environment), start_new_session=True
        )
    except OSError as error:
        raise LockError(f"{command[0]} cannot be started: {error.strerror}") from None
    with process:
        try:
            printed, said = process.communicate(given.encode(), timeout=max(0.01, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            _kill(process.pid)
            process.kill()
            process.communicate()
            raise LockError(f"{command[0]} took too long and was stopped") from None
    return process.returncode, printed.decode("utf-8", "replace"), said.decode("utf-8", "replace")


def _kill(pid: int) -> None:
    if hasattr(os, "killpg"):
        try:
            os.killpg(pid, signal.SIGKILL)
        except ProcessLookupError:
            return


def _key(distributions: Iterable[Distribution], python: _Python) -> str:
    """Stands for what a lock depends on: distributions, times of their records, interpreter, uv, setting."""
    from hashlib import sha256

    listed = [(*one[:4], json.dumps(one.origin, sort_keys=True), _time_ns(one.info)) for one in sorted(distributions)]
    whole = [_VERSION_OF_CACHE, config.text("lock"), find_uv(python.prefix, python.search), *python[:3], listed]
    return sha256(json.dumps(whole).encode()).hexdigest()


def _time_ns(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0


def _kept(key: str) -> _Made | None:
    """What was made before; where uv could not, it is tried again after a while."""
    try:
        made_at, *parts = json.loads(cache.read_own(_name(key)) or b"null")
        made = _Made(*parts)
    except (ValueError, TypeError):
        return None
    return made if "pylock.toml" in made.texts or time.time() - made_at < TRY_AGAIN_S else None


def _keep(key: str, made: _Made) -> None:
    cache.write_own(_name(key), json.dumps([time.time(), *made]).encode())


def _name(key: str) -> str:
    return f"locks/{key[:32]}.json"
