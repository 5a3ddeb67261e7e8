"""`mlsdk/capture/functions/clock.py`: code that asks the time of day."""

from __future__ import annotations

import ast

import pytest

import mlsdk
from mlsdk.capture.functions.clock import asked
from mlsdk.capture.functions.pieces import read
from tests.programs import execute


def _of(source: str) -> dict[str, list[str]]:
    module = read([ast.parse(source)], "")
    return asked([f"m:{name}" for name in module.pieces], lambda name: module if name == "m" else None)


@pytest.mark.parametrize(
    ("imports", "body", "clock"),
    [
        ("import time", "time.time()", "time.time"),
        ("import time as t", "t.time_ns() // 2", "time.time_ns"),
        ("from time import time", "time()", "time.time"),
        ("from time import strftime as s", "s('%H')", "time.strftime"),
        ("import datetime", "datetime.datetime.now().hour", "datetime.datetime.now"),
        ("import datetime as dt", "dt.date.today()", "datetime.date.today"),
        ("from datetime import datetime", "datetime.utcnow().isoformat()", "datetime.datetime.utcnow"),
        ("", "__import__('math'); from datetime import datetime as d; d.today()", "datetime.datetime.today"),
        ("import pandas as pd", "pd.Timestamp.now()", "pandas.Timestamp.now"),
        ("from dataclasses import field; from time import time", "field(default_factory=time)", "time.time"),
    ],
)
def test_ways_to_ask(imports: str, body: str, clock: str) -> None:
    """Each name by which a clock can be asked is known for what it is."""
    found = _of(f"{imports}\ndef f():\n    {body}\ndef g(): return 1\n")

    assert found == {"m:f": [clock]}


@pytest.mark.parametrize(
    "source",
    [
        "import time\ndef f(): return time.perf_counter() - time.monotonic()",
        "import time\ndef f(): time.sleep(1)",
        "import time\ndef f(time): return time.time()",
        "from datetime import datetime\ndef f(): return datetime(2020, 1, 1)",
        "def f(x): return x.now()",
        "def f(): return 'time.time'",
        "from mine import time\ndef f(): return time.time()",
    ],
)
def test_no_clock(source: str) -> None:
    """What measures how long, a parameter, a text or another module of that name asks no clock."""
    assert _of(source) == {}


def test_on_a_run() -> None:
    """A run names the functions that it could reach and that ask the clock, and no others."""
    execute(
        """
        from datetime import datetime
        import time

        def stamp():
            return datetime.now().year

        def unreached():
            return time.time()

        @mlsdk.track(name="it")
        def train():
            return stamp()

        train()
        unreached()
        """,
        MLSDK_COMPANION="0",
    )

    assert mlsdk.get_run("it").code["clock"] == {"__main__:stamp": ["datetime.datetime.now"]}
