"""Samples of a real process that works, of one that ends, of one that is gone; of GPUs by recorded answers."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

import mlsdk
from mlsdk.capture.hardware.energy import Rapl
from mlsdk.capture.hardware.gpu import Gpus
from mlsdk.capture.hardware.nvml import Nvml
from mlsdk.companion import machine as machines
from mlsdk.companion import processes
from mlsdk.companion.machine import Machine
from mlsdk.companion.sampler import Sampler
from tests import programs
from tests.capture.hardware.nvml_answers import GIB, Answers, h200, old_card, process
from tests.companion.test_processes import MIB, Helper

Points = list[Mapping[str, float]]

NO_RAPL = "/nowhere"


def _machine(*devices: dict[str, object], rapl: str = NO_RAPL) -> Machine:
    answers = Answers(*devices)
    return Machine(lambda: Gpus(Nvml(answers), "/nowhere"), Rapl(rapl))


def _sampler(pid: int, machine: Machine | None = None, **settings: float) -> tuple[Sampler, Points]:
    points: Points = []
    given = {"interval_s": 5.0, **settings}
    sampler = Sampler(pid, lambda values, _: points.append(values), machine=machine or _machine(), **given)
    return sampler, points


@pytest.fixture
def helper() -> Iterator[Helper]:
    """A process that does what it is told."""
    one = Helper()
    one.do("say('ready')")
    yield one
    one.end()


def test_a_process_that_works(helper: Helper) -> None:
    """A process that burns a core and takes memory is seen to do just that, apart from the rest of the machine."""
    sampler, points = _sampler(helper.pid, price_per_hour=3.6)
    sampler.tick(100.0)
    began = float(helper.do("say(time.process_time())"))
    ended = float(helper.do(f"block = bytearray({150 * MIB}); burn(0.5); say(time.process_time())"))
    sampler.tick(100.0 + (ended - began))
    found = sampler.summary(100.0 + (ended - began), duration_s=2.0)

    assert len(points) == found["samples"] == 1
    assert points[0]["system/process/cpu"] == pytest.approx(1.0, abs=0.15)
    assert points[0]["system/process/memory_bytes"] > 150 * MIB
    assert points[0]["system/process/processes"] == 1
    assert 0 <= points[0]["system/machine/cpu"] <= 1
    assert points[0]["system/machine/memory_bytes"] >= points[0]["system/process/memory_bytes"]
    assert found["cpu_s"] == pytest.approx(ended - began, abs=0.1)
    assert 150 * MIB < float(str(found["peak_memory_bytes"])) < 250 * MIB
    assert found["energy_j"] == found["energy_cpu_j"] == pytest.approx(3.5 * float(str(found["cpu_s"])))
    assert found["cost"] == pytest.approx(0.002)
    assert "sampler_missing" not in found


def test_a_peak_between_two_samples(helper: Helper) -> None:
    """Memory that was taken and given back between two samples is in the peak."""
    sampler, _ = _sampler(helper.pid)
    sampler.tick(0.0)
    helper.do(f"block = bytearray({120 * MIB}); del block; say('over')")
    found = sampler.summary(3.0)

    if "process_peak_memory_bytes" not in found:
        pytest.skip("this system does not tell the most memory that a process held")
    assert float(str(found["peak_memory_bytes"])) > 120 * MIB


def test_workers_are_counted(helper: Helper) -> None:
    """What workers use is the run's, while they live and when they have ended."""
    sampler, points = _sampler(helper.pid)
    sampler.tick(0.0)
    helper.do("r, w = os.pipe(); p = os.fork(); p or (burn(0.3), os.read(r, 1), os._exit(0)); say(p)")
    sampler.tick(1.0)
    helper.do("os.write(w, b'x'); os.waitpid(p, 0); say('over')")
    sampler.tick(3.0)
    found = sampler.summary(4.0)

    assert points[0]["system/process/processes"] == 2
    assert points[-1]["system/process/processes"] == 1
    assert found["cpu_s"] == pytest.approx(0.3, abs=0.2)


