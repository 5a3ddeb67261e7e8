"""Values as facts: encoded, secrets left out, what is too long put away."""

from __future__ import annotations

import marshal
from collections.abc import Mapping

from mlsdk.capture import Capture, PutBlob, facts_of
from mlsdk.capture.secrets.forms import LONG_WORD
from mlsdk.capture.secrets.redaction import redact_text, redact_value
from mlsdk.log.values import LongValue, dumps, encode

LONG_VALUE_BYTES = 32_768
"""A value whose JSON is longer is put away as a blob."""

LONG_CAPTURE_BYTES = 4096
"""The same for what captures find: lists that many runs share, and that nobody filters by."""

_CAPTURED = ("code", "env", "hardware")
_SOURCES = ("cells", "main")
"""Facts of the code that are source texts: no randomness is a sign there."""
_NAMED_BY_US = (*_CAPTURED, "run", "artifacts")
_OF_THE_USER = ("constants",)
"""Found values that are the user's own: 1, 1.0 and True are equal, and not the same."""
_FILTERED_BY = ("packages",)
"""Found values that people filter runs by, however long they are."""


Facts = dict[str, dict[str, object]]
"""By kind and name, as tagged JSON."""


class ByName(dict[str, object]):
    """A value whose keys are names of things, of packages say: they promise nothing about what stands under them.

    `detect-secrets` has a version, and that is no secret; values are still looked at for the forms of secrets.
    """


def encode_facts(
    kind: str, values: Mapping[str, object], put_blob: PutBlob
) -> tuple[dict[str, object], dict[str, str]]:
    """Values by name as tagged JSON, and notes on those that are not kept as they are, by kind of problem.

    Secrets are left out. A long value is put away as a blob; what is said of the run itself (its note) stays. Artifacts
    are kept as they are, being names and digests: without the list of a folder's files nothing in it could be opened.
    """
    encoded: dict[str, object] = {}
    notes = {}
    longest = LONG_CAPTURE_BYTES if kind in _CAPTURED else LONG_VALUE_BYTES
    for name, value in values.items():
        by_name = type(value) is ByName  # `isinstance` would ask the value, which may be an odd object
        plain = encode(dict(value) if by_name else value)  # type: ignore[call-overload]
        if kind == "artifacts":
            coded = plain
        elif by_name and "$" not in plain:
            coded = _redact_by_name(plain)
        else:
            coded = redact_value(name, plain, code=kind == "code" and name in _SOURCES)
        if coded is not plain:
            notes[f"secret {kind}.{name}"] = f"{kind}.{name} held what looks like a secret; it was left out"
        may_be_long = kind not in ("run", "artifacts") and not isinstance(coded, (int, float))
        room = LONG_VALUE_BYTES if name in _FILTERED_BY else longest
        if may_be_long and len(data := dumps(coded)) > room:
            digest, size = put_blob(data)
            coded = encode(LongValue(digest, size, data[:200].decode("utf-8", "replace")))
            if kind not in _CAPTURED:
                notes[f"long-value {kind}.{name}"] = (
                    f"{kind}.{name} is {size:,} bytes long and was put away as blob {digest[:12]}…"
                )
        encoded[name if kind in _NAMED_BY_US else _safe_name(name, encoded)] = coded
    return encoded, notes


def _safe_name(name: str, taken: Mapping[str, object]) -> str:
    """The name without a secret in it: who gives names to data sets may take them from an address."""
    if len(name) < LONG_WORD and "=" not in name and "/" not in name:  # no secret is so short and has no sign
        return name
    shown = named = redact_text(name)[0]
    while named != name and named in taken:
        named = f"{shown} {len(taken)}"
    return named


class Encoder:
    """Encodes what captures find: what is found again as it was the last time is encoded, and put away, once.

    Args:
        put_blob: where what is long goes.
    """

    def __init__(self, put_blob: PutBlob) -> None:
        self._put_blob = put_blob
        self._known: dict[tuple[str, str], tuple[object, object, dict[str, str]]] = {}
        """By capture and name of a fact: what tells the value from others, the same encoded, and notes on it."""

    def __call__(self, capture: Capture, found: Mapping[str, object]) -> tuple[Facts, dict[str, str]]:
        """Facts by kind, encoded, and notes on those that are not kept as they are."""
        facts: Facts = {}
        notes: dict[str, str] = {}
        for kind, values in facts_of(capture, found).items():
            if not isinstance(capture.function, str):  # of a user's function nothing is known, not even its `==`
                facts[kind], notes = encode_facts(kind, values, self._put_blob)
                continue
            into = facts.setdefault(kind, {})
            for name, value in values.items():
                known = self._known.get((capture.name, name))
                same = marshal.dumps(value, 2) if name in _OF_THE_USER else value  # type: ignore[arg-type]  # plain
                if known is None or known[0] != same:
                    encoded, more = encode_facts(kind, {name: value}, self._put_blob)
                    known = self._known[capture.name, name] = (same, encoded[name], more)
                into[name] = known[1]
                notes.update(known[2])
        return facts, notes


def _redact_by_name(plain: dict[str, object]) -> dict[str, object]:
    """The values without secrets, whatever their keys; the very same mapping where there are none."""
    coded = {name: redact_value("", item) for name, item in plain.items()}
    return plain if all(coded[name] is item for name, item in plain.items()) else coded
