"""mlsdk records everything that made a result, and answers by program.

    import mlsdk

    @mlsdk.track(experiment="churn")
    def train(lr: float = 0.1) -> dict[str, float]:
        mlsdk.log(loss=0.5)
        return {"acc": 0.9}

Importing does nothing but define names; each is loaded when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlsdk.version import VERSION as __version__

if TYPE_CHECKING:
    from mlsdk.config import configure
    from mlsdk.errors import (
        AmbiguousError,
        ConfigError,
        ConflictError,
        DigestError,
        FormatError,
        MetricError,
        MlsdkError,
        NewerFormatError,
        NoRunError,
        NotFoundError,
        QueryError,
        ReadOnlyError,
        StoreError,
        UsageError,
    )
    from mlsdk.records import Artifact, Change, Dataset, MetricSummary, Problem, Run, RunStatus, Series
    from mlsdk.finding import Runs, edit, get_run, runs
    from mlsdk.store import open_store
    from mlsdk.tracking.active import ActiveRun
    from mlsdk.tracking.context import current_run
    from mlsdk.tracking.decorator import track
    from mlsdk.tracking.log import log
    from mlsdk.tracking.start import run

_HOMES = {
    "mlsdk.config": ("configure",),
    "mlsdk.errors": (
        "AmbiguousError",
        "ConfigError",
        "ConflictError",
        "DigestError",
        "FormatError",
        "MetricError",
        "MlsdkError",
        "NewerFormatError",
        "NoRunError",
        "NotFoundError",
        "QueryError",
        "ReadOnlyError",
        "StoreError",
        "UsageError",
    ),
    "mlsdk.records": ("Artifact", "Change", "Dataset", "MetricSummary", "Problem", "Run", "RunStatus", "Series"),
    "mlsdk.finding": ("Runs", "edit", "get_run", "runs"),
    "mlsdk.store": ("open_store",),
    "mlsdk.tracking.active": ("ActiveRun",),
    "mlsdk.tracking.context": ("current_run",),
    "mlsdk.tracking.decorator": ("track",),
    "mlsdk.tracking.log": ("log",),
    "mlsdk.tracking.start": ("run",),
}

_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "ActiveRun",
    "AmbiguousError",
    "Artifact",
    "Change",
    "ConfigError",
    "ConflictError",
    "Dataset",
    "DigestError",
    "FormatError",
    "MetricError",
    "MetricSummary",
    "MlsdkError",
    "NewerFormatError",
    "NoRunError",
    "NotFoundError",
    "Problem",
    "QueryError",
    "ReadOnlyError",
    "Run",
    "RunStatus",
    "Runs",
    "Series",
    "StoreError",
    "UsageError",
    "__version__",
    "configure",
    "current_run",
    "edit",
    "get_run",
    "log",
    "open_store",
    "run",
    "runs",
    "track",
]


import mlsdk.log  # noqa: E402 - interim, until the package log/ has another name than the function
del mlsdk.log


def __getattr__(name: str) -> object:
    """Load a public name from its home when it is first used (PEP 562)."""
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'mlsdk' has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    return __all__
