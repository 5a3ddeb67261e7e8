"""The text of a filter or an ordering to what it means: a tokenizer and a recursive descent."""

from __future__ import annotations

import math
import re
import warnings
from datetime import datetime
from typing import NamedTuple

from mlsdk.errors import QueryError
from mlsdk.query import evaluate
from mlsdk.query.fields import number, utc
from mlsdk.query.names import DATES, FLAGS, Path, check_path, clean_text
from mlsdk.query.tree import (
    Compare,
    In,
    IsNull,
    Leaf,
    Not,
    Order,
    Scalar,
    Tree,
    all_of,
    any_of,
    is_name_part,
    is_name_start,
    is_plain,
    path_text,
)

MAX_LENGTH = 10_000
"""Characters in a filter."""
MAX_DEPTH = 100
"""Parentheses and `not` inside each other."""
MAX_ORDER = 8
"""Names in an ordering."""

_KEYWORDS = {"and", "or", "not", "in", "like", "is", "null", "true", "false", "nan", "inf"}
_CONSTANTS: dict[str, Scalar] = {"true": True, "false": False, "nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_INFINITY = re.compile(r"([+-])inf\b", re.IGNORECASE)
_OPERATOR = re.compile(r"==|!=|<=|>=|[=<>~]")
_FOREIGN = {"&&": "and", "||": "or", "&": "and", "|": "or", "!": "not", "<>": "!="}
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", "'": "'", '"': '"'}
_DATE = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(:\d\d)?(?:\.(\d{1,9}))?)?\s*(?:([Zz])|([+-]\d\d):?(\d\d))?", re.ASCII
)


class Token(NamedTuple):
    """A word of a filter, and where it begins."""

    kind: str
    """`path`, `value`, a keyword, an operator, `(`, `)`, `,`, `-` or `end`."""
    at: int
    written: str
    value: Scalar | Path = ""


def parse(text: str, longest: int = MAX_LENGTH) -> Tree:
    """The tree of a filter.

    Args:
        text: the filter.
        longest: characters that it may have.

    Raises:
        QueryError: it cannot be understood; the message shows where and says what to write.

    Example: `parse("metrics.acc > 0.9 and params.lr < 0.1")`.
    """
    parser = _Parser(text, "filter", longest)
    tree = parser.any()
    if parser.token.kind != "end":
        raise parser.wrong(f"expected `and`, `or` or the end, not {parser.shown()}")
    return tree


def parse_order(text: str) -> Order:
    """What to order by: names separated by commas, a minus before one to turn it round.

    Raises:
        QueryError: it cannot be understood.

    Example: `parse_order("-metrics.acc, name")` is `((("metrics", "acc"), True), (("name",), False))`.
    """
    parser = _Parser(text, "ordering")
    order = [parser.direction()]
    while parser.took(","):
        order.append(parser.direction())
    if parser.token.kind != "end":
        raise parser.wrong(f"expected a comma or the end, not {parser.shown()}; descending is written -metrics.acc")
    if len(order) > MAX_ORDER:
        raise QueryError(f"an ordering by {len(order)} names; {MAX_ORDER} are the most")
    return tuple(order)


