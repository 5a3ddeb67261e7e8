"""The command line as a whole: errors, strict JSON, no store, a read-only store, what is loaded, its page."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib import import_module

import pytest

import mlsdk
from mlsdk.cli import commands, main, page
from mlsdk.cli.screen import clean, clean_lines, fitted, width_of
from tests.conftest import ROOT


def test_no_store_yet(call):
    """In an empty folder `ls` says how to begin and exits well; commands that need a run say there is no store."""
    code, out, _ = call("ls")
    other = call("show", "latest")

    assert code == 0
    assert "no store yet" in out
    assert "@mlsdk.track" in out
    assert call("ls", "--json")[1].strip() == "[]"
    assert other[0] == 2
    assert other[2].startswith("mlsdk: there is no store")
    assert not os.path.exists(".mlsdk")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["show", "nobody"], "no run has the id or name 'nobody'"),
        (["show", "run-O"], "did you mean 'run-"),
        (["show", "twin"], "type more of the id"),
        (["ls", "metrics.acc >"], "metrics.acc >"),
        (["ls", "metrics.ac > 0.5"], "no run has 'metrics.ac'; did you mean 'metrics.acc'?"),
        (["ls", "--sort", "-metrics.ac"], "did you mean 'metrics.acc'?"),
        (["ls", "--columns", "params.l"], "did you mean 'params.lr'?"),
        (["best", "ac"], "did you mean 'acc'?"),
        (["show", "run-0", "--metric", "ac"], "did you mean 'acc'?"),
        (["ls", "-n", "-1"], "from 0 on, not -1"),
        (["gc", "--older-than", "soon"], "not 'soon'"),
        (["tag", "run-0", "=1"], "not '=1'"),
        (["seal"], "say which"),
        (["export", "--format", "parquet"], "-o PATH"),
        (["ls", "--store", "nowhere:x"], "no store for 'nowhere' URIs"),
    ],
)
def test_mistakes_are_said_in_one_message(call, runs, words, said):
    """A mistake exits with 2, says what to do on stderr, and prints nothing on stdout."""
    for _ in range(2):
        with mlsdk.run("other", name="twin"):
            pass
    code, out, err = call(*words)

    assert code == 2
    assert err.startswith("mlsdk: ")
    assert said in err
    assert out == ""


@pytest.mark.parametrize("words", [[], ["nonsense"], ["show", "a", "b"], ["ls", "--no-such-option"]])
def test_usage_mistakes(call, words):
    """A command line that argparse cannot understand exits with 2 and shows the usage."""
    code, _, err = call(*words)

    assert code == 2
    assert "usage: mlsdk" in err


def test_help_names_every_command(call):
    """`mlsdk --help` lists all commands, each on a line with what it does; the nearest to a wrong one is named."""
    code, out, _ = call("--help")

    assert code == 0
    assert all(f"  {name:<10}  {said}\n" in out for name, (_, said) in commands.COMMANDS.items())
    assert "did you mean `show`?" in call("shwo")[2]


@pytest.mark.parametrize(
    "words",
    [
        ["ls"],
        ["ls", "--columns", "name,metrics.acc.max"],
        ["show", "run-1"],
        ["show", "run-1", "--output"],
        ["best", "acc"],
        ["diff", "run-0", "run-1"],
        ["tail", "run-1"],
        ["export"],
        ["tag", "run-0", "a=1"],
        ["note", "run-0", "text"],
        ["delete", "run-0"],
        ["doctor"],
        ["gc", "--dry-run"],
        ["reindex"],
        ["seal", "run-0"],
        ["config"],
        ["version"],
    ],
    ids=" ".join,
)
def test_json_is_strict_and_alone(ask, runs, words):
    """With --json every command prints strict JSON on stdout and nothing else."""
    assert ask(*words) is not None


def test_json_of_odd_values(ask):
    """NaN and infinities come tagged in JSON, not as the words that strict JSON does not have."""
    with mlsdk.run("odd", params={"x": float("nan"), "t": (1, 2)}) as run:
        run.log(loss=float("inf"))
    found = ask("ls")[0]

    assert found["params"]["x"] == {"$": "float", "v": "nan"}
    assert found["params"]["t"] == {"$": "tuple", "v": [1, 2]}
    assert found["metrics"]["loss"]["last"] == {"$": "float", "v": "inf"}


def test_nothing_raw_reaches_the_terminal(call):
    """Control characters in names, params, notes, tags and recorded output never come out raw."""
    evil = "\x1b[31m\x07\x9b2J\u202e"
    with mlsdk.run(f"e{evil}", name=f"n{evil}", params={f"p{evil}": evil}, tags={f"t{evil}": evil}) as run:
        run.log({f"m{evil}": 1.0})
        run.log({f"m{evil}": 2.0})
        run.note(evil)
        run.output(1, f"{evil}\r\n")
    shown = "".join(
        "".join(call(*words)[1:])
        for words in (["ls"], ["show"], ["show", "--output"], ["best", f"m{evil}"], ["tail"], ["show", f"x{evil}"])
    )

    assert "�" in shown
    assert not set(shown) & set("\x1b\x07\x9b\u202e\r")


def test_read_only_store(call, runs, tmp_path, monkeypatch):
    """A store that may not be written can be looked at; what would write says so."""
    assert call("ls")[0] == 0
    shutil.move(".mlsdk", "kept")
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode, **more: mode != os.W_OK and real(path, mode, **more))
    looked = call("ls", "--store", "kept")
    fixed = call("doctor", "--fix", "--store", "kept")
    edited = call("note", "run-0", "x", "--store", "kept")

    assert looked[0] == 0
    assert "run-1" in looked[1]
    assert call("show", "run-1", "--store", "kept")[0] == 0
    assert [fixed[0], edited[0]] == [2, 2]
    assert "may only be read" in fixed[2]
    assert "may only be read" in edited[2]


def _python(code: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **more}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)


def test_ls_loads_little(runs):
    """`mlsdk ls` into a pipe loads neither rich nor anything else that takes long to import."""
    code = "import sys; from mlsdk.cli import main; main(['ls']); print(sorted(sys.modules), file=sys.stderr)"
    done = _python(code)
    loaded = {name.partition(".")[0] for name in eval(done.stderr)}

    assert "run-1" in done.stdout
    assert loaded & {"rich", "numpy", "pandas", "pyarrow", "git", "psutil", "requests", "asyncio"} == set()


def test_nobody_reads_on(runs):
    """When the reader of a pipe goes away, as `head` does, nothing is complained about."""
    code = "import sys; from mlsdk.cli import main; sys.exit(main(['show', 'run-1']))"
    done = subprocess.run(
        f'{sys.executable} -c "{code}" | true; echo done',
        shell=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )

    assert done.stdout == "done\n"
    assert done.stderr == ""


def test_warnings_are_one_line(runs):
    """A warning is a line on stderr like an error, without a place in the source."""
    code = (
        "import sys, warnings\n"
        "from mlsdk.cli import ls, main\n"
        "old = ls.ls\n"
        "ls.ls = lambda args: (warnings.warn('mind\\x1b this'), old(args))[1]\n"
        "sys.exit(main(['ls']))"
    )
    done = _python(code)

    assert done.stderr == "mlsdk: mind� this\n"
    assert done.returncode == 0


def test_any_encoding_will_do(runs):
    """Where stdout cannot write a character, another one stands in its place."""
    done = _python("from mlsdk.cli import main; main(['show', 'run-1'])", PYTHONIOENCODING="ascii")

    assert done.returncode == 0
    assert done.stderr == ""
    assert "run-1" in done.stdout


def test_colours_change_no_word(runs, monkeypatch):
    """In a terminal with rich the words are the same as in a pipe."""
    import_module("rich")
    import io
    import re

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("COLUMNS", "1000")  # a narrow terminal cuts long values, a pipe does not
    monkeypatch.setenv("TERM", "xterm-256color")
    for place in ("mlsdk.table.ago", "mlsdk.cli.show.ago", "mlsdk.cli.ls.ago"):  # seconds may pass between the two
        monkeypatch.setattr(place, lambda _: "2 d", raising=False)
    shown = []
    for stream in (Terminal(), io.StringIO()):
        monkeypatch.setattr(sys, "stdout", stream)
        for words in (["ls"], ["show", "run-1"], ["diff", "run-0", "run-1"], ["best", "acc"], ["config"]):
            assert main(words) == 0
        shown.append(stream.getvalue())
    coloured, plain = shown
    without = re.sub(r"\x1b\[[0-9;]*m", "", coloured)

    assert coloured != without
    assert [line.rstrip() for line in without.splitlines()] == plain.splitlines()


def test_text_is_measured_as_it_is_shown():
    """Wide letters take two columns, combining marks none; cutting keeps to the width."""
    assert width_of("日本") == 4
    assert width_of("e\u0301") == 1
    assert fitted("日本語", 5) == "日本…"
    assert fitted("abc", 3) == "abc"
    assert clean("a\nb\x1b") == "a b�"
    assert clean_lines("a\r\n\tb") == "a\n    b"


def test_page_is_what_the_commands_say(call):
    """docs/cli.md is made from the commands: it has each of them and each of their options."""
    text = (ROOT / "docs" / "cli.md").read_text("utf-8")
    top = commands.parser()
    below = next(action for action in top._actions if action.dest != "help" and action.choices)
    missing = [
        (name, option)
        for name, one in below.choices.items()
        for action in one._actions
        for option in action.option_strings
        if option.startswith("--") and option != "--help" and f"`{option}" not in text
    ]

    assert page.main(["--check", str(ROOT / "docs" / "cli.md")]) == 0, "python -m mlsdk.cli.page > docs/cli.md"
    assert missing == []
    assert all(action.help for one in below.choices.values() for action in one._actions if action.dest != "run")


def test_page_check_sees_a_difference(tmp_path, capsys):
    """The check of the page fails on an old page, and says how to make it anew."""
    (tmp_path / "cli.md").write_text("old", "utf-8")

    assert page.main(["--check", str(tmp_path / "cli.md")]) == 1
    assert "mlsdk.cli.page" in capsys.readouterr().err


def test_config_says_where_values_come_from(ask, monkeypatch, tmp_path):
    """`config` shows each setting's value with its origin: environment, file, default, and --store above all."""
    (tmp_path / "pyproject.toml").write_text("[tool.mlsdk]\nexit_wait_s = 3\n", "utf-8")
    monkeypatch.setenv("MLSDK_EXPERIMENT", "from-outside")
    found = {row["name"]: row for row in ask("config", "--store", "elsewhere")}

    assert (found["experiment"]["value"], found["experiment"]["origin"]) == ("from-outside", "environment")
    assert (found["exit_wait_s"]["value"], found["exit_wait_s"]["origin"]) == (3.0, str(tmp_path / "pyproject.toml"))
    assert (found["store"]["value"], found["store"]["origin"]) == ("elsewhere", "argument")
    assert found["mode"]["origin"] == "default"
    assert found["mode"]["variable"] == "MLSDK_MODE"


def test_version(call):
    """`version` and `--version` print the version."""
    assert call("version")[1].startswith(f"mlsdk {mlsdk.__version__}")
    assert call("--version")[1] == f"mlsdk {mlsdk.__version__}\n"
    assert json.loads(call("version", "--json")[1])["mlsdk"] == mlsdk.__version__
