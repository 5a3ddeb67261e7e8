"""`mlsdk tag`, `note`, `delete`, `undelete`: what is said of a run afterwards."""

from __future__ import annotations

import argparse
import json

from mlsdk.cli import stores
from mlsdk.cli.screen import Screen
from mlsdk.editing import Edit
from mlsdk.errors import UsageError
from mlsdk.records import Run
from mlsdk.store.base import Store


def tag_options(parser: argparse.ArgumentParser) -> None:
    """Options of `tag`."""
    parser.add_argument("run", metavar="RUN")
    parser.add_argument(
        "tags",
        nargs="+",
        metavar="TAG",
        help="NAME, NAME=VALUE (a number, true, false, or text), or NAME= to remove it",
    )


def tag(args: argparse.Namespace) -> int:
    """Set tags of a run. A name alone is true; a number, `true` or `false` keeps its type, and '"1"' is text."""
    store = stores.existing(args.store)
    run = store.find_one(args.run)
    Edit(store, run).set_tags(dict(map(tag_of, args.tags)))
    return _said(store, [run], args, "tags of {name} ({short}): {tags}")


def tag_of(word: str) -> tuple[str, object]:
    """The name and value in `NAME=VALUE`; None, which removes the tag, where the value is empty.

    >>> tag_of("epochs=3"), tag_of("checked"), tag_of("by=ada"), tag_of("old=")
    (('epochs', 3), ('checked', True), ('by', 'ada'), ('old', None))
    """
    name, equals, text = word.partition("=")
    if not name:
        raise UsageError(f"a tag is NAME or NAME=VALUE, not {word!r}")
    if not equals:
        return name, True
    if not text:
        return name, None
    try:
        value = json.loads(text)
    except ValueError:
        return name, text
    return name, value if isinstance(value, (str, int, float)) else text


def note_options(parser: argparse.ArgumentParser) -> None:
    """Options of `note`."""
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("text", metavar="TEXT", help="free text; the last one counts")


def note(args: argparse.Namespace) -> int:
    """Set the note of a run, which `mlsdk show` shows."""
    store = stores.existing(args.store)
    run = store.find_one(args.run)
    Edit(store, run).note(args.text)
    return _said(store, [run], args, "note of {name} ({short}): {note}")


def delete_options(parser: argparse.ArgumentParser) -> None:
    """Options of `delete`."""
    parser.add_argument("run", nargs="+", metavar="RUN")


def delete(args: argparse.Namespace) -> int:
    """Hide runs. Nothing is erased until `mlsdk gc`; `mlsdk undelete` brings them back until then."""
    store = stores.existing(args.store)
    found = [store.find_one(which) for which in args.run]
    for run in found:
        Edit(store, run).delete()
    return _said(store, found, args, "deleted {name} ({short}); `mlsdk undelete {short}` brings it back")


def undelete_options(parser: argparse.ArgumentParser) -> None:
    """Options of `undelete`."""
    parser.add_argument(
        "run",
        nargs="+",
        metavar="RUN",
        help="its id, or a beginning or end of it (`mlsdk ls --all` lists deleted runs)",
    )


def undelete(args: argparse.Namespace) -> int:
    """Bring deleted runs back, unless `mlsdk gc` has erased them."""
    store = stores.existing(args.store)
    found = [store.find_one(which) for which in args.run]
    for run in found:
        Edit(store, run).restore()
    return _said(store, found, args, "brought back {name} ({short})")


def _said(store: Store, runs: list[Run], args: argparse.Namespace, text: str) -> int:
    """Say what the runs are like now."""
    store.refresh()
    now = [store.catalog.get(run.id) for run in runs]
    if args.json:
        return stores.emit([stores.summary(run) for run in now])
    screen = Screen()
    for run in now:
        tags = ", ".join(name if value is True else f"{name}={value}" for name, value in run.tags.items()) or "none"
        screen.line(text.format(name=run.name, short=run.short_id, tags=tags, note=run.note))
    return 0