class _Parser:
    def __init__(self, text: str, what: str, longest: int = MAX_LENGTH) -> None:
        if not isinstance(text, str):
            raise QueryError(f"a {what} is text, as in 'metrics.acc', not {type(text).__name__}")
        if len(text) > longest:
            raise QueryError(f"a {what} of {len(text):,} characters; {longest:,} are the most")
        if not text.strip():
            raise QueryError(f"an empty {what}: leave it out to have every run, the newest first")
        self.text = text
        self.tokens = iter(_tokens(text))
        self.token = next(self.tokens)
        self.depth = 0

    def any(self) -> Tree:
        parts = [self.all()]
        while self.took("or"):
            parts.append(self.all())
        return any_of(*parts)

    def all(self) -> Tree:
        parts = [self.part()]
        while self.took("and"):
            parts.append(self.part())
        return all_of(*parts)

    def part(self) -> Tree:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.wrong(f"nested more than {MAX_DEPTH} deep; write the filter flatter")
        tree: Tree
        if self.took("not"):
            tree = Not(self.part())
        elif self.took("("):
            tree = self.any()
            if not self.took(")"):
                raise self.wrong(f"expected `and`, `or` or a closing parenthesis, not {self.shown()}")
        else:
            tree = self.comparison()
        self.depth -= 1
        return tree

    def comparison(self) -> Leaf:
        path = self.path()
        if self.took("is"):
            negated = self.took("not")
            if not self.took("null"):
                raise self.wrong(f"expected `null` after `is`, not {self.shown()}; equality is written =")
            return IsNull(path, negated)
        negated = self.took("not")
        if self.took("in"):
            return In(path, self.values(path), negated)
        if self.took("like"):
            return Compare(path, "not like" if negated else "like", self.pattern(path, "like"))
        if negated:
            raise self.wrong(f"expected `in` or `like` after `not`, not {self.shown()}")
        if self.took("~"):
            return Compare(path, "~", self.pattern(path, "~"))
        if self.token.kind in ("=", "!=", "<", "<=", ">", ">="):
            op = self.take().kind
            leaf = Compare(path, op, self.value(path))
            if self.token.kind in ("=", "!=", "<", "<=", ">", ">="):
                raise self.wrong("one comparison at a time: write `0.1 < x < 0.5` as `x > 0.1 and x < 0.5`")
            return leaf
        if path[0] in FLAGS:
            return Compare(path, "=", True)
        name = path_text(path)
        raise self.wrong(
            f"expected a comparison after {name}, not {self.shown()}: {name} = true, or {name} is not null"
        )

    def path(self) -> Path:
        token = self.token
        if token.kind == "path" and isinstance(token.value, tuple):
            path = check_path(token.value, self.text, token.at)
            self.take()
            return path
        if token.kind == "value":
            raise self.wrong(
                f"expected a name, not {self.shown()}; a comparison begins with the name: metrics.acc > 0.9"
            )
        raise self.wrong(f"expected a name, as in metrics.acc or status, not {self.shown()}")

    def direction(self) -> tuple[Path, bool]:
        descending = self.took("-")
        return self.path(), descending

    def values(self, path: Path) -> tuple[Scalar, ...]:
        if not self.took("("):
            raise self.wrong(f"expected a list in parentheses after `in`, not {self.shown()}: in (1, 2)")
        values = [self.value(path)]
        while self.took(","):
            if self.token.kind == ")":  # as Python writes a tuple of one
                break
            values.append(self.value(path))
        if not self.took(")"):
            raise self.wrong(f"expected a comma or a closing parenthesis, not {self.shown()}")
        return tuple(values)

    def value(self, path: Path) -> Scalar:
        token = self.token
        if token.kind == "null":
            raise self.wrong(f"nothing compares with null; write `{path_text(path)} is null` or `is not null`")
        if token.kind == "path":
            raise self.wrong(
                f"expected a value, not the name {token.written}; text stands in quotes: '{token.written}'"
            )
        if token.kind != "value" or isinstance(token.value, tuple):
            raise self.wrong(f"expected a number, text in quotes, true or false, not {self.shown()}")
        value = self._date(token.value) if path[0] in DATES else token.value
        self.take()
        return value

    def pattern(self, path: Path, op: str) -> str:
        if path[0] in DATES:
            raise self.wrong(f"{path[0]} is a date and {op} is for text; write {path[0]} >= '2026-01-31'")
        pattern = self.token.value
        if self.token.kind != "value" or not isinstance(pattern, str):
            raise self.wrong(f"expected a pattern in quotes after {op}, not {self.shown()}")
        if op == "~":
            self._check_expression(pattern)
        self.take()
        return pattern

    def _check_expression(self, pattern: str) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                evaluate.compiled(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            raise self.wrong(f"{pattern!r} is not a regular expression: {error}") from None

    def _date(self, value: Scalar) -> datetime:
        date = parse_date(value) if isinstance(value, str) else None
        if date is None:
            raise self.wrong(
                f"{self.shown()} is not a date; write '2026-01-31' or '2026-01-31T12:00:00+01:00' (or UTC)"
            )
        return date

    def took(self, kind: str) -> bool:
        if self.token.kind == kind:
            self.take()
            return True
        return False

    def take(self) -> Token:
        token = self.token
        self.token = next(self.tokens, token)
        return token

    def shown(self) -> str:
        return "the end" if self.token.kind == "end" else self.token.written

    def wrong(self, message: str) -> QueryError:
        return QueryError(message, self.text, self.token.at)


def parse_date(text: str) -> datetime | None:
    """An ISO 8601 date or datetime, UTC where it says nothing else; None where it is none. The same on every Python."""
    found = _DATE.fullmatch(text.strip())
    if not found:
        return None
    day, minutes, seconds, fraction, _zulu, hours_off, minutes_off = found.groups()
    if fraction and not seconds:
        return None
    time = f"{minutes or '00:00'}{seconds or ':00'}.{(fraction or '').ljust(6, '0')[:6]}"
    offset = f"{hours_off}:{minutes_off}" if hours_off else "+00:00"
    try:
        return utc(datetime.fromisoformat(f"{day}T{time}{offset}"))
    except ValueError:
        return None


def _tokens(text: str) -> list[Token]:
    tokens: list[Token] = []
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        token, at = _token(text, at)
        tokens.append(token)
    return [*tokens, Token("end", len(text), "")]


def _token(text: str, at: int) -> tuple[Token, int]:
    char = text[at]
    if char in "(),":
        return Token(char, at, char), at + 1
    if char in "'\"":
        return _string(text, at)
    if char == "`" or (is_name_start(char) and not char.isdigit()):
        return _name(text, at)
    if text[at : at + 2] not in _FOREIGN and (found := _OPERATOR.match(text, at)):
        return Token("=" if found[0] == "==" else found[0], at, found[0]), found.end()
    if found := _INFINITY.match(text, at):
        return Token("value", at, found[0], math.copysign(math.inf, 1 if found[1] == "+" else -1)), found.end()
    if found := _NUMBER.match(text, at):
        return _number(text, at, found[0])
    if char == "-":
        return Token("-", at, char), at + 1
    for foreign, ours in _FOREIGN.items():
        if text.startswith(foreign, at):
            raise QueryError(f"write {ours} instead of {foreign}", text, at)
    raise QueryError(f"{char!r} means nothing here; odd names stand in backticks: params.`odd name`", text, at)


def _number(text: str, at: int, written: str) -> tuple[Token, int]:
    end = at + len(written)
    if end < len(text) and (is_name_part(text[end]) or text[end] == "."):
        raise QueryError(f"{text[at : end + 1]!r} is not a number; text stands in quotes, as in '1.2.3'", text, at)
    digits = written.lstrip("+-0")
    # Beyond 64 bits an integer counts as its float: no need to build one of 10,000 digits.
    whole = set(written.lstrip("+-")) <= set("0123456789") and len(digits) < 20
    value = number(int(written)) if whole else float(written)
    return Token("value", at, written, value), end


def _string(text: str, at: int) -> tuple[Token, int]:
    r"""A literal in quotes. A backslash stays before all but `\ ' " n r t`, so that patterns read as usual."""
    quote, chars, end = text[at], [], at + 1
    while end < len(text) and text[end] != quote:
        if text[end] == "\\" and end + 1 < len(text):
            chars.append(_ESCAPES.get(text[end + 1], text[end : end + 2]))
            end += 2
        else:
            chars.append(text[end])
            end += 1
    if end >= len(text):
        raise QueryError(f"this text has no closing {quote}", text, at)
    return Token("value", at, text[at : end + 1], clean_text("".join(chars))), end + 1


def _name(text: str, at: int) -> tuple[Token, int]:
    segments, end, quoted = [], at, False
    while True:
        if text.startswith("`", end):
            segment, end = _quoted(text, end)
            quoted = True
        else:
            begin = end
            while end < len(text) and is_name_part(text[end]):
                end += 1
            segment = text[begin:end]
            if not is_plain(segment):
                raise QueryError(
                    "expected a name after the dot; odd ones stand in backticks: params.`a b`", text, begin
                )
        segments.append(segment)
        if not text.startswith(".", end):
            break
        end += 1
    written = text[at:end]
    word = written.lower()
    if len(segments) == 1 and not quoted and word in _KEYWORDS:
        kind = "value" if word in _CONSTANTS else word
        return Token(kind, at, written, _CONSTANTS.get(word, word)), end
    return Token("path", at, written, tuple(map(clean_text, segments))), end


def _quoted(text: str, at: int) -> tuple[str, int]:
    chars, end = [], at + 1
    while end < len(text):
        if text[end] != "`":
            chars.append(text[end])
            end += 1
        elif text.startswith("``", end):
            chars.append("`")
            end += 2
        else:
            return "".join(chars), end + 1
    raise QueryError("this name has no closing backtick", text, at)
