"""What pages say in tables, trees and commands is what the code says; their Python runs in test_docs.py."""

from __future__ import annotations

import inspect
import re

import mlsdk
from mlsdk import config, errors
from tests.conftest import ROOT

DOCS = ROOT / "docs"


def _rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its head."""
    below = page.partition(f"## {heading}\n")[2]
    lines = [line for line in below.splitlines() if line.startswith("|")]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_settings_are_those_of_the_code() -> None:
    """The page on configuration lists each setting once, in the code's order, with its variable and default."""
    rows = _rows((DOCS / "configuration.md").read_text("utf-8"), "Settings")
    defaults = {name: setting.default for name, setting in config.SETTINGS.items()}

    assert [row[:2] for row in rows] == [[name, setting.variable] for name, setting in config.SETTINGS.items()]
    assert {row[0]: row[2] for row in rows if defaults[row[0]] is not None} == {
        name: str(default).lower() for name, default in defaults.items() if default is not None
    }


def test_errors_are_those_of_the_code() -> None:
    """The page on errors shows the tree of the module, and the tree has every error that is public."""
    page = (DOCS / "errors.md").read_text("utf-8")
    tree = (errors.__doc__ or "").partition("::\n\n")[2]
    named = set(re.findall(r"\b[A-Z]\w+Error\b", tree)) - {"ValueError", "LookupError"}

    assert inspect.cleandoc(tree) in page
    assert named == {name for name in mlsdk.__all__ if name.endswith("Error")}


def test_glossary_is_sorted() -> None:
    """The glossary explains each word once, in alphabetical order."""
    words = re.findall(r"^\*\*(.+?)\*\*", (DOCS / "glossary.md").read_text("utf-8"), flags=re.MULTILINE)

    assert words == sorted(set(words))
