"""The textbook loop trains, and a measurement is a ratio of neighbours."""

from __future__ import annotations

import json
import threading
from collections import defaultdict

import numpy as np
import pytest
import torch

from resdeg.bench import contenders
from resdeg.bench.contenders import DATA, LOOPS, Contender, require_equal_steps
from resdeg.bench.lineup import lineup
from resdeg.bench.measure import Machine, compare, compute_ratio, count_network, interval, least_bytes
from resdeg.bench.running import Running
from resdeg.bench.textbook import TextbookLoop
from resdeg.config import DataConfig, HierarchyConfig, ModelConfig, TrainingConfig
from resdeg.data import load
from resdeg.errors import ResdegError
from resdeg.models import build_model
from resdeg.models.fast import library
from resdeg.runner import Trainer
from resdeg.training import device
from resdeg.training.graph import StaticStep
from resdeg.training.loop import TakeStep


def test_the_textbook_loop_trains() -> None:
    rules = HierarchyConfig(
        levels=1, cell=4, symbols=4, synonyms=1, noise=8, train_images=256, test_images=10
    )
    split = load(DataConfig(name="hierarchy", hierarchy=rules)).train
    with torch.random.fork_rng():
        torch.manual_seed(0)
        losses = TextbookLoop(
            build_model("residual", 8, config=ModelConfig(width=0.5)), split, batch_size=32, workers=0
        ).run(40)
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_its_images_are_those_of_the_engine_s_size() -> None:
    assert DATA.hierarchy is not None
    assert DATA.hierarchy.cell * 2**DATA.hierarchy.levels == 32


def test_a_ratio_is_the_median_over_pairs() -> None:
    contender = Contender(name="x", kind="engine", threads=1, copies=2)
    running = Running(contender, [], peak_bytes=5)
    machine = Machine(2, {"fp32": 3e9}, 1e9)
    ratio = compute_ratio(running, [20.0, 22.0, 60.0], [10.0, 10.0, 20.0], machine=machine, name="x")
    assert (ratio.ratio, ratio.least, ratio.most) == (2.2, 2.0, 3.0)
    assert 2.0 <= ratio.low <= 2.2 <= ratio.high <= 3.0
    assert ratio.step_seconds == pytest.approx(2 * 128 / 22)
    assert ratio.matrix_share == pytest.approx(3 * count_network(contender).multiply_adds * 22 / 3e9)
    assert ratio.floor_share == pytest.approx(
        least_bytes(contender, count_network(contender)) * 22 / 128 / 1e9
    )
    assert ratio.name == "x"


def test_the_interval_covers_the_median_as_often_as_it_says() -> None:
    generator = np.random.default_rng(1)
    inside = [low <= 2.0 <= high for low, high in (interval(generator.normal(2, 0.1, 9)) for _ in range(300))]
    assert np.mean(inside) > 0.88


@pytest.mark.slow
@pytest.mark.parametrize("kind", LOOPS)
def test_every_loop_runs_when_it_is_told_to(kind: str) -> None:
    running = Running.start(Contender(name=kind, kind=kind, threads=1, copies=2, depth=8))
    try:
        assert running.seconds(1) > 0
        assert running.peak_bytes > 2 * 100_000_000, "two processes that hold torch"
    finally:
        running.stop()
    assert all(copy.process.exitcode == 0 for copy in running.copies)


@pytest.mark.parametrize(("family", "gigabytes"), [("plain", 0.30), ("residual", 0.37)])
def test_the_least_that_memory_must_carry(family: str, gigabytes: float) -> None:
    """Depth 20 in bf16, as counted by hand: a map of 48.2 MB, six or seven and a half times."""
    contender = Contender(name="x", kind="engine", threads=1, precision="bf16", family=family)
    counts = count_network(contender)
    assert counts.outputs * 128 * 2 == pytest.approx(48.2e6, rel=1e-3)
    assert least_bytes(contender, counts) == pytest.approx(gigabytes * 1e9, rel=0.02)


