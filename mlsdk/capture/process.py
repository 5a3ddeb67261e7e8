"""How the run was started: the command line (secrets redacted), the working directory, the entry point."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from mlsdk.capture import Context
from mlsdk.capture.redaction import redact_argv


def capture(where: Context) -> Mapping[str, object]:
    """Facts `argv`, `folder`, `entry`.

    `entry` is the script's absolute path, `-m module`, `-c`, or `interactive`.
    """
    return {"argv": redact_argv(list(getattr(sys, "argv", []))), "folder": where.folder, "entry": entry_point()}


def entry_point() -> str:
    """What was started: a script's path, a module, `-c` or `interactive`."""
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name:
        return f"-m {spec.name.removesuffix('.__main__')}"
    path: str | None = getattr(main, "__file__", None)
    if path:
        return os.path.abspath(path)
    return "interactive" if hasattr(sys, "ps1") or "ipykernel" in sys.modules else "-c"


def entry_name() -> str:
    """A short name of the entry point: what an experiment is called when nobody names it."""
    entry = entry_point()
    if entry.startswith("-m "):
        return entry[3:].rpartition(".")[2]
    return {"interactive": "notebook", "-c": "default"}.get(entry) or os.path.splitext(os.path.basename(entry))[0]
