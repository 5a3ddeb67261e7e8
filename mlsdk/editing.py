"""Saying more about a run after it has ended, or while it lives: each edit is a log of its own."""

from __future__ import annotations

import time
from collections.abc import Mapping

from mlsdk.capture.facts import encode_facts
from mlsdk.errors import UsageError
from mlsdk.log.facts import Tags, checked_tags
from mlsdk.records import Run
from mlsdk.store.base import Store
from mlsdk.store.writer import LogWriter


class Edit:
    """Edits of one run. Each call is written at once, as a log of role `edit`; nothing that was recorded is changed."""

    def __init__(self, store: Store, run: Run) -> None:
        self._store = store
        self.run = run

    def set_tags(self, tags: Tags) -> None:
        """Set tags: a mapping, or plain names (whose value is true). A value of None removes a tag.

        Raises:
            UsageError: something else.
        """
        self._write({"tags": checked_tags(tags)})

    def note(self, text: str) -> None:
        """Set the note; the last one counts."""
        self._write({"run": {"note": str(text)}})

    def rename(self, name: str) -> None:
        """Give the run another name.

        Raises:
            UsageError: it is empty, or no text.
        """
        self._write({"run": {"name": checked_name(name)}})

    def delete(self) -> None:
        """Hide the run; `mlsdk gc` erases it later, until then `restore` brings it back."""
        self._write({"run": {"deleted": True}})

    def restore(self) -> None:
        """Bring a deleted run back.

        Raises:
            UsageError: `mlsdk gc` has erased its content.
        """
        if self.run.erased:
            raise UsageError(f"run {self.run.name} ({self.run.short_id}) was erased by `mlsdk gc`: nothing is left")
        self._write({"run": {"deleted": None}})

    def judge(self, verdict: str, level: str, values: Mapping[str, object], statement: bytes) -> None:
        """Attach a verdict on making the run again; the last one counts, the others stay in `run.verdicts`.

        Args:
            verdict: its id.
            level: what `reproduced` says from now on.
            values: what `run.verdict` is; the digest of the statement is added.
            statement: put away as a blob.
        """
        digest, _ = self._store.target().put_blob(statement)
        named = {verdict: {**values, "statement": digest}}
        self._write({"verdicts": named, "run": {"reproduced": level, "verdict": verdict}})

    def _write(self, kinds: Mapping[str, Mapping[str, object]]) -> None:
        """Write facts as a log of its own, secrets left out and long values put away as in a live run."""
        target = self._store.target()
        facts: dict[str, Mapping[str, object]] = {}
        notes: dict[str, str] = {}
        for kind, values in kinds.items():
            facts[kind], more = encode_facts(kind, values, target.put_blob)
            notes.update(more)
        if notes:
            now = time.time_ns()
            facts["problems"] = {name: {"message": note, "t": now, "count": 1} for name, note in notes.items()}
        writer = LogWriter(target, self.run.id, "edit", seen=self.run.order)
        writer.announce()
        writer.facts(facts)
        writer.close()


def checked_name(name: object) -> str:
    """The name itself.

    Raises:
        UsageError: it is empty, or no text.
    """
    if not isinstance(name, str) or not name:
        raise UsageError(f"a name must be text, not {name!r}")
    return name