def test_a_group_counts_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two trainings in one process: in the time of a step, twice its images."""
    running = Running(Contender(name="pair", kind="engine", threads=1, depth=8, group=2), [object()])
    monkeypatch.setattr(running, "seconds", lambda steps: steps * 0.5)
    assert running.images_per_second(3) == 2 * 128 / 0.5
    machine = Machine(1, {"fp32": 3e9}, 1e9)
    ratio = compute_ratio(running, [2 * 128 / 0.5], [10.0], machine=machine, name="pair")
    assert ratio.step_seconds == 0.5


def test_each_of_a_group_trains_by_itself() -> None:
    contender = Contender(name="pair", kind="engine", threads=1, depth=8, group=2)
    seen: dict[int, list[tuple[int, int]]] = defaultdict(list)
    original = Trainer.make_step

    def make_step(trainer: Trainer, *, graph: bool) -> TakeStep:
        take_step = original(trainer, graph=graph)

        def noting(step: int, slot: int) -> None:
            seen[id(trainer)].append((threading.get_ident(), step))
            take_step(step, slot)

        return noting

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "make_step", make_step)
        LOOPS["engine"](contender)(2)
    assert [[step for _, step in steps] for steps in seen.values()] == [[0, 1], [0, 1]]
    assert len({thread for steps in seen.values() for thread, _ in steps}) == 2


def test_a_quick_bench_leaves_out_what_only_explains() -> None:
    every, quick = (
        {contender.name for contender in lineup("cpu", 20, cores=2, precisions=["fp32", "bf16"], quick=quick)}
        for quick in (False, True)
    )
    compared = {f"2 sweep workers {precision}, torch's norms" for precision in ("fp32", "bf16")}
    assert every - quick == (compared if library() is not None else set())
    assert {"vectorised fp32", "2 sweep workers fp32", "2 sweep workers bf16"} <= quick


def test_on_cuda_each_design_is_measured(resdeg) -> None:
    names = [each.name for each in lineup("cuda", 20, cores=2, precisions=["fp32", "bf16"])]
    assert names[:8] == [
        "eager fp32",
        "1 captured fp32",
        *(f"{runs} captured fp32, on streams" for runs in (2, 4, 8)),
        *(f"{runs} captured fp32, in processes" for runs in (2, 4, 8)),
    ]
    assert names[8:10] == ["1 captured fp32, fast math", "4 captured fp32, fast math, on streams"]
    assert len(set(names)) == len(names) == 20
    quick = [each.name for each in lineup("cuda", 20, cores=2, precisions=["fp32", "bf16"], quick=True)]
    assert set(names) - set(quick) == {
        f"{runs} captured {precision}, in processes" for runs in (2, 8) for precision in ("fp32", "bf16")
    }
    deep = [each.name for each in lineup("cuda", 56, cores=2, precisions=["fp32"], quick=True)]
    assert set(quick) - set(deep) - {name for name in quick if "bf16" in name} == {
        f"{runs} captured fp32, on streams" for runs in (2, 8)
    }
    both = [each.name for each in lineup("cuda", 56, cores=2, precisions=["fp32", "bf16"], quick=True)]
    assert both == [name.replace("fp32", "bf16") for name in deep]
    if not torch.cuda.is_available():
        refused = resdeg("bench", "--device", "cuda")
        assert refused.returncode == 2
        assert "device cuda is not on this machine" in refused.stderr


class Frozen:
    """A step whose batch and rate are those of the first one, as in a capture that froze them."""

    def __init__(self, trainer: Trainer) -> None:
        self.step = trainer.make_static_step()

    def __call__(self, step: int, slot: int) -> None:
        self.step(0, slot)


def test_equal_steps_may_be_timed_and_others_are_named() -> None:
    contender = Contender(name="captured", kind="engine", threads=1, depth=8, graph=True)
    require_equal_steps(contender, Trainer.make_static_step)
    with pytest.raises(ResdegError, match=r"differs from the eager one in (model|running)\.\w+"):
        require_equal_steps(contender, Frozen)


def test_the_steps_of_fast_math_must_be_near(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounded weights stand for other rounding, as no CPU has fast math."""
    contender = Contender(name="captured", kind="engine", threads=1, depth=8, graph=True, fast_math=True)
    monkeypatch.setattr(device, "check_arithmetic", lambda config, device: None)

    def round_weights(trainer: Trainer) -> StaticStep:
        with torch.no_grad():
            for weight in trainer.state.model.parameters():
                weight.copy_(weight.bfloat16())
        return trainer.make_static_step()

    try:
        require_equal_steps(contender, round_weights)
        with pytest.raises(ResdegError, match=r"the momentum differs by [\d.]+% from the eager one"):
            require_equal_steps(contender, Frozen)
    finally:
        device.prepare(TrainingConfig(epochs=1), torch.device("cpu"))


def test_no_captured_step_is_made_before_it_is_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(contender: Contender) -> None:
        raise ResdegError("differs")

    monkeypatch.setattr(contenders, "require_equal_steps", refuse)
    contender = Contender(name="captured", kind="engine", threads=1, depth=8)
    assert LOOPS["engine"](contender)
    with pytest.raises(ResdegError, match="differs"):
        LOOPS["engine"](contender.model_copy(update={"graph": True}))


@pytest.mark.slow
def test_a_contender_that_cannot_run_is_refused_and_the_rest_is_measured() -> None:
    """On a CPU nothing can be captured; the speeds are those of the others."""
    engine = Contender(name="engine", kind="engine", threads=1, depth=8)
    captured = engine.model_copy(update={"name": "captured", "graph": True})
    refused: list[str] = []
    ratios = compare(
        engine, [captured, engine.model_copy(update={"name": "other"})],
        pairs=1, steps=1, machine=Machine(1, {"fp32": 3e9}, 1e9),
        refuse=lambda contender, error: refused.append(f"{contender.name}: {error.what}"),
    )  # fmt: skip
    assert [ratio.name for ratio in ratios] == ["engine, again", "other"]
    assert len(refused) == 1
    assert refused[0].startswith("captured: bench: captured: its worker died")
    with pytest.raises(ResdegError, match="bench: captured"):
        compare(captured, [], pairs=1, steps=1, machine=Machine(1, {"fp32": 3e9}, 1e9), refuse=print)


@pytest.mark.gpu
@pytest.mark.slow
def test_a_bench_on_cuda(resdeg) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    done = resdeg("bench", "--device", "cuda", "--quick", "--depths", "8", "--steps", "20", "--json")
    assert done.returncode == 0, done.stderr
    ratios = {ratio["name"]: ratio for ratio in json.loads(done.stdout)["depths"]["8"]}
    assert {"1 captured fp32", "eager fp32"} <= ratios.keys()
    assert all(ratio["ratio"] > 0 < ratio["matrix_share"] for ratio in ratios.values())
