"""`python -m mlsdk`: the command line, where no `mlsdk` command is on the path."""

from __future__ import annotations

import sys

from mlsdk.cli import main

if __name__ == "__main__":
    sys.exit(main())
