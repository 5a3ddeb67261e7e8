"""What the documentation shows is what happens: blocks, sessions, examples, links. tests/pages.py has the notation."""

from __future__ import annotations

import ast
import contextlib
import doctest
import importlib.util
import io
import re
import shlex
import sys
from pathlib import Path

import pytest

from mlsdk.cli import main
from tests import pages
from tests.conftest import ROOT

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
EXAMPLES = sorted((ROOT / "examples").glob("[0-9][0-9]_*.py"))
MODULES = sorted((ROOT / "mlsdk").rglob("*.py"))
FRAGMENTS = [path for path in sorted((DOCS / "changelog.d").glob("*")) if path.name != "README.md"]


def _short(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _has_python(path: Path) -> bool:
    return any(block.info.split()[:1] == ["python"] for block in pages.blocks(path.read_text("utf-8")))


def _failing_commands(text: str) -> list[str]:
    """Of the `mlsdk` commands that a page shows, those that do not answer well on the runs that its Python has made."""
    lines = [line for block in pages.blocks(text) if block.info == "sh" for line in block.lines]
    commands = [shlex.split(line)[1:] for line in lines if line.startswith("mlsdk ")]
    failing = [] if commands else ["no command is shown"]
    for command in commands:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            code = main(command)
        failing += [f"{command}\n{printed.getvalue()}"] if code or not printed.getvalue().strip() else []
    return failing


@pytest.mark.parametrize("page", [path for path in PAGES if _has_python(path)], ids=_short)
def test_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every Python block of a page runs, after those above it, and prints what the page shows.

    The commands that the tutorial shows answer well on its runs.
    """
    text = page.read_text("utf-8")
    name = page.stem.replace("-", "_").lower()
    program = tmp_path / f"{name}{'_page' * (name in sys.stdlib_module_names)}.py"  # no page stands for a module
    program.write_text(pages.script(text, page.name), "utf-8")
    empty = tmp_path / "empty"
    empty.mkdir()

    printed = pages.outputs(pages.run(program, empty))
    monkeypatch.chdir(empty)
    wrong = _failing_commands(text) if page.name == "tutorial.md" else []
    for block in pages.blocks(text):
        shown = "" if block.is_session else block.shown
        if block.info == "python" and shown is not None:
            difference = pages.difference(shown, printed[block.line])
            wrong += [f"{page.name}:{block.line}\n{difference}"] if difference else []

    assert not wrong, "\n".join(wrong)


def test_blocks_not_run_say_why() -> None:
    """A block that is not run is Python all the same, and its first line says why it is not."""
    wrong = []
    for page in PAGES:
        for block in pages.blocks(page.read_text("utf-8")):
            kind, *options = block.info.split() or [""]
            if kind == "python" and options:
                compile("\n".join(block.lines), f"{page.name}:{block.line}", "exec")
                if options != ["no-run"] or not re.match(r"# not run: \S", block.lines[0]):
                    wrong.append(f"{_short(page)}:{block.line}")

    assert wrong == [], "`python no-run` is all there is, and the first line says why: `# not run: ...`"


def test_links_lead_somewhere() -> None:
    """Every link from a page to a file of the repository, or to a heading in it, leads there."""
    broken = []
    for page in PAGES:
        for link in pages.links(page.read_text("utf-8")):
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            if not target.exists() or (anchor and anchor not in pages.headings(target.read_text("utf-8"))):
                broken.append(f"{_short(page)}: {link}")

    assert broken == []


def test_every_page_is_linked() -> None:
    """Every page under docs/ can be reached by links from the README."""
    reached: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md" or not page.exists():
            continue
        reached.add(page)
        targets = [link.partition("#")[0] for link in pages.links(page.read_text("utf-8"))]
        waiting += [(page.parent / target).resolve() for target in targets if target]

    assert [_short(page) for page in PAGES if page not in reached and page not in FRAGMENTS] == []


def test_examples_are_there() -> None:
    """The examples are numbered from 01, without a gap."""
    assert EXAMPLES
    assert [int(path.name[:2]) for path in EXAMPLES] == list(range(1, len(EXAMPLES) + 1))


_NO_TORCH = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is in no extra: decision 0001")


@pytest.mark.slow
@pytest.mark.parametrize(
    "example",
    [pytest.param(path, marks=[_NO_TORCH] if "torch" in path.name else []) for path in EXAMPLES],
    ids=_short,
)
def test_example_prints_what_it_shows(example: Path, tmp_path: Path) -> None:
    """An example, run in an empty folder, prints what its docstring shows."""
    docstring = ast.get_docstring(ast.parse(example.read_text("utf-8"))) or ""
    difference = pages.difference(pages.shown_by_example(docstring), pages.run(example, tmp_path))

    assert not difference, f"{example.name}\n{difference}"


@pytest.mark.parametrize("path", [path for path in MODULES if ">>> " in path.read_text("utf-8")], ids=_module)
def test_docstring_sessions(path: Path) -> None:
    """Every `>>>` session in a docstring of the package happens as shown."""
    failed, _ = doctest.testmod(importlib.import_module(_module(path)), optionflags=pages.FLAGS)

    assert failed == 0


def test_changelog_fragments() -> None:
    """A changelog fragment has the name that the release reads, and is one sentence."""
    texts = {fragment: fragment.read_text("utf-8").strip() for fragment in FRAGMENTS}

    assert [one for one in texts if not re.fullmatch(r"(\d+|\+[\w-]+)\.(add|change|fix|remove)\.md", one.name)] == []
    assert [one for one, text in texts.items() if not text.endswith(".") or "\n\n" in text] == []


def test_readme_commands_are_single_lines() -> None:
    """The README's two commands are one line each, and `.ci/run` runs the second as it stands."""
    commands = [
        line for line in (ROOT / "README.md").read_text("utf-8").splitlines() if line.startswith("python3 -m venv ")
    ]

    assert len(commands) == 2
    assert "examples/01_quickstart.py" in commands[0]
    assert commands[1].endswith("-m pytest")


# The notation itself


def test_shown_output_is_read_from_a_block() -> None:
    """Output is shown at a line's end and below a comment of its own; other comments are not output."""
    block = pages.blocks(
        "# T\n```python\nprint(1)  # prints: 1\n# why\nprint('a\\n b')\n# prints:\n# a\n#  b\nx = 1\n# no\n```\n"
    )[0]

    assert block.shown == "1\n\n a\n  b"
    assert pages.difference(block.shown, "1\na\n b\n") == ""


def test_wrong_output_is_noticed(tmp_path: Path) -> None:
    """A page that shows something else than it prints fails, in a block as in a session; `...` stands for anything."""
    first = "```python\nx = 3\nprint(x, 7.25)  # prints: 3 ...\n```\n"
    session = "```python\n>>> x\n4\n```\n"
    last = "```python\nprint(x)  # prints: 4\n```\n"
    page = "# Title\n" + first + session + last
    program = tmp_path / "page.py"
    program.write_text(pages.script(page, "page.md"), "utf-8")
    printed = pages.outputs(pages.run(program, tmp_path))
    right, wrong, wrong_too = pages.blocks(page)

    assert pages.difference(right.shown or "", printed[right.line]) == ""
    assert "Expected:\n    4\nGot:\n    3" in printed[wrong.line]
    assert pages.difference(wrong_too.shown or "", printed[wrong_too.line]) != ""


def test_example_must_show_something() -> None:
    """An example without shown output is refused."""
    assert pages.shown_by_example("Title.\n\nIt prints::\n\n    a\n      b\n") == "a\n  b"
    with pytest.raises(ValueError, match="prints::"):
        pages.shown_by_example("Title.")
