"""Settings: argument > environment > `[tool.mlsdk]` in pyproject.toml > default, each with its origin.

Every setting is one line of `SETTINGS`; `docs/configuration.md` describes them and a test holds the two together.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from mlsdk.errors import ConfigError

STORE_FOLDER = ".mlsdk"


class Setting(NamedTuple):
    """What may be set: the name in `configure()` and pyproject.toml, the type, the default, the meaning."""

    name: str
    type: type
    default: object
    meaning: str
    choices: tuple[str, ...] = ()

    @property
    def variable(self) -> str:
        """The environment variable."""
        return f"MLSDK_{self.name.upper()}"


class Value(NamedTuple):
    """The value in force and where it came from."""

    setting: Setting
    value: object
    origin: str


SETTINGS: dict[str, Setting] = {
    setting.name: setting
    for setting in (
        Setting("store", str, None, "URI or folder of the store; by default the nearest `.mlsdk` folder upwards"),
        Setting("experiment", str, None, "experiment of runs that name none; by default the file that runs"),
        Setting("mode", str, "on", "`disabled` records nothing and costs next to nothing", ("on", "disabled")),
        Setting("run", str, None, "id of a run to join from another process, as a rank or worker; `own` for none"),
        Setting("capture", str, None, "names of captures, by commas; `none` for none; by default all"),
        Setting("output", bool, True, "record stdout and stderr beside the run"),
        Setting(
            "output_limit_bytes",
            int,
            10_000_000,
            "of recorded output in one process; what is beyond is counted, not kept",
        ),
        Setting("capture_limit_s", float, 5.0, "seconds that captures before the body may take together"),
        Setting("companion", bool, True, "start the helper process; without it its work is done at `finish()`"),
        Setting("exit_wait_s", float, 10.0, "seconds that a process waits at exit for its companion"),
        Setting("outbox", str, None, "folder where runs of remote stores are written first; by default in your home"),
        Setting("outbox_bytes", int, 20_000_000_000, "disk space for what is not yet shipped, and copies of what is"),
        Setting("ship_every_s", float, 0.5, "seconds between two shipments of what live logs have grown"),
        Setting("ship_wait_s", float, 10.0, "seconds that a process waits at exit until its runs are shipped"),
        Setting("request_timeout_s", float, 30.0, "seconds after which a call to a remote store has failed"),
        Setting("map", bool, True, "write logs through a memory map where the file system is known to be safe for it"),
        Setting("observe", bool, True, "name the files and addresses that the code of a run reads from"),
        Setting("warn_undeclared", bool, False, "warn at the end of a run that read files which no `use_data` names"),
        Setting("environment", str, None, "further environment variables recorded by value, by commas; `*` at an end"),
        Setting("largest_source_bytes", int, 10_000_000, "a larger file of the code is known by its digest, not kept"),
        Setting("lock", str, "installed", "what the lock is made from; `uv` asks an index", ("installed", "uv")),
        Setting("check_packages", bool, False, "look for installed files that were modified"),
        Setting("sample_every_s", float, 5.0, "seconds between two samples of the hardware; 0 for none"),
        Setting("price_per_hour", float, 0.0, "of this machine, in your currency; 0 if unknown"),
        Setting("cpu_tdp_w", float, 0.0, "thermal design power of the processor in watts, for estimates; 0 if unknown"),
    )
}

BESIDE = ("largest_source_bytes", "lock", "check_packages", "sample_every_s", "price_per_hour", "cpu_tdp_w")
"""Settings that the companion goes by: it is told those of each run."""

_VARIABLES = {name: setting.variable for name, setting in SETTINGS.items()}

_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")

_configured: dict[str, object] = {}
_files: dict[str, dict[str, object]] = {}


def configure(**settings: object) -> None:
    """Set settings for this process, above the environment; None takes one back.

    Raises:
        ConfigError: an unknown setting, or a value of the wrong type.

    >>> configure(experiment="churn")
    >>> configure(experiment=None)
    """
    for name, value in settings.items():
        if name not in SETTINGS:
            raise ConfigError(f"unknown setting {name!r}; known: {', '.join(SETTINGS)}")
        if value is not None:
            _configured[name] = _convert(SETTINGS[name], value, "configure()")
        else:
            _configured.pop(name, None)


def lookup(name: str) -> Value:
    """The value of a setting in force, with its origin: `argument`, `environment`, a file's path or `default`.

    Raises:
        ConfigError: the environment or the file holds a value that cannot be used.
    """
    setting = SETTINGS[name]
    if name in _configured:
        return Value(setting, _configured[name], "argument")
    text = os.environ.get(_VARIABLES[name])
    if text:
        return Value(setting, _convert(setting, text, setting.variable), "environment")
    path, table = _project_settings()
    if name in table:
        return Value(setting, _convert(setting, table[name], path), path)
    return Value(setting, setting.default, "default")


def for_companion() -> dict[str, object]:
    """What the companion has to be told: its settings where they are not the defaults."""
    table = _project_settings()[1]
    told = [name for name in BESIDE if name in _configured or name in table or _VARIABLES[name] in os.environ]
    found = {name: lookup(name).value for name in told}
    return {name: value for name, value in found.items() if value != SETTINGS[name].default}


@contextlib.contextmanager
def in_force(settings: Mapping[str, object]) -> Iterator[None]:
    """For a while, go by what `for_companion` said in another process, and by the defaults."""
    before = dict(_configured)
    _configured.update({name: settings.get(name, SETTINGS[name].default) for name in BESIDE})
    try:
        yield
    finally:
        _configured.clear()
        _configured.update(before)


def text(name: str) -> str | None:
    """A setting that is text; None if it is not set."""
    value = lookup(name).value
    return value if isinstance(value, str) else None


def flag(name: str) -> bool:
    """A setting that is yes or no."""
    return bool(lookup(name).value)


def number(name: str) -> float:
    """A setting that is a number."""
    value = lookup(name).value
    return value if isinstance(value, (int, float)) else 0.0


def disabled() -> bool:
    """Whether nothing is to be recorded."""
    return text("mode") == "disabled"


def _convert(setting: Setting, value: object, origin: str) -> object:
    try:
        converted = _to_type(setting.type, value)
    except (TypeError, ValueError):
        kind = {bool: "yes or no (1/0, true/false, on/off)", int: "a whole number", float: "a number", str: "text"}[
            setting.type
        ]
        raise ConfigError(f"{origin}: {setting.name} must be {kind}, not {value!r}") from None
    if setting.choices and converted not in setting.choices:
        raise ConfigError(f"{origin}: {setting.name} must be one of {', '.join(setting.choices)}, not {value!r}")
    return converted


def _to_type(kind: type, value: object) -> object:
    if kind is bool:
        if isinstance(value, bool):
            return value
        word = str(value).strip().lower()
        if word in _TRUE or word in _FALSE:
            return word in _TRUE
        raise ValueError
    if kind is str:
        return os.fspath(value) if isinstance(value, (str, os.PathLike)) else _refuse()
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise TypeError
    return int(value) if kind is int else float(value)


def _refuse() -> object:
    raise TypeError


def _project_settings() -> tuple[str, dict[str, object]]:
    """Path and `[tool.mlsdk]` table of the nearest pyproject.toml upwards; read once for each folder."""
    folder = working_folder()
    if folder not in _files:
        _files[folder] = {}
        for parent in _upwards(folder):
            path = os.path.join(parent, "pyproject.toml")
            if os.path.isfile(path):
                _files[folder] = {"path": path, "table": _read_table(path)}
                break
    found = _files[folder]
    table = found.get("table")
    return str(found.get("path", "")), table if isinstance(table, dict) else {}


def _read_table(path: str) -> dict[str, object]:
    with open(path, "rb") as file:
        data = file.read()
    if b"tool.mlsdk" not in data:
        return {}
    try:
        import tomllib
    except ImportError:  # Python 3.10
        import tomli as tomllib
    try:
        table = tomllib.loads(data.decode("utf-8")).get("tool", {}).get("mlsdk", {})
    except ValueError as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    unknown = sorted(set(table) - set(SETTINGS))
    if unknown:
        raise ConfigError(f"{path}: unknown setting {unknown[0]!r} in [tool.mlsdk]; known: {', '.join(SETTINGS)}")
    return dict(table)


def _upwards(folder: str) -> list[str]:
    """The folder and all above it."""
    found = [folder]
    while os.path.dirname(folder) != folder:
        folder = os.path.dirname(folder)
        found.append(folder)
    return found


def working_folder() -> str:
    """The working folder; empty if it was deleted."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return ""