def test_a_process_that_ends_in_the_middle() -> None:
    """When the process ends, its sums stand, and no sample is taken of nothing."""
    one = Helper()
    sampler, points = _sampler(one.pid)
    sampler.tick(0.0)
    one.do("burn(0.2); say('over')")
    sampler.tick(1.0)
    one.end()
    sampler.tick(10.0)
    found = sampler.summary(20.0, duration_s=12.0)

    assert len(points) == found["samples"] == 1
    assert found["cpu_s"] == pytest.approx(0.2, abs=0.15)
    assert float(str(found["energy_j"])) > 0


def test_a_process_that_is_gone() -> None:
    """Of a process that had ended before the first look it is said that nothing could be seen."""
    one = Helper()
    one.end()
    sampler, points = _sampler(one.pid, price_per_hour=7200.0)
    sampler.tick(0.0)
    found = sampler.summary(1.0, duration_s=0.5)

    assert points == []
    assert found["samples"] == 0
    assert "cpu_s" not in found
    assert "energy_j" not in found
    assert "had ended before" in str(found["sampler_missing"])
    assert found["cost"] == 1.0


def test_a_run_that_is_seen_once() -> None:
    """Of a run that ended before a second look memory is known, energy is not, and nothing is made up."""
    one = Helper()
    one.do("say('ready')")
    sampler, points = _sampler(one.pid)
    sampler.tick(0.0)
    found = sampler.summary(0.05)
    one.end()

    assert points == []
    assert found["energy_source"] == "unavailable"
    assert "energy_j" not in found
    assert float(str(found["peak_memory_bytes"])) > MIB


def test_a_short_run_has_a_sample(helper: Helper) -> None:
    """A run much shorter than the interval has samples, which come soon; the end brings one where there was none."""
    machine = _machine()
    short, points = _sampler(helper.pid, machine)
    shorter, others = _sampler(helper.pid, machine)
    for tenth in range(21):
        short.tick(1000.3 + tenth / 10)
    short.summary(1000.3 + 2.4)
    shorter.tick(2000.0)
    shorter.summary(2000.22)

    assert len(points) == 3
    assert len(others) == 1


def test_the_beat_is_shared(helper: Helper) -> None:
    """After their first moments all runs sample on the same beat, and the machine is looked at once for all."""
    machine = _machine()
    first, points = _sampler(helper.pid, machine)
    second, others = _sampler(os.getpid(), machine)
    looks = []
    original = machine._read
    machine._read = lambda now: looks.append(now) or original(now)  # type: ignore[method-assign, func-returns-value]
    for tenth in range(300):
        if tenth < 290:
            first.tick(tenth / 10)
        if tenth >= 33:
            second.tick(tenth / 10 + 0.01)

    late = [round(look) for look in looks if look > 9]
    assert late == [10, 15, 20, 25]
    assert len(points) > 5
    assert len(others) > 5


def test_runs_of_one_process(helper: Helper) -> None:
    """A second run of the same process pays for its own time only."""
    machine = _machine()
    first, _ = _sampler(helper.pid, machine)
    first.tick(0.0)
    helper.do("burn(0.4); say('over')")
    second, _ = _sampler(helper.pid, machine)
    second.tick(1.0)
    helper.do("burn(0.1); say('over')")
    later = second.summary(2.0)
    both = first.summary(2.0)

    assert both["cpu_s"] == pytest.approx(0.5, abs=0.15)
    assert later["cpu_s"] == pytest.approx(0.1, abs=0.08)
    assert float(str(later["energy_j"])) < float(str(both["energy_j"]))


def test_switched_off(helper: Helper) -> None:
    """An interval of 0 takes no sample, looks at nothing and says nothing."""
    sampler, points = _sampler(helper.pid, interval_s=0.0)
    sampler.tick(0.0)
    sampler.tick(100.0)

    assert sampler.summary(200.0) == {}
    assert points == []


def test_measured_energy(helper: Helper, tmp_path: Path) -> None:
    """With a counter of the packages the energy is measured, from the run's start to its end, by share of use."""
    zone = tmp_path / "intel-rapl:0"
    zone.mkdir()
    (zone / "name").write_text("package-0\n")
    (zone / "max_energy_range_uj").write_text("262143328850\n")
    (zone / "energy_uj").write_text("262143000000\n")
    sampler, _ = _sampler(helper.pid, _machine(rapl=str(tmp_path)))
    sampler.tick(0.0)
    helper.do("burn(0.3); say('over')")
    (zone / "energy_uj").write_text("9671150\n")
    found = sampler.summary(1.0)

    assert found["energy_source"] == "cpu: RAPL"
    assert 0 < float(str(found["energy_cpu_j"])) <= 10.000001


