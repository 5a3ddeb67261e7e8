"""Energy: counters that go round, shares, estimates, and what is said of each."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mlsdk.capture.hardware.energy import WATTS_PER_CORE, Meter, Rapl, memory_of, share_of
from mlsdk.capture.hardware.nvml import GpuReading, Nvml
from tests.capture.hardware.nvml_answers import GIB, Answers, h200, process, use

NOTHING: frozenset[str] = frozenset()
FOREIGN = 1 << 30
"""No process has such a number here."""


def _powercap(folder: Path, **zones: tuple[str, int]) -> str:
    """A folder as `/sys/class/powercap`: zones by name (`_` for `:`), their kind and where they stand."""
    for zone, (kind, energy_uj) in zones.items():
        place = folder / f"intel-rapl:{zone[1:].replace('_', ':')}"
        place.mkdir(exist_ok=True)
        (place / "name").write_text(f"{kind}\n")
        (place / "max_energy_range_uj").write_text("262143328850\n")
        (place / "energy_uj").write_text(f"{energy_uj}\n")
    (folder / "intel-rapl").mkdir(exist_ok=True)
    return str(folder)


def test_rapl_counts_packages_and_memory(tmp_path: Path) -> None:
    """Packages and memory are counted; cores, which lie in packages, and the whole platform are not."""
    _powercap(tmp_path, z0=("package-0", 0), z1=("package-1", 0), z0_0=("core", 0), z0_1=("dram", 0), z2=("psys", 0))
    rapl = Rapl(str(tmp_path))
    first = rapl.read()
    _powercap(
        tmp_path,
        z0=("package-0", 5_000_000),
        z1=("package-1", 2_000_000),
        z0_0=("core", 4_000_000),
        z0_1=("dram", 1_500_000),
        z2=("psys", 90_000_000),
    )

    assert first == 0.0
    assert rapl.read() == 8.5
    assert rapl.read() == 8.5


def test_rapl_goes_round(tmp_path: Path) -> None:
    """A counter that begins again after its largest value loses nothing."""
    rapl = Rapl(_powercap(tmp_path, z0=("package-0", 262_143_000_000)))
    _powercap(tmp_path, z0=("package-0", 671_150))
    once = rapl.read()
    _powercap(tmp_path, z0=("package-0", 1_671_150))

    assert once == pytest.approx(1.0)
    assert rapl.read() == pytest.approx(2.0)


def test_rapl_that_vanishes(tmp_path: Path) -> None:
    """A counter that cannot be read any more is nothing measured from then on, and the reason is there."""
    rapl = Rapl(_powercap(tmp_path, z0=("package-0", 1)))
    before = rapl.read()
    (tmp_path / "intel-rapl:0" / "energy_uj").unlink()

    assert before == 0.0
    assert rapl.read() is None
    assert "could not be read any more" in str(rapl.missing)


def test_rapl_for_root_only(tmp_path: Path) -> None:
    """A counter that only root may read is not there, and the reason says so; so is one of a machine without."""
    folder = _powercap(tmp_path, z0=("package-0", 1))
    (tmp_path / "intel-rapl:0" / "energy_uj").unlink()

    assert Rapl(folder).read() is None
    assert "only root" in str(Rapl(folder).missing)
    assert Rapl(str(tmp_path / "nowhere")).missing == "this machine shows no RAPL counters"


def test_measured_by_share() -> None:
    """What the packages used is shared out by busy processor time; a share is never above one."""
    meter = Meter()
    meter.add_cpu(cpu_s=2.0, busy_s=8.0, rapl_j=100.0)
    meter.add_cpu(cpu_s=1.0, busy_s=0.9, rapl_j=10.0)
    meter.add_cpu(cpu_s=0.0, busy_s=0.0, rapl_j=3.0)
    meter.add_cpu(cpu_s=0.1, busy_s=0.0, rapl_j=1.0)
    found = meter.facts(gpus=0)

    assert found["energy_cpu_j"] == found["energy_j"] == 36.0
    assert found["energy_source"] == "cpu: RAPL"
    assert "energy_gpu_j" not in found


def test_estimated() -> None:
    """Without a counter it is an estimate, by the power that is set or by one that is stated."""
    set_, unset = Meter(tdp_w=120, cores=8), Meter()
    for meter in (set_, unset):
        meter.add_cpu(cpu_s=10.0, busy_s=20.0, rapl_j=None)

    assert set_.facts(0)["energy_j"] == 150.0
    assert unset.facts(0)["energy_j"] == 10 * WATTS_PER_CORE
    assert set_.facts(0)["energy_source"] == "cpu: estimate from TDP and use"
    assert "TDP 120 W" in str(set_.facts(0)["energy_note"])
    assert "3.5 W for a busy core" in str(unset.facts(0)["energy_note"])


def test_a_counter_lost_on_the_way() -> None:
    """If the counter could not be read all the time, the whole is an estimate, not half of each."""
    meter = Meter(tdp_w=10, cores=1)
    meter.add_cpu(1.0, 1.0, 500.0)
    meter.add_cpu(1.0, 1.0, None)
    meter.add_cpu(1.0, 1.0, 500.0)

    assert meter.facts(0)["energy_j"] == 30.0
    assert meter.facts(0)["energy_source"] == "cpu: estimate from TDP and use"


def test_what_was_before_is_not_counted() -> None:
    """A run that begins when the meter of its process has run for a while pays for its own time only."""
    meter = Meter(tdp_w=10, cores=1)
    meter.add_cpu(5.0, 5.0, None)
    base = meter.marks()
    meter.add_cpu(2.0, 2.0, None)

    assert meter.facts(0, base)["energy_j"] == 20.0


def test_gpu_by_its_counter() -> None:
    """The counter's difference is counted of the card that the process uses, in millijoules, and not of the others."""
    answers = Answers(h200(0), h200(1))
    reader, meter = Nvml(answers), Meter()
    answers.devices[0]["ComputeRunningProcesses"] = [process(7, GIB)]
    before = [reader.read(0), reader.read(1)]
    answers.spend(0, joules=3500.0, watts=690)
    answers.spend(1, joules=400.0, watts=76)
    meter.add_gpus(before, [reader.read(0), reader.read(1)], 5.0, {7, 8}, NOTHING)
    found = meter.facts(gpus=2)

    assert found["energy_gpu_j"] == pytest.approx(3500.0)
    assert found["energy_source"] == "cpu: RAPL; gpu: NVML counter"
    assert found["energy_j"] == found["energy_gpu_j"]


