"""The command line `mlsdk`. `commands.py` is the table of commands; each is a function with its options beside it."""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 well, 1 findings remain (`doctor`), 2 a mistake, said on stderr.

    Args:
        argv: words of the command line without the program's name; by default those of this process.
    """
    import os
    import sys
    import warnings

    from mlsdk.cli.commands import parse
    from mlsdk.cli.screen import clean_lines, unbreakable
    from mlsdk.errors import MlsdkError

    words = list(sys.argv[1:] if argv is None else argv)
    unbreakable(sys.stdout)
    unbreakable(sys.stderr)
    try:
        command, options = parse(words)
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="no run has ")
            warnings.showwarning = lambda message, *_, **__: print(
                f"mlsdk: {clean_lines(str(message))}", file=sys.stderr
            )
            code = command(options)
        sys.stdout.flush()
        return code
    except SystemExit as stop:  # how argparse ends: help, or a mistake in the options
        return stop.code if isinstance(stop.code, int) else 2
    except BrokenPipeError:  # `mlsdk ls | head`: nobody reads on, and Python shall not complain about it when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except KeyboardInterrupt:
        return 130
    except (MlsdkError, UserWarning, OSError) as error:
        print(f"mlsdk: {clean_lines(str(error))}", file=sys.stderr)
        return 2
