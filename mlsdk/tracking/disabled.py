"""The run that records nothing: what everything is while `MLSDK_MODE=disabled`."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING

from mlsdk.tracking import context
from mlsdk.tracking.active import ActiveRun
from mlsdk.tracking.problems import Problems

if TYPE_CHECKING:
    from mlsdk.records import Problem


class DisabledRun(ActiveRun):
    """Accepts every call of an `ActiveRun` and does nothing."""

    def __init__(self, name: str, experiment: str) -> None:
        self.id = "0" * 32
        self.name = name
        self.experiment = experiment
        self.finished = False
        self._token = None
        self._problems = Problems(name, lambda _: None)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """None: nothing is kept."""
        return ()

    @property
    def store_uri(self) -> str:
        """Empty: nothing is kept."""
        return ""

    @property
    def path(self) -> str | None:
        """None: nothing is kept."""
        return None

    @property
    def url(self) -> str:
        """Empty: nothing is kept."""
        return ""

    def log(self, values: Mapping[str, object] | None = None, /, **named: object) -> None:
        """Record nothing."""

    def _log(self, named: dict[str, object], step: int | None, at: object) -> None:
        """Record nothing."""

    def _set(self, kind: str, values: Mapping[str, object]) -> None:
        """Record nothing."""

    def _writable(self) -> None:
        """Accept everything."""

    def use_data(self, data: object, *, name: str | None = None) -> None:
        """Record nothing."""

    def log_artifact(self, artifact: object, *, name: str | None = None) -> None:
        """Record nothing."""

    def final_metrics(self, returned: object) -> None:
        """Record nothing."""

    def end(self, error: BaseException | None) -> None:
        """Only be over."""
        self._finish("finished", None)

    def output(self, stream: int, text: str) -> None:
        """Record nothing."""

    def _finish(self, status: str, error: Mapping[str, object] | None) -> None:
        self.finished = True
        if context.bare.get() is self:
            context.bare.set(None)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._token is not None:
            context.leave(self._token)
            self._token = None
        self._finish("finished", None)
