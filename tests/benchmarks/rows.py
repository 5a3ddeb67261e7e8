"""The rows of the table: each function measures one and says what it saw."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.captures import CAPTURE_ROWS
from tests.benchmarks.comparing import DIFF_ROWS
from tests.benchmarks.foreign import foreign_programs
from tests.benchmarks.measure import Row, child, cpu_of_python, environment, folder, settle
from tests.benchmarks.million import million_runs
from tests.benchmarks.network import NETWORK_ROWS
from tests.benchmarks.remote import team_load
from tests.benchmarks.stale import STATUS_ROWS


def import_time() -> list[Row]:
    """`import mlsdk` above bare Python."""
    bare, ours = cpu_of_python("pass"), cpu_of_python("import mlsdk")
    above = (ours - bare) * 1e3
    return [
        Row(
            "`import mlsdk`, CPU above bare Python",
            f"{above:.0f} ms",
            "<= 30 ms",
            f"bare {bare * 1e3:.0f} ms",
            above <= 30,
        )
    ]


def empty_run() -> list[Row]:
    """A run with nothing in it."""
    found = []
    for _ in range(7):
        with folder() as where:
            found.append(child("first_and_later_run", where))
    first, later = sorted(f["first"] for f in found)[3], sorted(f["later"] for f in found)[3]
    return [
        Row(
            "an empty run, start to finish: the first, with the companion's spawn",
            f"{first:.1f} ms",
            "<= 10 ms",
            "",
            first <= 10,
        ),
        Row("… later ones", f"{later:.2f} ms", "<= 1 ms", "", later <= 1),
    ]


def log_call() -> list[Row]:
    """`log(loss=x)`, 100,000 times, in ten runs; beside the bare limits of the same minute."""
    found, limits = [], {}
    for _ in range(10):
        with folder() as where:
            found.append(child("log_one", where))
            settle(where)
    with folder() as where:
        limits = child("bare_limits", where)
    median, p99 = sorted(f["median"] for f in found)[5], sorted(f["p99"] for f in found)[5]
    longest = sorted(f["longest"] for f in found)
    ratios = ", ".join(f"{median / value:.1f} x {name} ({value:.2f} µs)" for name, value in limits.items())
    short = sum(value <= 5000 for value in longest)
    return [
        Row("`log(loss=x)`, 100,000 times: median", f"{median:.2f} µs", "<= 2 µs", ratios, median <= 2),
        Row("… p99", f"{p99:.1f} µs", "<= 8 µs", "", p99 <= 8),
        Row("… longest, in nine runs of ten", f"{longest[8] / 1e3:.1f} ms ({short} of 10)", "<= 5 ms", "", short >= 9),
    ]


def log_modes() -> list[Row]:
    """The `os.write` path, alone and beside a busy Python thread."""
    rows = []
    for mode, name in (("1", "map"), ("0", "`os.write`")):
        with folder() as where:
            alone = child("log_one", where, MLSDK_MAP=mode)
        with folder() as where:
            busy = child("log_beside_thread", where, MLSDK_MAP=mode)
        shown = "; ".join(
            f"{each['median']:.2f} / {each['p99']:.1f} µs / {each['longest'] / 1e3:.1f} ms" for each in (alone, busy)
        )
        rows.append(Row(f"`log` by {name}, alone; beside a busy thread: median / p99 / longest", shown, "-"))
    return rows


def wide_call() -> list[Row]:
    """100 values a call."""
    with folder() as where:
        taken = sorted(child("log_hundred", where) for _ in range(5))[2]
    return [Row("100 values a call, 10,000 times", f"{taken:.1f} µs", "<= 12 µs", "", taken <= 12)]


def step_overhead() -> list[Row]:
    """5 metrics on a 60 µs step; what they cost beside the bare limits of the same minute."""
    found = []
    for _ in range(3):
        with folder() as where:
            found.append(child("training_step", where))
            settle(where)
    with folder() as where:
        limits = child("bare_limits", where)
    ratio = sorted(f["tracked"] / f["plain"] for f in found)[1]
    whole = sorted(f["whole"] / f["plain"] for f in found)[1]
    cost = sorted(f["tracked"] - f["plain"] for f in found)[1] / found[0]["steps"] * 1e6
    quiet = sorted(f["quiet"] for f in found)[1]
    beside = f"in the quietest tenth of the rounds {quiet:.3f} x"
    beside += f"; {cost:.1f} µs a step: {cost / limits['pack_into']:.1f} x pack_into of one metric"
    return [
        Row("5 metrics a step on a 60 µs step", f"{ratio:.3f} x", "<= 1.08 x", beside, ratio <= 1.08),
        Row("… with start and finish", f"{whole:.3f} x", "<= 1.10 x", "", whole <= 1.10),
    ]


def kills() -> list[Row]:
    """Acknowledged points lost by SIGKILL, in 20 kills."""
    from mlsdk.store.base import open_file

    lost = acknowledged = killed = 0
    with folder() as where:
        for _ in range(20):
            code = "from tests.benchmarks import work; work.logged_until_killed()"
            process = subprocess.Popen(
                [sys.executable, "-c", code], cwd=where, env=environment(), stdout=subprocess.PIPE
            )
            out = process.stdout
            assert out is not None
            run = out.readline().decode().strip()
            time.sleep(random.uniform(0.05, 0.4))
            process.send_signal(signal.SIGKILL)
            count = len(out.read()) // 8
            process.wait()
            store = open_file(f"file:{where / '.mlsdk'}")
            record = store.find_one(run)
            killed += record.status.value == "killed"
            acknowledged += count
            lost += max(0, count - len(record.history("loss")))
    shown = f"{lost} of {acknowledged:,}; {killed} of 20 read `killed`"
    return [
        Row("acknowledged points lost by `kill -9`, 20 kills", shown, "0, all killed", "", lost == 0 and killed == 20)
    ]


def eight_processes() -> list[Row]:
    """8 processes x 5,000 points, one store."""
    from mlsdk.store.base import open_file

    with folder() as where:
        code = (
            "from tests.benchmarks import work; import mlsdk, sys; sys.stdin.readline(); "
            "work.writer_process(5000); sys.stdout.write('done'); sys.stdout.flush()"
        )
        started = [
            subprocess.Popen(
                [sys.executable, "-c", code],
                cwd=where,
                env=environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            for _ in range(8)
        ]
        time.sleep(3.0)
        begun = time.perf_counter()
        for process in started:
            process.stdin.write(b"\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
        for process in started:
            process.stdout.read(4)  # type: ignore[union-attr]
        taken = time.perf_counter() - begun
        errors = sum(process.wait() != 0 for process in started)
        store = open_file(f"file:{where / '.mlsdk'}")
        points = sum(run.metrics["loss"].count for run in store.find().runs)
    met = taken <= 0.6 and errors == 0 and points == 40_000
    return [
        Row(
            "8 processes x 5,000 points, one store",
            f"{taken:.2f} s, {errors} errors, {40_000 - points} lost",
            "<= 0.6 s, 0, 0",
            "",
            met,
        )
    ]


def disk_full() -> list[Row]:
    """A 20 MB file system filled while training."""
    from mlsdk.store.base import open_file

    with folder() as where:
        disk = where / "disk"
        disk.mkdir()
        mounted = (
            subprocess.run(
                ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(disk)], check=False, capture_output=True
            ).returncode
            == 0
        )
        limit = None if mounted else (lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000_000, 20_000_000)))
        if not mounted:
            raise RuntimeError("a tmpfs cannot be mounted here; tests/faults covers the file size limit")
        del limit
        try:
            found = child("fill_disk", disk)
            store = open_file(f"file:{disk / '.mlsdk'}")
            series = store.find_one(found["id"]).history("loss")
            whole = list(series.values) == [float(i) for i in range(len(series))]
        finally:
            subprocess.run(["umount", "-l", str(disk)], check=False)
    said, took = f"{found['warnings']} warning", f"{found['finish_s'] * 1e3:.0f} ms"
    shown = f"went on, {said}, {len(series):,} points before readable, finish {took}"
    return [
        Row(
            "disk full while training",
            shown,
            "goes on, 1 warning, finish <= 1 s",
            "",
            whole and found["warnings"] == 1 and found["finish_s"] <= 1,
        )
    ]


def bytes_a_point() -> list[Row]:
    """Raw and sealed."""
    from mlsdk.store.base import open_file

    with folder() as where:
        run = child("noise_by_steps", where, 100_000, MLSDK_COMPANION="0")
        logs = open_file(f"file:{where / '.mlsdk'}").logs
        log = max(logs.list(f"runs/{run}"), key=logs.size)
        raw, path = logs.size(log), Path(where, ".mlsdk", f"{log}.seal")
        logs.seal(log)  # type: ignore[attr-defined]
        sealed = path.stat().st_size
    raw_each, sealed_each = raw / 100_000, sealed / 100_000
    shown = f"{raw_each:.1f} / {sealed_each:.2f}"
    return [
        Row(
            "bytes a point: raw / sealed (float32-origin noise)",
            shown,
            "<= 45 / <= 8",
            "",
            raw_each <= 45 and sealed_each <= 8,
        )
    ]


TOP_TEN = (
    "import mlsdk\n"
    "found = mlsdk.runs('metrics.acc > 0.9 and params.lr < 0.5', order_by='-metrics.acc', limit=10)\n"
    "assert len(found) == 10"
)


def two_thousand_runs() -> list[Row]:
    """2,000 runs: made, found, as a frame."""
    with folder() as where:
        made = child("make_runs", where, 2000)
        settle(where)
        time.sleep(3.0)
        found = [child("top_ten", where) for _ in range(5)]
        frame = sorted(child("as_frame", where) for _ in range(3))[1]
        bare = cpu_of_python("pass", 5) * 1e3
        walls = sorted(_wall(where, TOP_TEN) for _ in range(7))
    first, warm = walls[3] * 1e3, sorted(f["warm"] for f in found)[2]
    return [
        Row("2,000 runs of 20 params and 5 metrics x 10: make one", f"{made:.2f} ms", "<= 1.5 ms", "", made <= 1.5),
        Row(
            "… filtered top ten: fresh process, all counted",
            f"{first:.0f} ms",
            "<= 80 ms",
            f"bare Python {bare:.0f} ms",
            first <= 80,
        ),
        Row("… warm", f"{warm:.1f} ms", "<= 5 ms", "", warm <= 5),
        Row("… all as a pandas frame", f"{frame * 1e3:.0f} ms", "<= 100 ms", "", frame <= 0.1),
    ]


def _wall(where: Path, code: str) -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], cwd=where, env=environment(), check=True, capture_output=True)
    return time.perf_counter() - begun


def long_series() -> list[Row]:
    """One series of a million points."""
    with folder() as where:
        run = child("many_points", where, 1_000_000, MLSDK_EXIT_WAIT_S="60")
        seal = [sys.executable, "-m", "mlsdk", "seal", run]  # the companion has, or has not yet
        subprocess.run(seal, cwd=where, env=environment(), check=False, capture_output=True)
        found = [child("read_series", where, run) for _ in range(5)]
    taken = sorted(f["ms"] for f in found)[2]
    met = taken <= 50 and found[0]["count"] == 1_000_000
    return [Row("one series of 1,000,000 points, fresh process after import", f"{taken:.0f} ms", "<= 50 ms", "", met)]


def hundred_thousand_runs() -> list[Row]:
    """100,000 runs (only with --large): the catalog built once, then found."""
    where = Path(os.environ.get("MLSDK_BENCH_LARGE", "/tmp/mlsdk-large"))
    where.mkdir(exist_ok=True)
    if not (where / "made").exists():
        for _ in range(20):
            child("make_runs", where, 5000, MLSDK_CAPTURE="none", MLSDK_EXIT_WAIT_S="600")
        (where / "made").touch()
    for name in ("catalog.db", "catalog.db-wal", "catalog.db-shm"):
        (where / ".mlsdk" / name).unlink(missing_ok=True)
    built = child("rebuild", where)
    found = child("top_ten", where)
    command = sorted(
        _wall_of(
            [
                sys.executable,
                "-m",
                "mlsdk",
                "ls",
                "metrics.acc > 0.9 and params.lr < 0.5",
                "--sort=-metrics.acc",
                "-n",
                "10",
            ],
            where,
        )
        for _ in range(7)
    )[3]
    return [
        Row("100,000 runs: the catalog built once", f"{built['s']:.0f} s, {built['mib']:.0f} MiB", "bounded memory"),
        Row("… filtered top ten, warm", f"{found['warm']:.1f} ms", "<= 5 ms", "", found["warm"] <= 5),
        Row("… newest 100, warm", f"{found['newest']:.1f} ms", "-"),
        Row("… filtered top ten as a command", f"{command * 1e3:.0f} ms", "<= 200 ms", "", command <= 0.2),
    ]


def _wall_of(command: list[str], where: Path) -> float:
    begun = time.perf_counter()
    subprocess.run(command, cwd=where, env=environment(), check=True, capture_output=True)
    return time.perf_counter() - begun


ROWS: dict[str, Callable[[], list[Row]]] = {
    row.__name__: row
    for row in (
        import_time,
        empty_run,
        log_call,
        log_modes,
        wide_call,
        step_overhead,
        kills,
        eight_processes,
        disk_full,
        bytes_a_point,
        two_thousand_runs,
        long_series,
        *CAPTURE_ROWS,
        *DIFF_ROWS,
        *STATUS_ROWS,
    )
}
LARGE = {row.__name__: row for row in (hundred_thousand_runs, *NETWORK_ROWS, team_load, million_runs, foreign_programs)}