def test_gpus(helper: Helper) -> None:
    """Each card has its metrics, the process's own memory on it among them; its counter makes the energy."""
    answers = Answers(h200(0), h200(1), old_card(2))
    sampler, points = _sampler(helper.pid, Machine(lambda: Gpus(Nvml(answers), "/nowhere"), Rapl(NO_RAPL)))
    answers.devices[1]["ComputeRunningProcesses"] = [process(helper.pid, 40 * GIB)]
    sampler.tick(0.0)
    answers.spend(1, joules=650.0, watts=655.5)
    answers.devices[1]["UtilizationRates"].gpu = 96
    answers.devices[1]["MemoryInfo"].used = 41 * GIB
    answers.devices[1]["Temperature"] = 58
    sampler.tick(1.0)
    answers.devices[1]["ComputeRunningProcesses"] = []
    answers.spend(1, joules=50.0, watts=90)
    found = sampler.summary(2.0)
    of_card = {name[12:]: value for name, value in points[0].items() if name.startswith("system/gpu1/")}

    assert of_card == {
        "utilisation": 0.96,
        "memory_bytes": 41 * GIB,
        "temperature_c": 58,
        "power_w": 655.5,
        "process_memory_bytes": 40 * GIB,
    }
    assert points[0]["system/gpu0/process_memory_bytes"] == 0
    assert {name for name in points[0] if name.startswith("system/gpu2/")} == {
        "system/gpu2/memory_bytes",
        "system/gpu2/temperature_c",
    }
    assert found["energy_gpu_j"] == pytest.approx(700.0)
    assert found["energy_j"] == pytest.approx(700.0 + float(str(found["energy_cpu_j"])))
    assert found["energy_source"] == "cpu: estimate from TDP and use; gpu: NVML counter"
    assert found["gpu_peak_memory_bytes"] == 40 * GIB
    assert found["gpus_used"] == [1]
    assert found["sampler_missing"]["gpu2 power"] == "Not Supported"  # type: ignore[index]


def test_a_card_lost_in_the_middle(helper: Helper) -> None:
    """When a card is lost, the others and the process go on being sampled, and the run says what was lost."""
    answers = Answers(h200(0), h200(1))
    sampler, points = _sampler(helper.pid, Machine(lambda: Gpus(Nvml(answers), "/nowhere"), Rapl(NO_RAPL)))
    sampler.tick(0.0)
    sampler.tick(1.0)
    answers.lose(0)
    sampler.tick(5.0)
    found = sampler.summary(6.0)

    assert "system/gpu0/power_w" in points[0]
    assert "system/gpu0/power_w" not in points[1]
    assert {"system/gpu1/power_w", "system/process/cpu"} <= set(points[1])
    assert found["sampler_missing"]["gpu0"] == "GPU is lost"  # type: ignore[index]


def test_gpus_that_fail_or_hang(helper: Helper, monkeypatch: pytest.MonkeyPatch) -> None:
    """GPUs that cannot be read, or that never answer, cost the run nothing but their own samples."""
    monkeypatch.setattr(machines, "GPU_ANSWER_S", 0.05)
    over = threading.Event()
    asked = []

    def hang() -> Gpus:
        asked.append(1)
        over.wait(60)
        return Gpus("nothing")

    def fail() -> Gpus:
        raise OSError("libnvidia-ml.so.1: wrong ELF class")

    found = []
    for opening in (hang, fail):
        sampler, points = _sampler(helper.pid, Machine(opening, Rapl(NO_RAPL)))
        sampler.tick(0.0)
        sampler.tick(1.0)
        found.append(sampler.summary(2.0))

        assert len(points) == 1
    over.set()

    assert asked == [1]
    assert "has not answered" in str(found[0]["sampler_missing"])
    assert "wrong ELF class" in str(found[1]["sampler_missing"])


