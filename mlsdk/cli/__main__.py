"""`python -m mlsdk.cli` is the command `mlsdk`."""

from __future__ import annotations

import sys

from mlsdk.cli import main

if __name__ == "__main__":
    sys.exit(main())
