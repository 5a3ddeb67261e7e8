"""The rows about captures and fingerprints."""

from __future__ import annotations

from collections.abc import Callable

from tests.benchmarks.measure import Row, child, folder, settle

_SWITCHES = {
    "every capture on": {},
    "without observing inputs": {"MLSDK_OBSERVE": "0"},
    "without samples": {"MLSDK_SAMPLE_EVERY_S": "0"},
    "samples every second": {"MLSDK_SAMPLE_EVERY_S": "1"},
    "without captures": {"MLSDK_CAPTURE": "none"},
}


def step_by_capture() -> list[Row]:
    """5 metrics on a 60 µs step, with captures switched off one by one; each of them in turn, three times."""
    found: dict[str, list[float]] = {name: [] for name in _SWITCHES}
    for _ in range(3):
        for name, variables in _SWITCHES.items():
            with folder() as where:
                taken = child("training_step", where, **variables)
                found[name].append(taken["tracked"] / taken["plain"])
                settle(where)
    rows = []
    for number, (name, ratios) in enumerate(found.items()):
        ratio = sorted(ratios)[1]
        bound, met = ("-", None) if number else ("<= 1.08 x", ratio <= 1.08)
        rows.append(Row(f"{'… ' if number else '5 metrics on a 60 µs step, '}{name}", f"{ratio:.3f} x", bound, "", met))
    with folder() as where:
        event = child("capturing.audit_event", where)
    told = f"{event['live'] - event['before']:.0f} ns"
    return [*rows, Row("an audit event of Python's, while a run is live", told, "-", f"bare {event['before']:.0f} ns")]


def code_tree() -> list[Row]:
    """The code tree of a repository, in the companion."""
    rows = []
    for files, bound in ((5_000, 0.3), (50_000, 3.0)):
        with folder() as where:
            found = child("capturing.code_tree", where, files)
        cold, told = (
            found["cold_s"],
            f"unchanged {found['unchanged_s']:.2f} s, one changed {found['one_changed_s']:.2f} s",
        )
        rows.append(Row(f"code tree of {files:,} files, cold", f"{cold:.2f} s", f"<= {bound} s", told, cold <= bound))
    return rows


def reachable() -> list[Row]:
    """The functions that a project of 500 modules can reach."""
    with folder() as where:
        found = child("capturing.reachable", where, 500)
    told = f"{found['first'] * 1e3:.0f} / {found['again'] * 1e3:.2f} ms"
    beside = f"{found['cold']:.2f} / {found['warm']:.3f} s"
    return [
        Row(f"500 modules, {found['count']:,} names reached: in the caller, first / later", told, "-"),
        Row("… beside, cold / warm", beside, "-"),
    ]


def fingerprints() -> list[Row]:
    """Fingerprints of a file of 1 GB and of a frame of 1,000,000 x 10."""
    with folder() as where:
        file = child("capturing.file_speed", where, XDG_CACHE_HOME=str(where / "cache"))
        frame = child("capturing.frame_speed", where)
    share, times = file["read"] / file["limit"], frame["taken"] / frame["limit"]
    unchanged, compared = file["unchanged_ms"], frame["compared"]
    return [
        Row(
            "fingerprint of a file of 1 GB",
            f"{file['read']:.2f} GB/s",
            ">= 80 % of SHA-256",
            f"{share:.0%} of {file['limit']:.2f} GB/s",
            share >= 0.8,
        ),
        Row("… unchanged", f"{unchanged:.2f} ms", "<= 1 ms", "", unchanged <= 1),
        Row(
            "fingerprint of a frame, 1,000,000 x 10",
            f"{frame['taken']:.2f} s",
            "<= 3 x a bare pass",
            f"{times:.1f} x {frame['limit']:.3f} s",
            times <= 3,
        ),
        Row(
            "… compared with 1, 3, 1,000 changed rows",
            f"{compared:.2f} s, {'exact' if frame['right'] else 'WRONG'}",
            "<= 2 s, exact",
            "",
            compared <= 2 and frame["right"],
        ),
    ]


CAPTURE_ROWS: tuple[Callable[[], list[Row]], ...] = (step_by_capture, code_tree, reachable, fingerprints)
