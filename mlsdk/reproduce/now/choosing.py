"""From what a person names to the runs that are meant: the newest of each kind, an experiment, a filter, a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from mlsdk.errors import NotFoundError, QueryError, UsageError
from mlsdk.finding import runs
from mlsdk.log.values import decode
from mlsdk.query.parse import parse
from mlsdk.query.tree import Compare, In, Not, Tree, all_of
from mlsdk.records import Run
from mlsdk.reproduce.now.kinds import FINISHED, OUTSIDE, Kind, kind_of
from mlsdk.reproduce.world.held import coded
from mlsdk.store.base import Store

Wanted = Run | str | Iterable[Run | str] | None
"""A run; an id, a name, an experiment or a filter in text; several of them; None for the newest of each kind."""

_PAGE = 200
_MOST_EXCLUDED = 50
"""Kinds that a question leaves out: beyond that, going on page by page is faster."""
_IDS_AT_ONCE = 200


def chosen(store: Store, wanted: Wanted) -> list[Run]:
    """The runs that are meant, newest first.

    Raises:
        NotFoundError: nothing is called so, or a run is not of this store.
        QueryError: a filter that cannot be understood.
    """
    store.refresh()
    return _chosen(store, wanted)


def _chosen(store: Store, wanted: Wanted) -> list[Run]:
    if wanted is None:
        return list(newest(store, OUTSIDE))
    if isinstance(wanted, Run):
        return [store.catalog.get(wanted.id)]  # as it is now: captures may have come since it was read
    if isinstance(wanted, str):
        return _named(store, wanted)
    if not isinstance(wanted, Iterable):
        raise UsageError(f"status takes a run, a name, an experiment, a filter, or several of them, not {wanted!r}")
    found = {run.id: run for one in wanted for run in _chosen(store, one)}
    return list(found.values())


def newest(store: Store, where: Tree) -> Iterator[Run]:
    """Of each kind the newest finished run that fits.

    The kinds that were found are left out of the next question, so that a few of them in many runs are found soon.
    """
    seen: set[Kind] = set()
    after: str | None = None
    while True:
        excluded = [Not(kind.filter) for kind in seen] if len(seen) <= _MOST_EXCLUDED else []
        page = store.catalog.find(all_of(where, FINISHED, *excluded), after=after, limit=_PAGE)
        for run in page.runs:
            kind = kind_of(run)
            if kind not in seen:
                seen.add(kind)
                yield run
        after = page.after
        if after is None:
            return


def _named(store: Store, text: str) -> list[Run]:
    try:
        parse(text)
    except QueryError as no_filter:
        found = list(newest(store, Compare(("name",), "=", text)))
        found = found or list(newest(store, Compare(("experiment",), "=", text)))
        if found:
            return found
        try:
            return [store.find_one(text)]
        except NotFoundError as nothing:
            if any(sign in text for sign in "=<>~") or " in " in text or " is " in text:
                raise no_filter from None
            raise nothing from None
    return list(runs(text, store=store.uri))


def replacements(store: Store, some: Iterable[Run]) -> dict[str, Run]:
    """By id, the newest finished run that was made again from a run as it is, in its own experiment.

    What was made again with other arguments replaces nothing.
    """
    if not store.catalog.has_key("code.rerun.of"):
        return {}
    asked = [*some]
    children: dict[str, list[Run]] = {}
    known = {run.id: run for run in asked}
    waiting = [*known]
    while waiting:
        before, waiting = waiting, []
        for start in range(0, len(before), _IDS_AT_ONCE):
            of_these = In(("code", "rerun", "of"), tuple(before[start : start + _IDS_AT_ONCE]))
            for child in store.catalog.find(all_of(of_these, FINISHED)).runs:
                rerun = decode(coded(child.code).get("rerun"))
                parent = known[str(rerun["of"])]
                if rerun.get("params") or child.experiment != parent.experiment:
                    continue
                children.setdefault(parent.id, []).append(child)
                if child.id not in known:
                    known[child.id] = child
                    waiting.append(child.id)
    newest = {run.id: _newest_below(run, children) for run in asked}
    return {run: child for run, child in newest.items() if child is not None}


def _newest_below(run: Run, children: Mapping[str, Sequence[Run]]) -> Run | None:
    """The newest of the runs that were made again from a run, or from those."""
    below: dict[str, Run] = {}
    waiting = [run]
    while waiting:
        new = [child for child in children.get(waiting.pop().id, ()) if child.id not in below]
        below.update((child.id, child) for child in new)
        waiting += new
    return max(below.values(), key=lambda child: child.started_at, default=None)
