"""Environment variables that differ and may mean something, with locale and time zone."""

from __future__ import annotations

from fnmatch import fnmatchcase

from mlsdk.compare.difference import Difference
from mlsdk.compare.side import Side
from mlsdk.compare.values import ABSENT, Pair, differing, given, mapping

HASH_SEED = "PYTHONHASHSEED"

_WHERE_SOMEBODY_STANDS = (
    "PWD OLDPWD SHLVL _ SHELL TERM TERM_* TERMINFO* COLORTERM COLUMNS LINES LS_COLORS CLICOLOR* NO_COLOR FORCE_COLOR"
    " PS1 PS2 PAGER LESS* EDITOR VISUAL HISTSIZE HISTFILE* DISPLAY WAYLAND_DISPLAY WINDOWID TMUX* STY SSH_* XDG_*"
    " DBUS_* GPG_* LC_TERMINAL* VSCODE_* JPY_* PYCHARM_* KERNEL_* WSL* CI GITHUB_* GITLAB_* CI_* RUNNER_* BUILD_*"
    " JENKINS_* PYTEST_* TOX_* COVERAGE_* HOSTNAME HOST USER USERNAME LOGNAME MAIL INVOCATION_ID JOURNAL_STREAM"
    " SYSTEMD_*"
)
_WHERE_THINGS_LIE = (
    "TMPDIR TEMP TMP VIRTUAL_ENV* CONDA_* PATH PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONPYCACHEPREFIX UV_* PIP_*"
    " PYENV_* POETRY_* PYTHONUNBUFFERED PYTHONDONTWRITEBYTECODE PYTHONSAFEPATH PYTHONNOUSERSITE PYTHONIOENCODING"
)
"""What was loaded and read there is compared itself."""
_WHICH_JOB = (
    "SLURM_* PBS_JOBID PBS_JOBNAME LSB_JOBID LSB_JOBNAME RAY_JOB_ID POD_NAME NODE_NAME JOB_COMPLETION_INDEX MASTER_ADDR"
    " MASTER_PORT TORCHELASTIC_* PMI_* KUBERNETES_* NVIDIA_VISIBLE_DEVICES container MLSDK_*"
)
_WHO_IMPORTED = "KMP_DUPLICATE_LIB_OK KMP_INIT_AT_FORK CUDA_MODULE_LOADING TF2_BEHAVIOR QT_QPA_*"
"""What libraries set when they are imported: scikit-learn, torch, tensorflow, OpenCV."""
_MEAN_NOTHING = tuple(f"{_WHERE_SOMEBODY_STANDS} {_WHERE_THINGS_LIE} {_WHICH_JOB} {_WHO_IMPORTED}".split())
"""Variables that differ between any two runs, or that say what is compared otherwise."""

_LANGUAGE = ("LANG", "LANGUAGE", "LC_*")
_THREADS = ("OMP_*", "GOMP_*", "KMP_*", "*_NUM_THREADS", "*_MAX_THREADS", "*_DYNAMIC", "TOKENIZERS_PARALLELISM")
_BLAS = ("OPENBLAS_*", "GOTO_*", "MKL_*", "BLIS_*", "VECLIB_*")

SENTENCE = "it is kept as a digest: that it differs is known, not what it holds"


def pairs_of_variables(a: Side, b: Side) -> list[Pair]:
    """Variables that differ, by value where it is kept, else with None for both values.

    Empty where one of the runs has not recorded its variables.
    """
    if not all("variables" in side.environment for side in (a, b)):
        return []
    found = [pair for pair in differing(*map(_shown, (a, b))) if not _means_nothing(pair[0])]
    named = {name for name, _, _ in found}
    by_value = {*_shown(a), *_shown(b)}
    for name, x, y in differing(*map(_hidden, (a, b))) if hashes_fit(a, b) else ():
        if name not in named and name not in by_value and not _means_nothing(name):
            found.append((name, ABSENT if x is ABSENT else None, ABSENT if y is ABSENT else None))
    return sorted(found, key=lambda pair: pair[0])


def _shown(side: Side) -> dict[str, object]:
    values = mapping(side.environment.get("variables"))
    return {str(name): side.within(str(value)) for name, value in values.items()}


def _hidden(side: Side) -> dict[str, object]:
    return {str(name): value for name, value in mapping(side.environment.get("variable_hashes")).items()}


def hashes_fit(a: Side, b: Side) -> bool:
    """Whether digests of variables were made with one key: then some of those that both have are equal."""
    then, now = _hidden(a), _hidden(b)
    common = then.keys() & now.keys()
    return len(common) < 3 or any(then[name] == now[name] for name in common)


def _means_nothing(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in _MEAN_NOTHING)


def _is_one_of(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def of_threads(pairs: list[Pair]) -> list[Pair]:
    """Those that say how many threads calculate."""
    return [pair for pair in pairs if _is_one_of(pair[0], _THREADS)]


def of_blas(pairs: list[Pair]) -> list[Pair]:
    """Those that say how linear algebra is done, but for its threads."""
    return [pair for pair in pairs if _is_one_of(pair[0], _BLAS) and not _is_one_of(pair[0], _THREADS)]


def variable_differences(a: Side, b: Side, pairs: list[Pair]) -> list[Difference]:
    """The other variables; locale and time zone where no variable accounts for them."""
    others = [pair for pair in pairs if pair not in of_threads(pairs) and pair not in of_blas(pairs)]
    found = [
        Difference("variable", name, *_values(x, y), (SENTENCE,) if None in (x, y) else ())
        for name, x, y in others
        if name != HASH_SEED
    ]
    names = {name for name, _, _ in others}
    by_language = any(_is_one_of(name, _LANGUAGE) for name in names)
    for what, is_told in (("locale", by_language), ("timezone", "TZ" in names)):
        x, y = a.code.get(what), b.code.get(what)
        if x is not None and y is not None and x != y and not is_told:
            found.append(Difference("variable", what, x, y))
    return found


def _values(x: object, y: object) -> tuple[object, object]:
    """What is shown of two values, of which None is one that is kept as a digest."""
    if x is None and y is None:
        return "set", "set to another"
    return ("set" if x is None else given(x)), ("set" if y is None else given(y))
