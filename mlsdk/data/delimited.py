r"""CSV and TSV files as tables, by rules of our own that hold whichever parser is installed.

* Text is UTF-8 (a byte order mark is skipped); a file that is not valid UTF-8 is read as Latin-1. A zero byte: no text.
* Fields, quotes and line ends are those of RFC 4180 (`\n` and `\r` end a line too); the first line is the head; a
  line with nothing on it is no row. Each row has as many fields as the head, otherwise the file is no table.
* An empty field is missing, quoted or not. Nothing else is: `NA`, `null` and `-` are text.
* The type of a column is the first of these that fits all its values, over the whole file: whole numbers (`0`, `-12`,
  of any size; no plus sign, no leading zeros, so `007` is text), numbers (`1.5`, `.5`, `1e-3`, `nan`, `inf`; exactly
  the nearest 64-bit float), `true`/`false` (also `True`, `TRUE`), ISO 8601 dates, times without a zone, times with
  one; else text.

The file is read twice: for the types, then for the values. Arrow reads it where it is installed and the `csv` module
otherwise; both are given the same patterns, and what Arrow cannot read is left to the module.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import importlib.util
import io
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, timedelta, timezone
from functools import partial
from typing import Any, NamedTuple

from mlsdk.data import values as v
from mlsdk.data.cells import Moment
from mlsdk.data.table import Column, Table

_ROWS = 8192
_CHARACTERS = 4 << 20
"""A batch ends at so many rows or characters, whichever comes first: fields may be long."""
_BLOCK = 4 << 20
_LONGEST_FIELD = 1 << 27

_YEAR = r"(?:[1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])"
_DATE = _YEAR + r"-[0-9]{2}-[0-9]{2}"
_CLOCK = r"[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,9})?)?"
_DECIMAL = r"-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
_NOT_FINITE = r"-?(?:nan|NaN|NAN|inf|Inf|INF|infinity|Infinity|INFINITY)"
PATTERNS = {
    "whole": r"0|-?[1-9][0-9]*",
    "number": _DECIMAL + "|" + _NOT_FINITE,
    "bool": "true|false|True|False|TRUE|FALSE",
    "date": _DATE,
    "time": _DATE + f"(?:[ T]{_CLOCK})?",
    "zoned": _DATE + f"[ T]{_CLOCK}(?:Z|[-+](?:[01][0-9]|2[0-3]):[0-5][0-9])",
}
"""What each kind of column looks like, for Python's `re` and for RE2 (Arrow), which mean the same by it."""

_WIDER = {"whole": "number", "date": "time"}
_LONG = r"-?[0-9]{16,}"
_DIGITS = 19
_FINE = r".*\.[0-9]{7,9}(?:Z|[-+][0-9]{2}:[0-9]{2})?"
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 (of times without a zone, and of times in UTC after theirs is subtracted)
_MOMENT = re.compile(rf"({_DATE})(?:[ T]([0-9:]{{5,8}})(?:\.([0-9]+))?)?(Z|[-+][0-9:]{{5}})?")


class NotATable(Exception):  # noqa: N818 (it is an answer: the file is known by its bytes alone)
    """A file that is no table, and why; it is no mistake of the caller's."""


class _Parser(NamedTuple):
    """How values are looked at and turned into columns: by Arrow, or in plain Python."""

    batches: Callable[[], Iterator[Sequence[Any]]]
    """The names (a list), then batches of columns of text."""
    any_is: Callable[[str, Any], bool]
    """Whether any value of a column is, as a whole, what the pattern says; empty ones are not looked at."""
    all_are: Callable[[str, Any], bool]
    """Whether all values are empty or what the pattern says."""
    listed: Callable[[Any], list[str]]
    """The values themselves."""
    convert: Callable[[str, bool, Any], Any]
    """Values of a kind as a column; the flag is `_Guess.special`."""