def cache_folder() -> str:
    """Where this platform keeps what mlsdk knows of a user's machine: `$XDG_CACHE_HOME/mlsdk`, or `~/.cache/mlsdk`."""
    home = os.path.expanduser("~")
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or os.path.join(home, "AppData", "Local")
    elif sys.platform == "darwin":
        base = os.path.join(home, "Library", "Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or os.path.join(home, ".cache")
    return os.path.join(base, "mlsdk")


def default_store_folder() -> str:
    """Where the embedded store is or would be: the nearest `.mlsdk` upwards, the repository's root, or here."""
    folders = _upwards(working_folder())
    if not folders[0]:
        raise ConfigError("the working folder was deleted: say where the store is, by store= or MLSDK_STORE")
    for folder in folders:
        if os.path.isdir(os.path.join(folder, STORE_FOLDER)):
            return os.path.join(folder, STORE_FOLDER)
    for folder in folders:
        if os.path.exists(os.path.join(folder, ".git")):
            return os.path.join(folder, STORE_FOLDER)
    return os.path.join(folders[0], STORE_FOLDER)


def store_uri(store: str | os.PathLike[str] | None = None) -> str:
    """The URI of the store meant by an argument, or by the settings; a plain path becomes a `file:` URI."""
    named = os.fspath(store) if store is not None else text("store")
    if named is None:
        return "file:" + default_store_folder()
    scheme, colon, _ = named.partition(":")
    if colon and len(scheme) > 1 and scheme.isalnum():
        return named
    return "file:" + os.path.abspath(os.path.expanduser(named))
