"""mlsdk records everything that made a result, and answers by program.

    import mlsdk

    @mlsdk.track(experiment="churn")
    def train(lr: float = 0.1) -> dict[str, float]:
        mlsdk.log(loss=0.5)
        return {"acc": 0.9}

Importing defines names and loads what `track`, `run` and `log` need; what finds and reads runs is loaded when it is
first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlsdk.config import configure
from mlsdk.errors import (
    AccessError,
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
    RerunError,
    StoreError,
    UnavailableError,
    UsageError,
)
from mlsdk.tracking.active import ActiveRun
from mlsdk.tracking.context import current_run
from mlsdk.tracking.decorator import track
from mlsdk.tracking.log import log
from mlsdk.tracking.start import run
from mlsdk.version import VERSION as __version__

if TYPE_CHECKING:
    from mlsdk.compare.comparison import Comparison, diff
    from mlsdk.compare.difference import Difference
    from mlsdk.compare.table import ComparisonTable
    from mlsdk.data.compare import DataDiff, Overlap
    from mlsdk.data.fingerprint import fingerprint
    from mlsdk.data.record import Fingerprint
    from mlsdk.editing import Edit
    from mlsdk.finding import Runs, UnknownFieldWarning, edit, get_run, runs
    from mlsdk.records import Artifact, Change, Dataset, MetricSummary, Problem, Run, RunStatus, Series
    from mlsdk.reproduce.rerun import rerun
    from mlsdk.reproduce.retrain import retrain
    from mlsdk.reproduce.staleness import Staleness, status
    from mlsdk.reproduce.verdict import Verdict
    from mlsdk.reproduce.verify import verify
    from mlsdk.store import open_store
    from mlsdk.store.sync import sync

_LAZY = {
    **dict.fromkeys(
        ("Artifact", "Change", "Dataset", "MetricSummary", "Problem", "Run", "RunStatus", "Series"), "mlsdk.records"
    ),
    **dict.fromkeys(("Runs", "UnknownFieldWarning", "edit", "get_run", "runs"), "mlsdk.finding"),
    **dict.fromkeys(("Comparison", "diff"), "mlsdk.compare.comparison"),
    "ComparisonTable": "mlsdk.compare.table",
    **dict.fromkeys(("DataDiff", "Overlap"), "mlsdk.data.compare"),
    "Difference": "mlsdk.compare.difference",
    "Edit": "mlsdk.editing",
    "Fingerprint": "mlsdk.data.record",
    "fingerprint": "mlsdk.data.fingerprint",
    "open_store": "mlsdk.store",
    "retrain": "mlsdk.reproduce.retrain",
    **dict.fromkeys(("Staleness", "status"), "mlsdk.reproduce.staleness"),
    "rerun": "mlsdk.reproduce.rerun",
    "verify": "mlsdk.reproduce.verify",
    "Verdict": "mlsdk.reproduce.verdict",
    "sync": "mlsdk.store.sync",
}

__all__ = [
    "AccessError",
    "ActiveRun",
    "AmbiguousError",
    "Artifact",
    "Change",
    "Comparison",
    "ComparisonTable",
    "ConfigError",
    "ConflictError",
    "DataDiff",
    "Dataset",
    "Difference",
    "DigestError",
    "Edit",
    "Fingerprint",
    "FormatError",
    "MetricError",
    "MetricSummary",
    "MlsdkError",
    "NewerFormatError",
    "NoRunError",
    "NotFoundError",
    "Overlap",
    "Problem",
    "QueryError",
    "ReadOnlyError",
    "RerunError",
    "Run",
    "RunStatus",
    "Runs",
    "Series",
    "Staleness",
    "StoreError",
    "UnavailableError",
    "UnknownFieldWarning",
    "UsageError",
    "Verdict",
    "__version__",
    "configure",
    "current_run",
    "diff",
    "edit",
    "fingerprint",
    "get_run",
    "log",
    "open_store",
    "rerun",
    "retrain",
    "run",
    "runs",
    "status",
    "sync",
    "track",
    "verify",
]


def __getattr__(name: str) -> object:
    """Load a public name from its home when it is first used (PEP 562)."""
    home = _LAZY.get(name)
    if home is None:
        raise AttributeError(f"module 'mlsdk' has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    return __all__
