"""The text of filters and orderings, and what is said about a wrong one."""

from __future__ import annotations

import math
import warnings
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mlsdk.errors import QueryError
from mlsdk.query.names import join_key, split_key, suggest
from mlsdk.query.parse import parse, parse_order
from mlsdk.query.tree import And, Compare, In, IsNull, Not, Or, Tree, all_of, hides_deleted, text
from tests.conftest import ROOT
from tests.pages import blocks
from tests.strategies import trees

ACC = ("metrics", "acc")
LR = ("params", "lr")


@pytest.mark.parametrize(
    ("written", "tree"),
    [
        ("metrics.acc > 0.9", Compare(ACC, ">", 0.9)),
        ("metrics.acc.last>0.9", Compare(ACC, ">", 0.9)),
        ("metrics.acc.max_step = 3", Compare((*ACC, "max_step"), "=", 3)),
        ("metrics.`acc.min` == 1", Compare(("metrics", "acc.min"), "=", 1)),
        ("metrics.train/loss-2:b<-1", Compare(("metrics", "train/loss-2:b"), "<", -1)),
        ("params.größe != 'ü'", Compare(("params", "größe"), "!=", "ü")),
        ("params.layers.0 = 1", Compare(("params", "layers", "0"), "=", 1)),
        ("params.in = 1", Compare(("params", "in"), "=", 1)),
        ("params.`a``b.c` = 1", Compare(("params", "a`b.c"), "=", 1)),
        ("deleted", Compare(("deleted",), "=", value=True)),
        ("NOT deleted", Not(Compare(("deleted",), "=", value=True))),
        ("status IN ('failed', \"lost\")", In(("status",), ("failed", "lost"))),
        ("name not in ('a',)", In(("name",), ("a",), negated=True)),
        ("name like 'a%'", Compare(("name",), "like", "a%")),
        ("name Not Like 'a\\%'", Compare(("name",), "not like", "a\\%")),
        (r"name ~ '\d+'", Compare(("name",), "~", r"\d+")),
        ("note is null", IsNull(("note",))),
        ("note IS NOT NULL", IsNull(("note",), negated=True)),
        (r"note = 'it\'s\n\\'", Compare(("note",), "=", "it's\n\\")),
        (
            "params.a = TRUE and params.b = 1e3",
            And((Compare(("params", "a"), "=", value=True), Compare(("params", "b"), "=", 1e3))),
        ),
        ("params.lr = -inf or params.lr = .5", Or((Compare(LR, "=", -math.inf), Compare(LR, "=", 0.5)))),
        ("params.lr = 9223372036854775807", Compare(LR, "=", 2**63 - 1)),
        ("params.lr = 9223372036854775808", Compare(LR, "=", 2.0**63)),
    ],
)
def test_each_form(written: str, tree: Tree) -> None:
    """Every form of the language means what its documentation says."""
    parsed = parse(written)

    assert parsed == tree
    assert repr(parsed) == repr(tree)


def test_precedence() -> None:
    """`not` binds closest, then `and`, then `or`; parentheses change it, and needless ones leave nothing behind."""
    a, b, c = (Compare(("params", name), "=", 1) for name in "abc")

    assert parse("not params.a = 1 and params.b = 1 or params.c = 1") == Or((And((Not(a), b)), c))
    assert parse("not (params.a = 1 and (params.b = 1 or params.c = 1))") == Not(And((a, Or((b, c)))))
    assert parse("((params.a = 1) and (params.b = 1 and params.c = 1))") == And((a, b, c)) == all_of(a, all_of(b, c))


@pytest.mark.parametrize(
    ("written", "hours"),
    [
        ("2026-01-31", 0),
        ("2026-01-31T12:00", 12),
        ("2026-01-31 12:00:00.000", 12),
        ("2026-01-31T12:00:00Z", 12),
        ("2026-01-31T12:00:00+02:00", 10),
        ("2026-01-31T12:00:00.000000000-0200", 14),
    ],
)
def test_dates(written: str, hours: int) -> None:
    """A text compared with a date is read as ISO 8601, in UTC unless it says otherwise; elsewhere it stays text."""
    when = datetime(2026, 1, 31, tzinfo=timezone.utc) + timedelta(hours=hours)

    assert parse(f"started_at >= '{written}'") == Compare(("started_at",), ">=", when)
    assert parse(f"ended_at in ('{written}')") == In(("ended_at",), (when,))
    assert parse(f"params.day = '{written}'") == Compare(("params", "day"), "=", written)


