"""What every implementation of `mlsdk.store.seams.Catalog` promises."""

from __future__ import annotations

import json
from collections.abc import Iterable

from mlsdk.errors import NewerFormatError, NotFoundError
from mlsdk.log.frames import FORMAT_VERSION
from mlsdk.query.parse import parse, parse_order
from mlsdk.store.seams import Catalog, Logs
from mlsdk.testing.logs import _error
from mlsdk.testing.made import START_NS, MadeLog

SECOND = 1_000_000_000


def ingest(catalog: Catalog, logs: Logs, log: MadeLog, cuts: Iterable[int] = ()) -> None:
    """Append a log to `logs` and hand it to the catalog in pieces, as a sender does who is told from where to go on."""
    logs.append(log.name, 0, log.data)
    wanted = 0
    for end in (*sorted(cuts), len(log.data)):
        wanted = catalog.ingest(log.name, wanted, log.data[wanted:end])


def made(
    name: str, *, acc: float | None = None, status: str | None = "finished", at: int = 0, **params: object
) -> MadeLog:
    """A short run, started `at` seconds after the others."""
    order = START_NS + at * SECOND
    log = MadeLog(f"{START_NS // 1_000_000 + at * 1000:012x}7{hash(name) & 0xFFF:03x}8{at:015x}", order=order)
    log.facts({"run": {"name": name, "experiment": "made", "started_ns": order}, "params": params})
    if acc is not None:
        log.points(["acc"], [(step, acc * (step + 1) / 4) for step in range(4)])
    if status is not None:
        log.facts({"run": {"status": status, "ended_ns": order + SECOND}}).close()
    return log