def test_counters_that_fall(helper: Helper, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network card or a disk that leaves takes its count along: that is no negative rate."""
    sampler, points = _sampler(helper.pid)
    sampler.tick(0.0)
    monkeypatch.setattr(psutil, "net_io_counters", lambda **_: {"eth0": SimpleNamespace(bytes_recv=0, bytes_sent=0)})
    monkeypatch.setattr(psutil, "disk_io_counters", lambda: None)
    sampler.tick(1.0)
    monkeypatch.setattr(psutil, "net_io_counters", lambda **_: {})
    sampler.tick(10.0)

    assert points[0].get("system/machine/network_received_bytes_per_s", 0) == 0
    assert "system/machine/disk_read_bytes_per_s" not in points[0]
    assert "system/machine/network_sent_bytes_per_s" not in points[1]
    assert "system/process/cpu" in points[1]


PARTS = {"virtual_memory": "memory", "cpu_times": "cpu", "disk_io_counters": "disk", "net_io_counters": "network"}


@pytest.mark.parametrize("name", PARTS)
def test_a_part_that_fails(helper: Helper, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """What the system does not tell, whatever the reason, is said, and costs no other part of the sample."""
    sampler, points = _sampler(helper.pid)
    monkeypatch.setattr(psutil, name, lambda **_: 1 // 0)
    sampler.tick(0.0)
    sampler.tick(1.0)
    found = sampler.summary(2.0)

    assert len(points) == 1
    assert "system/process/cpu" in points[0]
    assert not any(known.startswith(f"system/machine/{PARTS[name]}") for known in points[0])
    assert "ZeroDivisionError" in str(found["sampler_missing"])
    assert float(str(found["energy_j"])) >= 0


def test_a_log_that_fails(helper: Helper) -> None:
    """A log that takes no more, on a full disk say, is no end of the sampler."""

    def full(_: Mapping[str, float], __: int) -> None:
        raise OSError("disk full")

    sampler = Sampler(helper.pid, full, interval_s=1.0, machine=_machine())
    sampler.tick(0.0)
    sampler.tick(1.0)
    found = sampler.summary(2.0)

    assert "disk full" in str(found["sampler_missing"])
    assert "energy_j" in found


def test_times_of_points(helper: Helper) -> None:
    """Each sample comes with the time that it belongs to."""
    stamps: list[int] = []
    sampler = Sampler(helper.pid, lambda _, at: stamps.append(at), interval_s=1.0, machine=_machine())
    begun = time.time_ns()
    sampler.tick(0.0)
    sampler.tick(1.0)

    assert begun <= stamps[0] <= time.time_ns()


@pytest.mark.skipif(not processes._BY_HAND, reason="the start of a process is compared on Linux only")
def test_a_number_used_again(helper: Helper) -> None:
    """A process that has the number of the run's, but began at another time, is not the run's."""
    sampler, points = _sampler(helper.pid, start=1)
    sampler.tick(0.0)
    sampler.tick(1.0)

    assert points == []


def test_this_machine() -> None:
    """On this machine, with what it has, a process can be sampled from start to end."""
    points: Points = []
    sampler = Sampler(os.getpid(), lambda values, _: points.append(values), interval_s=1.0, machine=Machine())
    sampler.tick(0.0)
    found = sampler.summary(1.0)

    assert found["samples"] == len(points) == 1
    assert float(str(found["energy_j"])) >= 0


def test_a_run() -> None:
    """A run shows its samples while it is live, and what they came to when it has ended."""
    programs.execute(
        """
        import time
        with mlsdk.run("hw") as run:
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline and "system/process/cpu" not in mlsdk.get_run(run.id).metrics:
                time.sleep(0.1)
        """,
        MLSDK_PRICE_PER_HOUR="360",
        MLSDK_CPU_TDP_W="100",
    )
    run = mlsdk.get_run("latest")

    assert run.metrics["system/process/memory_bytes"].last > MIB
    assert float(str(run.hardware["peak_memory_bytes"])) >= run.metrics["system/process/memory_bytes"].last
    assert "TDP 100 W" in str(run.hardware["energy_note"]) or run.hardware["energy_source"] == "cpu: RAPL"
    assert 0 < float(str(run.hardware["cost"])) < 6
    assert int(str(run.hardware["samples"])) >= 1
