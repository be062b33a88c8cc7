"""Prices without torch: exact counts, a line for the seconds, kept and corrected."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from resdeg.bench.lineup import name_group
from resdeg.bench.measure import Ratio
from resdeg.cli.bench import _remember_best_group
from resdeg.config import SweepConfig, resolve
from resdeg.data.cache import cache_folder
from resdeg.models import build_model
from resdeg.models.block import BLOCKS
from resdeg.models.structure import census
from resdeg.sweep.calibration import (
    Calibration,
    Counts,
    correct,
    recall,
    recall_group,
    remember,
    remember_group,
)
from resdeg.sweep.estimate import GROUP_ON_CUDA, default_jobs, fitting_jobs, settle_group
from resdeg.sweep.machine import available_bytes, count_cores
from resdeg.sweep.preflight import calibrate, preflight


def grid(depths: str = "8,14", **more: object) -> SweepConfig:
    tiny = {"name": "hierarchy", "hierarchy": {"levels": 2, "cell": 2, "symbols": 6, "synonyms": 2}}
    return resolve(None, {}, [], {"depths": depths, "seeds": "0", "data": tiny, **more})


def line(seconds: tuple[float, float] = (1.0, 3.0), **more: object) -> Calibration:
    both = (Counts(parameters=10, multiply_adds=100), Counts(parameters=30, multiply_adds=300))
    facts = {
        "device": "cpu", "blocks": (3, 9), "stem": Counts(parameters=1, multiply_adds=1),
        "stem_seconds": 0.1, "counts": {"plain": both, "residual": both}, "seconds": seconds,
        "bytes": (1_000, 2_000),
    }  # fmt: skip
    return Calibration(**{**facts, **more})


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("layout", ["staged", "isotropic"])
def test_counts_of_any_depth_are_exact(block: str, layout: str) -> None:
    """Against the census of the net itself, far beyond the two depths that were counted."""
    config = grid(model={"block": block, "layout": layout, "shortcut": "projection"})
    measured = calibrate(config, torch.device("cpu"))
    for family in config.families:
        for depth in (2, 8, 20, 56):
            with torch.device("meta"):
                counted = census(build_model(family, depth, 0, config.model), 8)
            expected = Counts(parameters=counted.parameters, multiply_adds=counted.multiply_adds)
            assert measured.counts_of(family, depth) == expected
    assert measured.seconds[1] > 0
    assert measured.bytes[1] >= measured.bytes[0] > 10_000_000


def test_seconds_and_memory_are_a_line() -> None:
    measured = line()
    assert [measured.seconds_of(depth) for depth in (2, 8, 14, 20, 26)] == pytest.approx([0.1, 1, 2, 3, 4])
    assert line(seconds=(3.0, 1.0)).seconds_of(110) == 0.1, "noise cannot make a deep net free"
    assert measured.facts(grid("2,20")).worker_bytes == 2_000
    assert measured.facts(grid("2,32")).worker_bytes == 3_000
    assert measured.facts(grid("2")).worker_bytes == 1_000


def test_what_was_measured_is_kept_for_the_same_kind_of_net_alone() -> None:
    config = grid()
    assert recall(config) is None
    remember(config, line())
    assert recall(config) == line()
    assert recall(grid("2,20", seeds="0-5")) == line(), "other depths and seeds are on the same line"
    assert recall(grid("8,26")) is None, "which is not drawn on beyond the deepest that was measured"
    for other in (
        {"model": {"width": 2.0}}, {"training": {"recipe": "short", "batch_size": 64}},
        {"training": {"recipe": "short", "precision": "bf16"}}, {"execution": {"device": "cpu"}},
    ):  # fmt: skip
        assert recall(grid(**other)) is None, other
    correct(config, 2.0)
    assert recall(config).seconds == pytest.approx((2.0, 6.0))
    for damage in (b"", b"[1", b"[]", b'{"x": 1}'):
        (cache_folder() / "calibration.json").write_bytes(damage)
        assert recall(config) is None


def test_a_family_that_was_not_counted_is_measured() -> None:
    remember(grid(families="plain"), line(counts={"plain": line().counts["plain"]}))
    assert recall(grid(families="plain")) is not None
    assert recall(grid()) is None


def test_the_preflight_measures_once() -> None:
    def fail(run: object, *_: object, **__: object) -> tuple[float, int]:
        pytest.fail("measured again")

    first = preflight(grid(), read_data=False)
    assert preflight(grid(), read_data=False, probe=fail) == first
    fewer = preflight(grid("8"), read_data=False, probe=fail)
    assert fewer.step_seconds.items() <= first.step_seconds.items()
    with pytest.raises(pytest.fail.Exception, match="measured again"):
        preflight(grid("8,20"), read_data=False, probe=fail)


def test_a_kept_price_needs_no_torch(resdeg, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resdeg.sweep.conduct.start_server", lambda: pytest.fail("a worker"))
    config = resolve(None, {}, [], {})
    remember(config, line(blocks=(3, 54)))
    done = resdeg("sweep", "--depths", "8,20,56,110", "--seeds", "0-24", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("missing") == 200
    assert "of memory" in done.stderr


def test_memory_bounds_the_workers() -> None:
    facts = line().facts(grid("2,20"))
    for available, expected in ((10_000, 4), (4_000, 1), (100, 1), (10**9, 8), (None, 8)):
        jobs = fitting_jobs(50, 8, worker_bytes=facts.worker_bytes, available=available)
        assert jobs == expected
    assert fitting_jobs(3, 8, worker_bytes=facts.worker_bytes, available=10**9) == 3
    assert available_bytes() > 100_000_000


def test_the_jobs_that_a_configuration_leaves_open() -> None:
    facts = line().facts(grid("2,20"))
    assert default_jobs(grid(), facts, 50) == min(count_cores(), 50)
    assert default_jobs(grid(), facts, 1) == 1
    assert default_jobs(grid(execution={"jobs": 7}), facts, 1) == 7
    on_a_gpu = facts.model_copy(update={"device": "cuda"})
    assert default_jobs(grid(execution={"group": 5}), on_a_gpu, 50) == 5
    assert default_jobs(grid(), facts.model_copy(update={"device": "mps"}), 50) == 1


def test_a_gpu_trains_as_many_runs_side_by_side_as_its_bench_found_best() -> None:
    assert [settle_group(grid(), device) for device in ("cpu", "mps", "cuda")] == [1, 1, GROUP_ON_CUDA]
    remember(grid(), line())
    remember_group("fp32", 8)
    assert settle_group(grid(), "cuda") == 8
    assert settle_group(grid(training={"precision": "bf16"}), "cuda") == GROUP_ON_CUDA
    assert settle_group(grid(execution={"group": 2}), "cuda") == 2
    arms = {"arms": {"other": {"training": {"threads": 2}}}}
    assert settle_group(grid(**arms), "cuda") == 1, "threads are those of a process"
    assert recall(grid()) == line(), "calibrations lie beside it"


def test_the_bench_remembers_the_smallest_group_that_is_about_the_fastest() -> None:
    def measured(speeds: dict[str, float]) -> list[Ratio]:
        names = [field.name for field in dataclasses.fields(Ratio)]
        planted = dict.fromkeys(names, 1.0)
        return [
            Ratio(**{**planted, "name": name, "images_per_second": speed}) for name, speed in speeds.items()
        ]

    streams = {1: 57.8, 2: 77.8, 4: 100.0, 8: 102.9}
    speeds = {"eager bf16": 10.7} | {name_group(group, "bf16"): speed for group, speed in streams.items()}
    _remember_best_group("bf16", measured({name_group(1, "bf16"): 57.0}))
    assert recall_group("bf16") is None, "one number of runs is no choice"
    _remember_best_group("bf16", measured(speeds))
    assert (recall_group("bf16"), recall_group("fp32")) == (4, None)


def test_a_shallower_net_never_takes_more_than_a_deeper_one() -> None:
    """Where a neighbour on the machine slowed the first measurement."""
    slow = {2: 0.9, 8: 2.0, 14: 0.5}
    probed = calibrate(
        grid(), torch.device("cpu"), probe=lambda run, device, execution: (slow[run.depth], 1_000)
    )
    assert [probed.seconds_of(depth) for depth in (2, 8, 14, 56)] == [0.5] * 4