def test_gpu_by_its_power() -> None:
    """A card without a counter, or one whose counter began anew, is counted by its power and the time."""
    meter = Meter()
    first = GpuReading(power_w=100.0, processes={7: GIB}, energy_j=50.0)
    meter.add_gpus([first], [first._replace(power_w=200.0, energy_j=1.0)], 4.0, {7}, NOTHING)
    meter.add_gpus([first._replace(energy_j=None)], [first._replace(power_w=None)], 1.0, {7}, NOTHING)

    assert meter.facts(1)["energy_gpu_j"] == 700.0
    assert str(meter.facts(1)["energy_source"]).endswith("gpu: NVML power")


def test_gpu_that_tells_nothing() -> None:
    """A card that is used and tells neither, or hides who uses it, makes that part unavailable, with the reason."""
    silent, hidden = Meter(), Meter()
    silent.add_gpus([GpuReading(processes={7: 1})], [GpuReading(processes={7: 1})], 1.0, {7}, NOTHING)
    hidden.add_gpus([GpuReading(power_w=9.0)], [GpuReading(power_w=9.0)], 1.0, {7}, NOTHING)

    assert "energy_gpu_j" not in silent.facts(1)
    assert silent.facts(1)["energy_missing"] == {"gpu0": "it was used, and tells neither energy nor power"}
    assert str(hidden.facts(1)["energy_source"]).endswith("gpu: unavailable")
    assert hidden.facts(1)["energy_missing"] == {"gpu0": "it does not tell which processes use it"}


def test_gpu_unused() -> None:
    """Where no card is used, the part is nought, not unknown."""
    meter = Meter()
    meter.add_gpus([GpuReading(processes={})], [GpuReading(processes={9: 1})], 1.0, {7}, NOTHING)

    assert meter.facts(1)["energy_gpu_j"] == 0
    assert str(meter.facts(1)["energy_source"]).endswith("gpu: none used")


def test_the_last_moments_of_a_process() -> None:
    """A process that ended between two looks pays by the share that it had before."""
    meter = Meter()
    meter.add_gpus(
        [GpuReading(energy_j=1.0, processes={7: 1})], [GpuReading(energy_j=5.0, processes={})], 1.0, {7}, NOTHING
    )

    assert meter.facts(1)["energy_gpu_j"] == 4.0


def test_shares() -> None:
    """A shared card is shared out by the time on its multiprocessors, or else in equal parts."""
    card = h200(0)
    card["ComputeRunningProcesses"] = [process(7, GIB), process(8, GIB), process(9, GIB)]
    equal = Nvml(Answers(card)).read(0)
    card["ProcessUtilization"] = [use(7, 30), use(8, 10), use(9, 60)]
    used = Nvml(Answers(card)).read(0)

    assert share_of(equal, {7, 8, 1}, NOTHING) == pytest.approx(2 / 3)
    assert share_of(used, {7, 8, 1}, NOTHING) == pytest.approx(0.4)
    assert share_of(used, {7, 8, 9}, NOTHING) == 1.0
    assert share_of(used, {1}, NOTHING) == 0.0
    assert share_of(GpuReading(), {1}, NOTHING) is None


def test_memory() -> None:
    """The memory that processes hold on a card is known, nought, or hidden."""
    reading = GpuReading(processes={7: 5, 8: 6, 9: None}, device="/dev/nvidia0")

    assert memory_of(reading, {7, 8}, NOTHING) == 11
    assert memory_of(reading, {os.getpid()}, NOTHING) == 0
    assert memory_of(reading, {7, 9}, NOTHING) is None
    assert memory_of(GpuReading(), {7}, NOTHING) is None


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="knows processes by /proc")
def test_in_a_container() -> None:
    """Where NVML names processes of the host, the open device files tell which card is used."""
    reading = GpuReading(processes={FOREIGN: 5}, device="/dev/nvidia3")
    shared = GpuReading(processes={FOREIGN: 5, FOREIGN + 1: 6}, device="/dev/nvidia3")

    assert share_of(reading, {7}, {"/dev/nvidia3"}) == 1.0
    assert memory_of(reading, {7}, {"/dev/nvidia3"}) == 5
    assert share_of(shared, {7}, {"/dev/nvidia3"}) == 0.5
    assert memory_of(shared, {7}, {"/dev/nvidia3"}) == 0
    assert share_of(reading, {7}, {"/dev/nvidia0"}) == 0.0
    assert share_of(GpuReading(processes={os.getpid(): 5}, device="/dev/nvidia3"), {7}, {"/dev/nvidia3"}) == 0.0