class _Guess:
    """What a column can still be."""

    def __init__(self) -> None:
        self.kind = ""
        self.long = False
        """Whether there are whole numbers that a float may not hold."""
        self.huge = False
        """Whether there are whole numbers beyond 64 bits."""
        self.fine = False
        """Whether there are times with nanoseconds."""

    def look(self, parser: _Parser, values: Any) -> None:
        """Take some values into account."""
        if self.kind == "text" or parser.all_are("", values):
            return
        for kind in [self.kind, _WIDER.get(self.kind, "")] if self.kind else list(PATTERNS):
            if kind and parser.all_are(PATTERNS[kind], values):
                self.kind = kind
                break
        else:
            self.kind = "text"
            return
        if self.kind in {"whole", "number"} and not self.long:
            self.long = parser.any_is(_LONG, values)
        if self.kind == "whole" and self.long and not self.huge:
            longest = (int(one) for one in parser.listed(values) if len(one) >= _DIGITS)
            self.huge = any(not -(1 << 63) <= one < 1 << 63 for one in longest)
        if self.kind in {"time", "zoned"} and not self.fine:
            self.fine = parser.any_is(_FINE, values)
        if self.kind in {"date", "time", "zoned"}:
            try:
                parser.convert(self.kind, self.special, values)
            except (ValueError, OverflowError):  # the 31st of February; Arrow's errors are ValueErrors too
                self.kind = "text"

    @property
    def special(self) -> bool:
        """Whether Arrow's own types are not enough, or microseconds are not."""
        return {"whole": self.huge, "number": self.long}.get(self.kind, self.fine)

    def type(self) -> str:
        """The type by the names of `docs/data.md`."""
        unit = "ns" if self.fine else "us"
        return {
            "": "null",
            "whole": "integer" if self.huge else "int64",
            "number": "float64",
            "date": "date",
            "time": f"timestamp[{unit}]",
            "zoned": f"timestamp[{unit}, UTC]",
        }.get(self.kind, self.kind)


def read_delimited(path: str, *, delimiter: str = ",", compressed: bool = False) -> Table:
    """A CSV or TSV file as a table. The types are known when this returns; the values are read again with the batches.

    Args:
        path: the file.
        delimiter: what stands between fields.
        compressed: whether it is a gzip file.

    Raises:
        NotATable: it is no table by the rules above; the message says why. Reading the batches may raise it too.
    """
    encoding = _encoding(path, compressed)
    plain = _Parser(
        partial(_plain_batches, path, delimiter, encoding, compressed), _plain_any, _plain_all, list, _plain_column
    )
    if importlib.util.find_spec("pyarrow") is not None:
        try:
            batches = partial(_arrow_batches, path, delimiter, encoding, compressed)
            return _table(_Parser(batches, _arrow_any, _arrow_all, _arrow_list, _arrow_column))
        except (ValueError, NotATable, OverflowError):
            pass  # what it means is for the plain parser to say
    return _table(plain)


def _table(parser: _Parser) -> Table:
    batches = parser.batches()
    names = next(batches)
    guesses = [_Guess() for _ in names]
    for batch in batches:
        for guess, values in zip(guesses, batch, strict=True):
            guess.look(parser, values)
    columns = [Column(name, guess.type()) for name, guess in zip(names, guesses, strict=True)]

    def typed() -> Iterator[Sequence[Any]]:
        again = parser.batches()
        next(again)
        for batch in again:
            yield [parser.convert(guess.kind, guess.special, one) for guess, one in zip(guesses, batch, strict=True)]

    return Table(columns, typed())


def _open(path: str, compressed: bool) -> Any:
    return gzip.open(path, "rb") if compressed else open(path, "rb")


