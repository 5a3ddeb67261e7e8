"""The normalised hash of a piece of Python: what changes it and what does not."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from mlsdk.capture.functions.pieces import read
from mlsdk.capture.functions.syntax import canonical, digest
from tests.conftest import ROOT, require


def test_published_hashes() -> None:
    """The hashes in the documentation are what every supported Python computes."""
    page = (ROOT / "docs" / "functions.md").read_text("utf-8")
    rows = re.findall(r"^\| `(.+)` \| `([0-9a-f]{16})` \|$", page, re.MULTILINE)

    assert len(rows) == 5
    assert [digest(*ast.parse(source).body) for source, _ in rows] == [expected for _, expected in rows]


def other_pythons() -> list[str]:
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    names = [f"3.{minor}" for minor in range(10, 16) if f"3.{minor}" != here]
    found = [path for name in names for path in Path.home().glob(f".pyenv/versions/{name}.*/bin/python")]
    return [str(path) for path in found]


def test_every_python_computes_the_same() -> None:
    """Hashes of this package's own sources are the same on each Python that is here."""
    pythons = other_pythons()
    require(pythons, "another Python")
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "import ast, glob, hashlib\nfrom mlsdk.capture.functions.syntax import digest\n"
        f"files = sorted(glob.glob({str(ROOT / 'mlsdk' / 'capture' / 'functions' / '*.py')!r}))\n"
        "print([digest(ast.parse(open(file, 'rb').read())) for file in files], "
        'digest(ast.parse(\'f"a{x=}b{y:>{w}}{z:}" "c"\')))'
    )
    seen = {
        subprocess.run([path, "-c", code], capture_output=True, check=True).stdout
        for path in [sys.executable, *pythons]
    }

    assert len(seen) == 1


def test_formatting_changes_no_piece() -> None:
    """What Python itself writes for the syntax trees of real modules has the same pieces."""
    for path in (ROOT / "mlsdk" / "capture" / "functions").glob("*.py"):
        tree = ast.parse(path.read_bytes())
        again = ast.parse(ast.unparse(tree).replace("\n", "  # one\n\n"))

        assert read([tree], "mlsdk.capture").pieces == read([again], "mlsdk.capture").pieces, path


_NAMES = st.sampled_from(["a", "b", "x", "Y"])
_LEAVES = st.one_of(
    st.integers(0, 9).map(repr),
    st.floats(0, 9).map(repr),
    st.text(max_size=3).map(repr),
    st.binary(max_size=2).map(repr),
    _NAMES,
)
_EXPRESSIONS = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+ - * / // % ** and or == < in is".split()), inner).map(
            lambda t: f"({' '.join(t)})"
        ),
        st.tuples(_NAMES, inner).map(lambda t: f"{t[0]}({t[1]})"),
        inner.map(lambda e: f"[{e} for x in b if x]"),
        inner.map(lambda e: f"(lambda x, y=1: {e})"),
        inner.map(lambda e: f"{{'k': {e}}}"),
    ),
    max_leaves=6,
)
_FUNCTIONS = st.lists(
    st.tuples(_EXPRESSIONS, _EXPRESSIONS).map(
        lambda t: f"(x, y={t[0]}):\n    'doc'\n    for z in {t[1]}:\n        x += z\n    return {t[0]}\n"
    ),
    min_size=1,
    max_size=5,
)


def _module(bodies: list[str]) -> str:
    return "\n".join(f"def f{number}{body}" for number, body in enumerate(bodies))


@given(_FUNCTIONS, st.data())
def test_any_formatting_changes_nothing(bodies: list[str], data: st.DataObject) -> None:
    """Unparsing, comments and blank lines, in any order and number, leave every hash as it is."""
    source = _module(bodies)
    before = read([ast.parse(source)], "").pieces
    for change in data.draw(st.lists(st.sampled_from(["unparse", "comment", "blank", "doc"]), max_size=5)):
        if change == "unparse":
            source = ast.unparse(ast.parse(source))
        lines = source.split("\n")
        place = data.draw(st.integers(0, len(lines)))
        if change == "doc":
            source = source.replace("'doc'", '"""Another\n    one."""')
        elif change != "unparse" and '"""' not in source:
            lines.insert(place, "  # a comment" if change == "comment" else "")
            source = "\n".join(lines)

    assert read([ast.parse(source)], "").pieces == before


@given(_FUNCTIONS, st.data())
def test_any_operator_or_constant_counts(bodies: list[str], data: st.DataObject) -> None:
    """Another operator or constant changes the hash of the one function that it stands in."""
    tree = ast.parse(_module(bodies))
    before = read([tree], "").pieces
    number = data.draw(st.integers(0, len(bodies) - 1))
    nodes = [
        node
        for node in ast.walk(tree.body[number])
        if isinstance(node, ast.BinOp | ast.AugAssign)
        or (isinstance(node, ast.Constant) and node.value not in {"doc", "k"})
    ]
    node = data.draw(st.sampled_from(nodes))
    if isinstance(node, ast.Constant):
        node.value = data.draw(st.sampled_from([17, 1.75, "other", b"other", None]))
    else:
        node.op = ast.LShift()
    after = read([tree], "").pieces

    assert [name for name in before if before[name].digest != after[name].digest] == [f"f{number}"]


def test_canonical_text_tells_apart_what_prints_alike() -> None:
    """1, 1.0, True, '1' and b'1' differ; so do names, and long integers can be written."""
    texts = {
        canonical(ast.parse(source)) for source in ("1", "1.0", "True", "b'1'", "one", "-0.0", "0.0", "0x" + "f" * 5000)
    }

    assert len(texts) == 8
