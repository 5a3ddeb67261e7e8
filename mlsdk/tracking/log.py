"""`mlsdk.log`: metrics for the current run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mlsdk.tracking.context import current_run, entered
from mlsdk.tracking.numbers import together

if TYPE_CHECKING:
    from datetime import datetime


def log(
    values: Mapping[str, object] | None = None,
    /,
    *,
    step: int | None = None,
    at: datetime | float | None = None,
    **named: object,
) -> None:
    """Record metrics of the current run: numbers by name, as keywords or as a mapping.

    The current run is that of the innermost `with mlsdk.run(...)` or tracked function; without one, the process's only
    live run. See `ActiveRun.log`.

    Raises:
        NoRunError: no run is live, or several and none belongs here.
        MetricError: not a number, or one that would lose precision; the others of the call are recorded.
        UsageError: not names with numbers.

    >>> import mlsdk
    >>> with mlsdk.run("docs"):
    ...     mlsdk.log(loss=0.5, acc=0.75)
    ...     mlsdk.log({"val/loss": 0.6}, step=10)
    """
    run = entered.get()
    if run is None or run.finished:
        run = current_run()
    run._log(named if values is None else together(values, named), step, at)
