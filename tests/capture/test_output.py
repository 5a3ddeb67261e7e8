"""stdout and stderr beside the run."""

from __future__ import annotations

import contextlib
import copy
import io
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import mlsdk
from mlsdk.capture import output
from mlsdk.log.decode import Output, decode
from tests import programs


def unwrap() -> None:
    """Take the wrappers away that a run has put around the streams."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, output.Tee):
            setattr(sys, name, stream._stream)


@pytest.fixture(autouse=True)
def _alone(_own_folder: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("MLSDK_COMPANION", "0")
    monkeypatch.setenv("MLSDK_CAPTURE", "none")
    yield
    unwrap()


def lines(name: str = "it") -> list[tuple[int, str]]:
    """What was recorded of a run's output."""
    found = []
    for path in Path(".mlsdk/runs", mlsdk.get_run(name).id).glob("*.log"):
        for entry, _ in decode(path.read_bytes()):
            if isinstance(entry, Output):
                found.append((entry.stream, entry.text))
    return found


def test_lines_are_kept_and_passed_on(capsys: pytest.CaptureFixture[str]) -> None:
    """What is printed inside a run is kept line by line, with its stream, and still printed."""
    print("before")
    with mlsdk.run(name="it"):
        print("one", 1)
        print("two\nthree")
        print("warned", file=sys.stderr)
        sys.stdout.writelines(["four\n", "not ended"])
    print("after")
    out, err = capsys.readouterr()

    assert lines() == [(1, "one 1\n"), (1, "two\n"), (1, "three\n"), (2, "warned\n"), (1, "four\n"), (1, "not ended\n")]
    assert (out, err) == ("before\none 1\ntwo\nthree\nfour\nnot endedafter\n", "warned\n")


def test_progress_bars() -> None:
    """A line that was drawn over is kept in its last state, whether the carriage return comes first or last."""
    with mlsdk.run(name="it"):
        for percent in range(0, 101, 10):
            print(f"\r{percent} %", end="")
        print()
        for percent in range(0, 101, 10):
            print(f"{percent} done", end="\r")
        print()
        print("windows\r\nend", end="\r")

    assert lines() == [(1, "100 %\n"), (1, "100 done\n"), (1, "windows\n"), (1, "end\n")]


def test_other_redirections_work() -> None:
    """`redirect_stdout` gets what is printed, and what is printed after it is kept again."""
    elsewhere = io.StringIO()
    with mlsdk.run(name="it"):
        with contextlib.redirect_stdout(elsewhere):
            print("elsewhere")
        print("here")

    assert elsewhere.getvalue() == "elsewhere\n"
    assert lines() == [(1, "here\n")]


def test_wrappers_over_wrappers() -> None:
    """Where somebody has put a wrapper over ours, a line is kept once."""

    class Wrapper(io.TextIOBase):
        def __init__(self, stream: object) -> None:
            self.stream = stream

        def write(self, text: str) -> int:
            return self.stream.write(text.upper())  # type: ignore[attr-defined, no-any-return]

    with mlsdk.run(name="first"):
        pass
    before, sys.stdout = sys.stdout, Wrapper(sys.stdout)  # type: ignore[assignment]
    try:
        with mlsdk.run(name="it"):
            print("once")
    finally:
        sys.stdout = before

    assert [text.lower() for _, text in lines()] == ["once\n"]


def test_threads_have_lines_of_their_own() -> None:
    """Lines that threads print at once, piece by piece, are all kept and none is mixed with another."""

    def work(number: int) -> None:
        for count in range(200):
            sys.stdout.write(f"<{number}")
            sys.stdout.write(f":{count}>")
            sys.stdout.write("\n")

    with mlsdk.run(name="it"):
        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert sorted(lines()) == sorted((1, f"<{number}:{count}>\n") for number in range(8) for count in range(200))


def test_output_belongs_to_the_run_of_its_context() -> None:
    """Nested runs keep each their own lines."""
    with mlsdk.run(name="outer"):
        print("outer 1")
        print("begun ", end="")
        with mlsdk.run(name="inner"):
            print("inner")
        print("outer 2")

    assert lines("inner") == [(1, "inner\n")]
    assert [text for _, text in lines("outer")] == ["outer 1\n", "outer 2\n"]


def test_secrets_are_left_out() -> None:
    """A secret that is printed is not recorded."""
    with mlsdk.run(name="it"):
        print("password=hunter2hunter2")

    ((_, text),) = lines()
    assert "hunter2" not in text


def test_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit nothing is kept, which is said where it begins and counted at the end."""
    unwrap()
    monkeypatch.setenv("MLSDK_OUTPUT_LIMIT_BYTES", "100")
    with mlsdk.run(name="it"):
        for number in range(1000):
            print(f"line {number:04}")

    kept = [text for _, text in lines()]
    assert kept[:10] == [f"line {number:04}\n" for number in range(10)]
    assert len(kept) == 12
    assert "limit" in kept[10]
    assert "9,900 characters" in kept[11]


def test_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the switch off nothing is recorded and the streams are left alone."""
    monkeypatch.setenv("MLSDK_OUTPUT", "0")
    before = sys.stdout, sys.stderr
    with mlsdk.run(name="it"):
        print("nothing")
        assert (sys.stdout, sys.stderr) == before

    assert lines() == []


def test_it_is_a_stream() -> None:
    """The wrapper passes on what streams can do, and can be copied."""
    with mlsdk.run():
        stream = sys.stdout
        assert isinstance(stream, output.Tee)
        assert stream.encoding
        assert stream.isatty() in (True, False)
        with contextlib.suppress(io.UnsupportedOperation):
            assert isinstance(stream.fileno(), int)
        stream.flush()
        assert isinstance(copy.copy(stream), output.Tee)
        with pytest.raises(AttributeError):
            stream.no_such_thing  # noqa: B018
        with pytest.raises(TypeError):
            stream.write(b"bytes")  # type: ignore[arg-type]


def test_in_a_program() -> None:
    """A program's own output is kept to the last line; that of its child processes passes by."""
    done = programs.execute(
        """
        import os, subprocess, sys
        run = mlsdk.run(name="it")
        print("first")
        subprocess.run(["echo", "child"])
        if os.fork() == 0:
            print("forked")
            sys.exit()
        os.wait()
        print("last", end="")
        """,
        MLSDK_COMPANION="0",
        MLSDK_CAPTURE="none",
    )

    assert sorted(done.stdout.split()) == ["child", "first", "forked", "last"]
    assert lines() == [(1, "first\n"), (1, "last\n")]


def test_a_closed_stream() -> None:
    """Printing to a stream that is closed fails as it does without a run."""
    done = programs.execute(
        """
        import sys
        run = mlsdk.run(name="it")
        sys.stdout.close()
        try: print("x")
        except ValueError as error: print(error, file=sys.stderr)
        """,
        MLSDK_COMPANION="0",
    )

    assert done.stderr.startswith("I/O operation on closed file")
    assert mlsdk.get_run("it").status == "finished"
    assert os.path.isdir(".mlsdk")
