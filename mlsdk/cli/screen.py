"""Writing to a terminal or a pipe: the same words in both; colours by rich, in a terminal, where rich is installed.

Everything that is shown goes through `clean`: names and recorded output may hold what would steer a terminal.
"""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console

Span = str | tuple[str, str]
"""Text, or text and its style: `bold`, `dim`, `green`, …"""

WIDTH = 120
"""Columns where there is no terminal that knows better."""

STATUS_STYLES = {
    "running": "cyan",
    "finished": "green",
    "failed": "red",
    "interrupted": "yellow",
    "killed": "red",
    "lost": "yellow",
}


def clean(text: object) -> str:
    """One line without anything that steers a terminal: white space becomes a blank, other control characters `�`."""
    plain = str(text)
    if plain.isascii() and plain.isprintable():
        return plain
    return "".join(_shown(character) for character in plain)


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    return " " if character.isspace() else "�"


def clean_lines(text: str) -> str:
    """Several lines, each clean; tabs become four blanks."""
    return "\n".join(clean(line) for line in text.replace("\r\n", "\n").replace("\t", "    ").split("\n"))


def width_of(text: str) -> int:
    """Columns that a clean text takes: wide letters two, combining marks none."""
    if text.isascii():
        return len(text)
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def fitted(text: str, width: int) -> str:
    """A clean text, cut to so many columns; `…` says that it was cut."""
    if width_of(text) <= width:
        return text
    kept, used = [], 0
    for character in text:
        used += _columns(character)
        if used > width - 1:
            break
        kept.append(character)
    return "".join(kept) + "…"


def padded(text: str, width: int, *, right: bool = False) -> str:
    """A text, filled with blanks to so many columns."""
    blanks = " " * (width - width_of(text))
    return blanks + text if right else text + blanks


class Screen:
    """Where a command writes.

    Attributes:
        width: columns that a line may take.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self.is_terminal = self._stream.isatty()
        self.width = _terminal_width(self._stream) if self.is_terminal else _given_width() or WIDTH
        self._console = _console(self._stream, self.width) if self.is_terminal else None

    def line(self, *spans: Span) -> None:
        """Write a line."""
        pairs = [(span, "") if isinstance(span, str) else span for span in spans]
        pairs = [(clean(text), style) for text, style in pairs]
        if self._console is None:
            print("".join(text for text, _ in pairs).rstrip(), file=self._stream)
            return
        from rich.text import Text

        self._console.print(Text.assemble(*pairs, no_wrap=True, end=""), soft_wrap=True, highlight=False)

    def flush(self) -> None:
        """Let readers see what was written."""
        self._stream.flush()

    def lines(self, text: str, style: str = "", indent: str = "") -> None:
        """Write a text of several lines."""
        for line in clean_lines(text).split("\n"):
            self.line(indent, (line, style))

    def heading(self, text: str) -> None:
        """Write an empty line and a heading."""
        self.line()
        self.line((text, "bold"))

    def table(
        self,
        head: Sequence[str],
        rows: Iterable[Sequence[Span]],
        *,
        right: Iterable[int] = (),
        indent: str = "",
        rule: bool = True,
    ) -> None:
        """Write a table with aligned columns.

        Args:
            head: names of the columns; empty for none.
            rows: cells of each row.
            right: indices of columns that end flush.
            indent: what each line begins with.
            rule: whether a line is drawn under the names.
        """
        aligned = set(right)
        cells = [
            [(clean(cell), "") if isinstance(cell, str) else (clean(cell[0]), cell[1]) for cell in row] for row in rows
        ]
        widths = [
            max([width_of(row[i][0]) for row in cells] + ([width_of(clean(head[i]))] if head else []), default=0)
            for i in range(len(head) or max(map(len, cells), default=0))
        ]
        if head:
            named = [
                padded(clean(name), size, right=i in aligned)
                for i, (name, size) in enumerate(zip(head, widths, strict=True))
            ]
            self.line(indent, ("  ".join(named), "bold"))
            if rule:
                self.line(indent, ("  ".join("─" * size for size in widths), "dim"))
        for row in cells:
            spans: list[Span] = [indent]
            for i, (text, style) in enumerate(row):
                spans += [("  " if i else ""), (padded(text, widths[i], right=i in aligned), style)]
            self.line(*spans)


def _given_width() -> int | None:
    text = os.environ.get("COLUMNS", "")
    return max(int(text), 40) if text.isdigit() and int(text) else None


def _terminal_width(stream: TextIO) -> int:
    try:
        columns = os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        columns = 0
    return _given_width() or max(columns or 80, 40)


def _console(stream: TextIO, width: int) -> Console | None:
    try:
        from rich.console import Console
    except ImportError:
        return None
    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False)


def unbreakable(stream: object) -> None:
    """Let a stream whose encoding lacks a character write `?` instead of raising."""
    encoding = str(getattr(stream, "encoding", "") or "").lower().replace("-", "")
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None and encoding != "utf8":
        reconfigure(errors="replace")