def _encoding(path: str, compressed: bool) -> str:
    """By what the bytes are text."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    encoding = "utf-8-sig"
    try:
        with _open(path, compressed) as file:
            while block := file.read(1 << 20):
                if b"\0" in block:
                    raise NotATable("a zero byte is in it: it is no text in UTF-8 or Latin-1")
                if encoding != "latin-1":
                    try:
                        decoder.decode(block)
                    except UnicodeDecodeError:
                        encoding = "latin-1"
            if encoding != "latin-1" and decoder.getstate()[0]:
                encoding = "latin-1"
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise NotATable(f"it cannot be decompressed: {error}") from error
    return encoding


# The csv module


def _plain_batches(path: str, delimiter: str, encoding: str, compressed: bool) -> Iterator[Sequence[Any]]:
    # The module's limit is the whole process's; a field of a megabyte is no mistake in data.
    limit = csv.field_size_limit(_LONGEST_FIELD)
    try:
        with io.TextIOWrapper(_open(path, compressed), encoding, newline="") as file:
            rows = csv.reader(file, delimiter=delimiter, strict=False)
            names = next((row for row in rows if row), None)
            if names is None:
                raise NotATable("it is empty: there is no head")
            yield names
            batch: list[list[str]] = []
            size = 0
            for row in rows:
                if not row:
                    continue
                if len(row) != len(names):
                    raise NotATable(f"line {rows.line_num} has {len(row)} fields, the head has {len(names)}")
                batch.append(row)
                size += sum(map(len, row))
                if len(batch) == _ROWS or size > _CHARACTERS:
                    yield [list(column) for column in zip(*batch, strict=True)]
                    batch, size = [], 0
            if batch:
                yield [list(column) for column in zip(*batch, strict=True)]
    except csv.Error as error:
        raise NotATable(str(error)) from error
    finally:
        csv.field_size_limit(limit)


def _plain_any(pattern: str, values: list[str]) -> bool:
    fits = re.compile(pattern).fullmatch
    return any(map(fits, values))


def _plain_all(pattern: str, values: list[str]) -> bool:
    fits = re.compile(f"(?:{pattern})?").fullmatch
    return all(map(fits, values))


def _plain_column(kind: str, special: bool, values: list[str]) -> list[Any]:
    if kind in {"", "text"}:
        return [value or None for value in values]
    convert: Callable[[str], Any] = {
        "whole": int,
        "number": _number if special else float,
        "bool": lambda value: value[0] in "tT",
        "date": date.fromisoformat,
        "time": _moment,
        "zoned": _moment,
    }[kind]
    return [convert(value) if value else None for value in values]


def _number(text: str) -> Any:
    """The nearest float, but a whole number beyond 2^53 exactly: two ids must not become one."""
    return int(text) if re.fullmatch(_LONG, text) else float(text)


def _moment(text: str) -> Any:
    parts = _MOMENT.fullmatch(text)
    if parts is None:
        raise ValueError(text)
    day, clock, fraction, zone = parts.groups()
    found = datetime.fromisoformat(f"{day} {clock or '00:00'}")
    offset = timedelta()
    if zone and zone != "Z":
        offset = timedelta(hours=int(zone[:3]), minutes=int(zone[0] + zone[4:]))
    nanoseconds = int((fraction or "0").ljust(9, "0"))
    if not nanoseconds % 1000:
        try:
            moved = (found - offset).replace(microsecond=nanoseconds // 1000)
            return moved.replace(tzinfo=timezone.utc) if zone else moved
        except OverflowError:
            pass  # the year is 0 or 10,000 in UTC
    span = found - _EPOCH - offset
    return Moment(v.AWARE if zone else v.NAIVE, (span.days * 86_400 + span.seconds) * 1_000_000_000 + nanoseconds)


# Arrow


def _arrow_batches(path: str, delimiter: str, encoding: str, compressed: bool) -> Iterator[Sequence[Any]]:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    with _open(path, compressed) as file:
        head = io.TextIOWrapper(file, encoding, newline="")
        names = next((row for row in csv.reader(head, delimiter=delimiter) if row), None)
        if names is None:
            raise NotATable("it is empty: there is no head")
        head.detach()
    yield names
    columns = [str(place) for place in range(len(names))]
    with _open(path, compressed) as file:
        reader = arrow_csv.open_csv(
            pa.PythonFile(file, "r"),
            read_options=arrow_csv.ReadOptions(
                block_size=_BLOCK, column_names=columns, encoding="utf8" if encoding == "utf-8-sig" else encoding
            ),
            parse_options=arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(columns, pa.string()), null_values=[], strings_can_be_null=False
            ),
        )
        first = True
        for batch in reader:
            # The head is a row like the others to Arrow, so that names may come twice.
            part = batch.slice(1) if first else batch
            first = first and not batch.num_rows
            if part.num_rows:
                yield part.columns


def _arrow_any(pattern: str, values: Any) -> bool:
    import pyarrow.compute as pc

    return bool(pc.any(pc.match_substring_regex(values, rf"\A(?:{pattern})\z")).as_py())


def _arrow_all(pattern: str, values: Any) -> bool:
    import pyarrow.compute as pc

    if not pattern:
        return not len(values) or pc.max(pc.binary_length(values)).as_py() == 0
    return bool(pc.all(pc.match_substring_regex(values, rf"\A(?:{pattern})?\z")).as_py())


def _arrow_list(values: Any) -> list[str]:
    return values.to_pylist()  # type: ignore[no-any-return]


def _arrow_column(kind: str, special: bool, values: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    if special and kind in {"whole", "number"}:
        return _plain_column(kind, special, values.to_pylist())
    texts = values
    # Not `if_else`: on slices of text it gives other text in pyarrow 14 to 17.
    values = pc.replace_with_mask(values, pc.equal(values, ""), pa.scalar(None, pa.string()))
    unit = "ns" if special else "us"
    types = {
        "whole": pa.int64(),
        "number": pa.float64(),
        "bool": pa.bool_(),
        "date": pa.date32(),
        "time": pa.timestamp(unit),
        "zoned": pa.timestamp(unit, "UTC"),
    }
    if kind not in types:
        return values
    try:
        return pc.cast(pc.utf8_lower(values) if kind == "bool" else values, types[kind])
    except pa.ArrowInvalid:
        if not special:
            raise
        return _plain_column(kind, special, texts.to_pylist())  # nanoseconds beside years that they do not reach
