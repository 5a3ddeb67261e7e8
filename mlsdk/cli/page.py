"""`docs/cli.md`, made from the options themselves: `python -m mlsdk.cli.page > docs/cli.md`; `--check` compares."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence

from mlsdk.cli.commands import COMMANDS, parser

_INTRODUCTION = """# Command line

`mlsdk COMMAND --help` says the same in a terminal. This page is made from the commands themselves by
`python -m mlsdk.cli.page`; a test compares.

A run is named by its id, the beginning or end of it, its name, or `latest`. Filters and orderings are those of
[queries](queries.md). The store is the nearest `.mlsdk` folder upwards, unless a [setting](configuration.md) or
`--store` names another one.

Every command takes these two options:

| Option | Meaning |
|---|---|
| `--store PATH` | folder or URI of the store; by default the settings' store |
| `--json` | strict JSON on stdout, and nothing else |

JSON is strict: times are text in UTC, and what JSON does not have, such as NaN, is tagged as in the [log
format](format.md). In a terminal, colours come from rich where it is installed (`pip install 'mlsdk[cli]'`); `NO_COLOR`
switches them off, and the words are the same without.

Exit codes: 0 well; 1 findings remain (`doctor`, `status --exit-code`), or a run could not be made again as it should
(`rerun`, `retrain`, `verify`); 2 a mistake in the options, an unknown or ambiguous name, a filter
that cannot be understood or names a field that no run has, a store that cannot be used. The message is on stderr.
"""


def page() -> str:
    """The whole page."""
    top = parser()
    below = next(action for action in top._actions if isinstance(action, argparse._SubParsersAction))  # noqa: SLF001
    table = "".join(f"| [`{name}`](#{name}) | {summary} |\n" for name, (_, summary) in COMMANDS.items())
    parts = [_INTRODUCTION, f"| Command | What it does |\n|---|---|\n{table}"]
    parts += ["\n".join(_command(name, one)) for name, one in below.choices.items()]
    return "\n".join(parts)


def _command(name: str, one: argparse.ArgumentParser) -> Iterator[str]:
    options = [action for action in one._actions if action.dest not in ("help", "json", "store")]  # noqa: SLF001
    words = " ".join(_usage(action) for action in options)
    yield f"## {name}\n"
    yield f"```sh\nmlsdk {name}{' ' + words if words else ''}\n```\n"
    yield _paragraphs(one.description or "")
    if options:
        yield "\n| Option | Meaning |\n|---|---|"
        for action in options:
            yield f"| {_name(action)} | {_cell(action.help or _MEANT.get(action.dest, ''))} |"
    yield ""


_MEANT = {"run": "which run"}


def _paragraphs(text: str) -> str:
    return "\n".join(line.strip() for line in text.splitlines())


def _usage(action: argparse.Action) -> str:
    if not action.option_strings:
        word = str(action.metavar or action.dest.upper())
        return {"?": f"[{word}]", "+": f"{word} …", "*": f"[{word} …]"}.get(str(action.nargs), word)
    value = "" if action.nargs == 0 else f" {_value(action)}"
    return f"[{action.option_strings[0]}{value}]"


def _value(action: argparse.Action) -> str:
    return "|".join(map(str, action.choices)) if action.choices else str(action.metavar or action.dest.upper())


def _name(action: argparse.Action) -> str:
    if not action.option_strings:
        return f"`{action.metavar or action.dest.upper()}`"
    value = "" if action.nargs == 0 else f" {_value(action)}".replace("|", "\\|")
    return ", ".join(f"`{word}{value}`" for word in action.option_strings)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main(arguments: Sequence[str]) -> int:
    """Print the page, or with `--check PATH` say whether that file holds it."""
    if arguments[:1] != ["--check"]:
        sys.stdout.write(page())
        return 0
    path = arguments[1] if len(arguments) > 1 else "docs/cli.md"
    with open(path, encoding="utf-8") as file:
        same = file.read() == page()
    if not same:
        print(f"{path} is not what the commands say: python -m mlsdk.cli.page > {path}", file=sys.stderr)
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