class CatalogContract:
    """Subclass it with fixtures `catalog`, an empty implementation, and `logs`, the logs that it reads points from."""

    def test_a_run_comes_back(self, catalog: Catalog, logs: Logs) -> None:
        """What a log says is what the record says."""
        log = made("a", acc=1.0, lr=0.1, layers=[1, 2]).facts({"tags": {"team": "x"}})
        ingest(catalog, logs, log)
        run = catalog.get(log.run)

        assert (run.id, run.name, run.experiment, run.status) == (log.run, "a", "made", "finished")
        assert (run.params, run.tags) == ({"lr": 0.1, "layers": [1, 2]}, {"team": "x"})
        assert run.duration_s == 1.0
        metric = run.metrics["acc"]
        assert (metric.last, metric.min, metric.max, metric.mean, metric.count) == (1.0, 0.25, 1.0, 0.625, 4)
        assert (metric.min_step, metric.max_step, metric.last_step) == (0, 3, 3)

    def test_any_pieces(self, catalog: Catalog, logs: Logs) -> None:
        """A log may come in any pieces; the answer says from where the catalog wants to go on."""
        log = made("a", acc=1.0, lr=0.1)
        ingest(catalog, logs, log, range(0, len(log.data), 7))
        again = catalog.ingest(log.name, 0, log.data[: log.borders[2]])

        assert again == len(log.data)
        assert catalog.get(log.run).metrics["acc"].count == 4
        assert catalog.get(log.run).status == "finished"

    def test_beyond_a_gap_nothing_is_taken(self, catalog: Catalog, logs: Logs) -> None:
        """Bytes that come too early are not taken; the offset of the gap is returned."""
        log = made("a", acc=1.0)
        logs.append(log.name, 0, log.data)
        early = catalog.ingest(log.name, log.borders[3], log.data[log.borders[3] :])
        first = catalog.ingest(log.name, 0, log.data[: log.borders[1] + 5])
        gap = catalog.ingest(log.name, log.borders[2], log.data[log.borders[2] :])
        last = catalog.ingest(log.name, gap, log.data[gap:])

        assert (early, first, gap, last) == (0, log.borders[1], log.borders[1], len(log.data))
        assert catalog.get(log.run).metrics["acc"].count == 4

    def test_any_order_of_logs(self, catalog: Catalog, logs: Logs) -> None:
        """Of each fact the one with the highest order wins, whichever log comes first; null removes."""
        main = made("a", status=None, lr=1)
        edit = MadeLog(main.run, "edit", order=main.order + SECOND)
        edit.facts({"run": {"name": "renamed", "status": "failed"}, "tags": {"x": 1}}).close()
        later = MadeLog(main.run, "edit", order=main.order + 2 * SECOND).facts({"tags": {"x": None, "y": 2}}).close()
        end = MadeLog(main.run, order=main.order + SECOND).facts(
            {"run": {"status": "finished", "ended_ns": START_NS + 5}}
        )
        for log in (later, end, edit, main):
            ingest(catalog, logs, log)
        run = catalog.get(main.run)

        assert (run.name, run.status, run.params, run.tags) == ("renamed", "finished", {"lr": 1}, {"y": 2})

    def test_series(self, catalog: Catalog, logs: Logs) -> None:
        """Points come back in the order of logging, each writer's by itself, without what a restart repeats."""
        log = made("a", acc=1.0)
        rank = MadeLog(log.run, "rank 1").points(["acc"], [(0, 7.0)]).close()
        again = MadeLog(log.run, order=log.order + SECOND).facts({"rewinds": {"x": 2}}).points(["acc"], [(2, 9.0)], "f")
        for one in (again, log, rank):
            ingest(catalog, logs, one)
        series = catalog.series(log.run, "acc")

        assert (list(series.steps), list(series.values)) == ([0, 1, 2], [0.25, 0.5, 9.0])
        assert list(catalog.series(log.run, "acc", 1).values) == [7.0]
        assert catalog.get(log.run).metrics["acc"].count == 3
        assert list(catalog.get(log.run).history("acc").steps) == [0, 1, 2]
        assert isinstance(_error(lambda: catalog.series(log.run, "nope")), NotFoundError)
        assert isinstance(_error(lambda: catalog.series(log.run, "acc", 5)), NotFoundError)

    def test_finding(self, catalog: Catalog, logs: Logs) -> None:
        """Runs that fit, in order; newest first without one."""
        for at, (name, acc) in enumerate({"a": 0.5, "b": 0.75, "c": 0.25}.items()):
            ingest(catalog, logs, made(name, acc=acc, at=at, lr=at))
        ask = parse("metrics.acc >= 0.5 and params.lr < 5")

        assert [run.name for run in catalog.find().runs] == ["c", "b", "a"]
        assert [run.name for run in catalog.find(ask, parse_order("-metrics.acc")).runs] == ["b", "a"]
        assert [run.name for run in catalog.find(order=parse_order("metrics.acc"), limit=2).runs] == ["c", "a"]
        assert catalog.find(parse("name = 'nobody'")).runs == ()

    def test_pages(self, catalog: Catalog, logs: Logs) -> None:
        """Going on with `after` gives every run once, in any order; None says that there are no more."""
        for at in range(7):
            ingest(catalog, logs, made(f"r{at}", acc=(at * 5 % 7) / 8 if at != 3 else None, at=at))
        for order in (), parse_order("-metrics.acc"), parse_order("name"):
            names, after = [], None
            while True:
                page = catalog.find(None, order, after, 3)
                names += [run.name for run in page.runs]
                after = page.after
                if after is None:
                    break

            assert names == [run.name for run in catalog.find(None, order).runs]
            assert sorted(names) == [f"r{at}" for at in range(7)]

    def test_deleted_runs_hide(self, catalog: Catalog, logs: Logs) -> None:
        """A deleted run is found by its id, and by a query that speaks of `deleted`; a restored one by any."""
        log = made("a")
        ingest(catalog, logs, log)
        ingest(catalog, logs, MadeLog(log.run, "edit", order=log.order + 1).facts({"run": {"deleted": True}}).close())
        hidden = [catalog.find().runs, catalog.find(parse("deleted")).runs, (catalog.get(log.run),)]
        ingest(catalog, logs, MadeLog(log.run, "edit", order=log.order + SECOND).facts({"run": {"deleted": None}}))

        assert [len(runs) for runs in hidden] == [0, 1, 1]
        assert hidden[2][0].deleted
        assert len(catalog.find().runs) == 1
        assert catalog.find(parse("deleted")).runs == ()

    def test_keys(self, catalog: Catalog, logs: Logs) -> None:
        """Names of fields in use, sorted, by kind and beginning."""
        ingest(catalog, logs, made("a", acc=0.5, lr=1, layers=2, model={"depth": 3}))

        assert catalog.keys("params") == ["params.layers", "params.lr", "params.model.depth"]
        assert catalog.keys("params", "l") == ["params.layers", "params.lr"]
        assert catalog.keys("metrics") == ["metrics.acc"]
        assert catalog.keys("tags") == []
        assert {"id", "name", "params.lr"} <= set(catalog.keys())

    def test_forgotten_runs_are_gone(self, catalog: Catalog, logs: Logs) -> None:
        """Nothing is left of a forgotten run; its logs may come again."""
        log, other = made("a", lr=1), made("b", at=1)
        ingest(catalog, logs, log)
        ingest(catalog, logs, other)
        catalog.forget(log.run)
        catalog.forget("0" * 32)
        gone = [run.name for run in catalog.find().runs], catalog.keys("params"), _error(lambda: catalog.get(log.run))
        ingest(catalog, logs, log)

        assert gone[:2] == (["b"], [])
        assert isinstance(gone[2], NotFoundError)
        assert catalog.get(log.run).params == {"lr": 1}

    def test_a_newer_log_hides_only_its_run(self, catalog: Catalog, logs: Logs) -> None:
        """A run with a log of a newer format is refused by what to do; the others stay readable."""
        newer = MadeLog(version=FORMAT_VERSION + 1)
        newer.facts({"run": {"name": "n"}}).close()
        ingest(catalog, logs, newer)
        ingest(catalog, logs, made("a"))
        error = _error(lambda: catalog.get(newer.run))

        assert isinstance(error, NewerFormatError)
        assert "pip install -U mlsdk" in str(error)
        assert [run.name for run in catalog.find().runs] == ["a"]

    def test_verdicts(self, catalog: Catalog, logs: Logs) -> None:
        """The level of the last verdict is found by; it and the earlier ones come back by their ids."""
        log, other = made("a"), made("b", at=1)
        ingest(catalog, logs, log)
        ingest(catalog, logs, other)
        for number, level in enumerate("BX"):
            edit = MadeLog(log.run, "edit", order=log.order + (5 + number) * SECOND)
            verdict = {"level": level, "reason": "why"}
            edit.facts({"verdicts": {f"v{number}": verdict}, "run": {"reproduced": level, "verdict": f"v{number}"}})
            ingest(catalog, logs, edit.close())
        (run,) = catalog.find(parse("reproduced = 'X'")).runs

        assert (run.id, run.reproduced, run.verdict["level"], list(run.verdicts)) == (log.run, "X", "X", ["v0", "v1"])
        assert [one.id for one in catalog.find(parse("reproduced is null")).runs] == [other.run]
        assert catalog.find(parse("reproduced = 'B'")).runs == ()
        assert dict(catalog.get(other.run).verdict) == {}

    def test_strange_facts_hide_nothing(self, catalog: Catalog, logs: Logs) -> None:
        """Whatever stands in facts, by a stranger or a newer version, the run is found and read."""
        log = made("a", lr=1)
        values: list[object] = [17, "x", [], {}, True, 1e300, {"$": "float", "v": "nan"}, 10**30, "a\udc80", None]
        for value in values:
            for kind in (
                "datasets",
                "artifacts",
                "problems",
                "code",
                "env",
                "gone",
                "rewinds",
                "metrics",
                "signs",
                "verdicts",
                "new",
            ):
                log.facts({kind: {"k": value, log.name: value}})
            for key in ("parent", "note", "error", "deleted", "erased", "started_ns", "ended_ns", "user", "verdict"):
                log.facts({"run": {key: value}})
        log.facts({"problems": {"p": {"message": 1, "t": "x", "count": None}}, "artifacts": {"f": {"digest": 1}}})
        ingest(catalog, logs, log)
        run = catalog.get(log.run)

        assert run.params == {"lr": 1}
        assert (run.artifacts, dict(run.ranks)) == ({}, {})
        assert catalog.find().runs == (run,)

    def test_counting_and_hints(self, catalog: Catalog, logs: Logs) -> None:
        """How many runs fit, whether any has a field, and which ids begin and end so: what messages to people need."""
        made_logs = [made(name, acc=acc, at=at, lr=at) for at, (name, acc) in enumerate({"a": 0.5, "b": 0.75}.items())]
        for log in made_logs:
            ingest(catalog, logs, log)
        ingest(catalog, logs, MadeLog(made_logs[0].run, "edit", order=START_NS + 9).facts({"run": {"deleted": True}}))
        ids = [log.run for log in made_logs]

        assert (catalog.count(), catalog.count(parse("deleted")), catalog.count(parse("params.lr > 7"))) == (1, 1, 0)
        assert (catalog.has_key("params.lr"), catalog.has_key("metrics.acc"), catalog.has_key("params.x")) == (
            True,
            True,
            False,
        )
        assert catalog.matching_ids() == ids[::-1]
        assert catalog.matching_ids(beginning=ids[0][:20], end=ids[0][-5:]) == [ids[0]]
        assert catalog.matching_ids(end="0" * 31 + "f") == []
        assert catalog.matching_ids(limit=1) == [ids[1]]

    def test_the_unreadable_are_told(self, catalog: Catalog, logs: Logs) -> None:
        """Each run that only a newer version reads is told by a sentence."""
        ingest(catalog, logs, made("a"))
        before = list(catalog.unreadable())
        newer = MadeLog(version=FORMAT_VERSION + 1).facts({"run": {"name": "n"}}).close()
        ingest(catalog, logs, newer)
        told = list(catalog.unreadable())

        assert before == []
        assert len(told) == 1
        assert "pip install -U mlsdk" in told[0]

    def test_documents_are_what_records_are_made_of(self, catalog: Catalog, logs: Logs) -> None:
        """What is kept of a run is handed on as it is: the same runs in the same order and pages as `find` gives."""
        for at in range(3):
            ingest(catalog, logs, made(f"r{at}", acc=at / 4, at=at))
        order = parse_order("-metrics.acc")
        page, listing = catalog.find(None, order, None, 2), catalog.documents(None, order, None, 2)
        names = [json.loads(listed.document)["run"]["name"] for listed in listing.runs]
        one = catalog.document(page.runs[0].id)

        assert names == [run.name for run in page.runs] == ["r2", "r1"]
        assert [listed.status for listed in listing.runs] == ["finished", "finished"]
        assert [run.name for run in catalog.find(None, order, listing.after, 2).runs] == ["r0"]
        assert json.loads(one.document) == json.loads(listing.runs[0].document)
        assert isinstance(_error(lambda: catalog.document("0" * 32)), NotFoundError)

    def test_what_a_record_looks_up(self, catalog: Catalog, logs: Logs) -> None:
        """Details and children of a run, oldest first and without deleted ones; of an unknown run there are none."""
        parent = made("parent").facts({"code": {"entry": "train.py"}})
        children = [made(f"c{at}", at=at + 1).facts({"run": {"parent": parent.run}}) for at in range(3)]
        for log in (*reversed(children), parent):
            ingest(catalog, logs, log)
        ingest(catalog, logs, MadeLog(children[1].run, "edit", order=START_NS * 2).facts({"run": {"deleted": True}}))

        assert catalog.details(parent.run)["code"] == {"entry": "train.py"}
        assert catalog.get(parent.run).code["entry"] == "train.py"
        assert catalog.get(parent.run).children == (children[0].run, children[2].run)
        assert isinstance(_error(lambda: catalog.details("0" * 32)), NotFoundError)
