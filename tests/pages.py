"""Documentation as programs: pages and examples are run as a reader would run them, and what they show is compared.

In a page every ```` ```python ```` block runs, in order and in one namespace; the page becomes one script whose lines
have the same numbers as the page's. Shown output stands after `# prints:`, at the end of a line or on comment lines
below it, or is a `>>>` session. ```` ```python no-run ```` is only compiled, and its first line says why:
`# not run: needs a GPU`.

In an example the docstring ends in an indented block after a line that ends in `prints::`.

`...` stands for anything, and white space is compared by words, as in doctest.
"""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
MARK = "\x1e"
TIME_LIMIT_S = 110


class Block(NamedTuple):
    """A fenced block: the number of its opening line, what follows ```` ``` ```` there, and its lines."""

    line: int
    info: str
    lines: list[str]

    @property
    def is_session(self) -> bool:
        """Whether it is a `>>>` session."""
        return any(line.lstrip().startswith(">>> ") for line in self.lines)

    @property
    def shown(self) -> str | None:
        """The output that the block says it prints; None if it does not say."""
        shown: list[str] | None = None
        below = False
        for line in self.lines:
            mark = re.search(r"# prints:(.*)$", line)
            if mark:
                shown = (shown or []) + [mark[1].strip()]
                below = line.lstrip().startswith("#")
            elif below and shown is not None and line.startswith("#"):
                shown.append(line[1:])
            else:
                below = False
        return None if shown is None else "\n".join(shown)


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page of Markdown."""
    found: list[Block] = []
    open_at: int | None = None
    lines = page.splitlines()
    for number, line in enumerate(lines, 1):
        if line.startswith("```"):
            if open_at is None:
                open_at = number
            else:
                found.append(Block(open_at, lines[open_at - 1][3:].strip(), lines[open_at : number - 1]))
                open_at = None
    if open_at is not None:
        message = f"the block opened in line {open_at} is not closed"
        raise ValueError(message)
    return found


def script(page: str, name: str) -> str:
    """The page as a program that prints a mark and the line number before each block's output."""
    lines = [""] * len(page.splitlines())
    lines[0] = "import doctest"
    for block in blocks(page):
        if block.info != "python":
            continue
        announce = f"print('\\n{MARK}{block.line}', flush=True)"
        if block.is_session:
            text = textwrap.dedent("\n".join(block.lines)) + "\n"
            test = f"doctest.DocTestParser().get_doctest({text!r}, globals(), {name!r}, {name!r}, {block.line})"
            announce += f"; doctest.DocTestRunner(optionflags={FLAGS}).run({test}, clear_globs=False)"
        else:
            lines[block.line : block.line + len(block.lines)] = block.lines
        lines[block.line - 1] = announce
    return "\n".join(lines) + "\n"


def run(file: Path, cwd: Path) -> str:
    """What a script prints, run in a folder with no setting of mlsdk; an exception fails with its traceback."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLSDK_")}
    environment |= {
        "PYTHONPATH": str(Path(__file__).resolve().parent.parent),
        "PYTHONWARNINGS": "default",
        "COLUMNS": "120",
        "OMP_NUM_THREADS": "1",  # threads of BLAS that wait for each other take the processors from the other tests
    }
    done = subprocess.run(
        [sys.executable, str(file)],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, f"{file.name} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def outputs(printed: str) -> dict[int, str]:
    """The output of a page's script by the line of the block that printed it."""
    parts = printed.split(f"\n{MARK}")[1:]
    return {int(number): output for number, _, output in (part.partition("\n") for part in parts)}


def shown_by_example(docstring: str) -> str:
    """The output that an example's docstring shows: the indented block after `prints::`, up to the docstring's end."""
    _, mark, shown = docstring.partition("prints::\n")
    if not mark or not shown.strip():
        message = "an example's docstring ends in a line with `prints::` and, indented below, what it prints"
        raise ValueError(message)
    return textwrap.dedent(shown).strip()


def difference(shown: str, printed: str) -> str:
    """Empty if the output is the one that is shown, the two otherwise."""
    want, got = shown.strip() + "\n", printed.strip() + "\n"
    if doctest.OutputChecker().check_output(want, got, FLAGS):
        return ""
    return f"shown:\n{textwrap.indent(want, '    ')}printed:\n{textwrap.indent(got, '    ')}"


def headings(page: str) -> set[str]:
    """The anchors of a page: its headings as GitHub writes them."""
    prose = re.sub(r"^```.*?^```", "", page, flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ +(.+?) *$", prose, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def links(page: str) -> list[str]:
    """The targets of a page's links that lead to other files here, or to a heading."""
    prose = re.sub(r"^```.*?^```", "", page, flags=re.MULTILINE | re.DOTALL)
    prose = re.sub(r"`[^`\n]*`", "", prose)
    return [target for target in re.findall(r"\]\(([^)\s]+)\)", prose) if not re.match(r"[a-z]+:", target)]