@pytest.mark.parametrize(
    ("written", "position", "hint"),
    [
        ("metric.acc > 1", 0, "did you mean metrics.acc?"),
        ("status = 'x' and param.lr < 1", 17, "did you mean params.lr?"),
        ("environment.python = '3'", 0, "did you mean env.python?"),
        ("stat = 1", 0, "did you mean status?"),
        ("acc > 1", 0, "params.acc or metrics.acc"),
        ("metrics > 1", 0, "metrics.something"),
        ("name.first = 'x'", 0, "write name alone"),
        ("metrics.x.foo > 1", 0, "use metrics.`x.foo` if the name has a dot"),
        ("metrics.x.mim > 1", 0, "did you mean min?"),
        ("metrics.x.y.max > 1", 0, "metrics.`x.y.max`"),
        ("status = finished", 9, "'finished'"),
        ("params.x = null", 11, "params.x is null"),
        ("params.x is 3", 12, "null"),
        ("params.x", 8, "params.x is not null"),
        ("params.x = ", 11, "the end"),
        ("0.5 < params.x", 0, "begins with the name"),
        ("params.x > 0.1 < 0.5", 15, "and"),
        ("params.x = 1 params.y = 2", 13, "and"),
        ("params.x = 1 && params.y = 2", 13, "write and"),
        ("params.x <> 1", 9, "write !="),
        ("params.x = 'open", 11, "closing '"),
        ("params.`open = 1", 7, "backtick"),
        ("params. = 1", 7, "after the dot"),
        ("params.x = 1.2.3", 11, "not a number"),
        ("params.x = 10k", 11, "not a number"),
        ("params.x # 1", 9, "backticks"),
        ("(params.x = 1", 13, "closing parenthesis"),
        ("params.x = 1)", 12, "the end"),
        ("params.x in 1", 12, "parentheses"),
        ("params.x in ()", 13, "number"),
        ("params.x not 1", 13, "`in` or `like`"),
        ("name ~ '('", 7, "regular expression"),
        ("name ~ 'a{99999999999999}'", 7, "regular expression"),
        ("name like 3", 10, "quotes"),
        ("started_at > 'yesterday'", 13, "2026-01-31"),
        ("started_at > '2026-13-01'", 13, "2026-01-31"),
        ("started_at > 3", 13, "2026-01-31"),
        ("started_at like '2026%'", 16, "is a date"),
        ("and", 0, "name"),
        ("", None, "leave it out"),
        (" \n ", None, "leave it out"),
    ],
)
def test_what_is_wrong_and_where(written: str, position: int | None, hint: str) -> None:
    """A filter that cannot be understood raises, with the place and with what to write instead."""
    with pytest.raises(QueryError) as caught:
        parse(written)

    assert hint in str(caught.value)
    assert caught.value.position == position


@given(trees)
@example(Not(Not(Compare(ACC, "=", math.nan))))
def test_round_trip(tree: Tree) -> None:
    """The text of a tree means that tree."""
    again = parse(text(tree))

    assert text(again) == text(tree)
    assert repr(again) == repr(tree)


@given(st.text(alphabet="()'\"`.\\ <>=!~,-+1eanotrius\0ü", max_size=40) | st.text(max_size=40))
def test_any_text(written: str) -> None:
    """Whatever is written, it is a filter or a QueryError, and nothing else."""
    try:
        tree = parse(written)
    except QueryError as error:
        assert error.position is None or 0 <= error.position <= len(written)  # noqa: PT017
    else:
        assert parse(text(tree)) == tree or "nan" in written.lower()


@pytest.mark.parametrize(
    "hostile", ["(" * 5000, "not " * 2000 + "deleted", "(" * 200 + "deleted" + ")" * 200, "a" * 10_001]
)
def test_deep_and_long(hostile: str) -> None:
    """What is nested or long without end is refused, not followed."""
    with pytest.raises(QueryError, match=r"most|deep"):
        parse(hostile)


def test_as_deep_as_allowed() -> None:
    """A hundred levels are fine, and so is a number of thousands of digits."""
    assert parse("(" * 99 + "deleted" + ")" * 99) == parse("deleted")
    assert parse("params.x < " + "9" * 9000) == Compare(("params", "x"), "<", math.inf)


def test_expressions_that_warn() -> None:
    """A regular expression that Python warns about is accepted without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")

        assert parse("name ~ '[[a]b'") == Compare(("name",), "~", "[[a]b")


def test_order() -> None:
    """An ordering is names, each with a minus when it is turned round."""
    assert parse_order("-metrics.acc, name") == ((ACC, True), (("name",), False))
    assert parse_order("- metrics.`a.b`.min") == ((("metrics", "a.b", "min"), True),)


@pytest.mark.parametrize(
    "written", ["", ",", "name,", "name desc", "metric.acc", "-3", "name = 3", "metrics", ",".join(["id"] * 9)]
)
def test_wrong_order(written: str) -> None:
    """An ordering that cannot be understood raises."""
    with pytest.raises(QueryError):
        parse_order(written)


@given(st.lists(st.text(alphabet="ab.\\`ü"), min_size=1, max_size=4).map(tuple))
@example(("", "", ""))
def test_keys(path: tuple[str, ...]) -> None:
    """A path and its key are one to one, whatever dots and backslashes the names have."""
    assert split_key(join_key(path)) == path


def test_documented_examples() -> None:
    """Every filter and ordering that the documentation shows can be written so."""
    page = (ROOT / "docs" / "queries.md").read_text("utf-8")
    shown = {block.info: block.lines for block in reversed(blocks(page))}
    filters = [line for block in blocks(page) if block.info == "text" for line in block.lines]

    assert len([parse(line) for line in filters]) > 15
    assert len([parse_order(line) for line in shown["order"]]) == 3


def test_suggest() -> None:
    """The nearest known names come first, and none where none is near."""
    assert suggest("metric", ["params", "metrics"]) == ["metrics"]
    assert suggest("zzz", ["params", "metrics"]) == []


def test_deleted_runs_are_hidden() -> None:
    """Deleted runs are in an answer only when the filter speaks of them."""
    assert hides_deleted(None)
    assert hides_deleted(parse("status = 'failed'"))
    assert not hides_deleted(parse("status = 'failed' and not (note is null or deleted)"))
