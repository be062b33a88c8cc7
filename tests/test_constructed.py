"""A constructed run: a shallow net, identity blocks put in, trained on; in one piece or in many."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from resdeg.config import ConstructedConfig
from resdeg.errors import ResdegError, UsageError
from resdeg.models.network import CifarNet
from resdeg.records import RunSummary
from resdeg.runner import check, construction, execute, load_model
from resdeg.runner.phases import plan_phases
from resdeg.store import RunStore, SweepStore
from resdeg.training.schedule import learning_rate
from tests.conftest import ON_CPU

CPU = torch.device("cpu")
EPOCH = 8  # steps of the tiny data set; the construction follows the second of four epochs


@pytest.fixture
def config(tiny_run):
    return tiny_run(depth=20, training={"epochs": 4}, constructed=ConstructedConfig(from_depth=8, lr=0.5))


def go(folder: Path, config, **options) -> tuple[RunStore, RunSummary]:
    store = SweepStore(folder).run(config.run_id)
    return store, execute(config, store, ON_CPU, **options)


def test_it_begins_as_the_shallow_run_and_ends_as_a_deep_net(tmp_path: Path, config) -> None:
    store, summary = go(tmp_path, config)
    assert (summary.status, summary.depth, summary.step) == ("finished", 20, 4 * EPOCH)
    short = config.training.model_copy(update={"epochs": 2})
    shallow = config.shallow.model_copy(update={"training": short})
    alone, _ = go(tmp_path / "shallow", shallow)
    first, second = store.metrics()[:2], alone.metrics()
    assert first == second, "the same records as the shallow net's own run of as many steps"
    model = load_model(store.folder)
    assert isinstance(model, CifarNet)
    assert len(model.stages[0]) == 3
    assert check(config, CPU).parameters == summary.parameters


def test_the_second_phase_has_the_schedule_s_shape_at_its_own_rates(tmp_path: Path, config) -> None:
    store, _ = go(tmp_path, config)
    training = config.training
    assert [record.lr for record in store.metrics()] == pytest.approx(
        [
            learning_rate(training, EPOCH - 1, 2 * EPOCH),
            learning_rate(training, 2 * EPOCH - 1, 2 * EPOCH),
            0.5 * learning_rate(training, EPOCH - 1, 2 * EPOCH),
            0.5 * learning_rate(training, 2 * EPOCH - 1, 2 * EPOCH),
        ]
    )


def test_the_construction_is_recorded_with_its_images(tmp_path: Path, config) -> None:
    store, _ = go(tmp_path, config)
    (record,) = store.diagnostics()
    assert (record.kind, record.name, record.state) == ("construction", "logit_difference", 2 * EPOCH)
    assert record.images == config.data.hierarchy.test_images
    assert record.value is not None
    assert 0 < record.value < 1e-4


def test_without_rates_nothing_is_lost_but_the_statistics(tmp_path: Path, config) -> None:
    """At rate 0 the deep net stays what was put in: same test scores to rounding, but for its statistics,
    which go on with the batches that it sees."""
    still = config.model_copy(update={"constructed": ConstructedConfig(from_depth=8, lr=0.0)})
    store, _ = go(tmp_path, still)
    model, (record,) = load_model(store.folder), store.diagnostics()
    assert record.state == 2 * EPOCH
    identities = [model.stages[stage][2].conv1.weight for stage in range(3)]
    for weight in identities:
        expected = torch.nn.init.dirac_(torch.empty_like(weight))
        torch.testing.assert_close(weight, expected)


@pytest.mark.parametrize("steps", [5, 2 * EPOCH, 2 * EPOCH + 3])
def test_stopped_in_any_phase_it_ends_with_the_same_bits(tmp_path: Path, config, steps: int) -> None:
    straight, _ = go(tmp_path / "a", config)
    seen: list[int] = []
    store, summary = go(
        tmp_path / "b", config, stop=lambda: bool(seen) and seen[-1] >= steps,
        report=lambda progress: seen.append(progress.step),
    )  # fmt: skip
    assert (summary.status, summary.step) == ("stopped", steps)
    depth = 8 if steps <= 2 * EPOCH else 20
    assert sum(len(stage) for stage in load_model(store.folder).stages) == (depth - 2) // 2
    again, summary = go(tmp_path / "b", config)
    assert summary.status == "finished"
    for name in ("metrics.jsonl", "diagnostics.jsonl"):
        assert (again.folder / name).read_bytes() == (straight.folder / name).read_bytes()
    assert again.checkpoint()[0].sha256 == straight.checkpoint()[0].sha256


def test_a_construction_that_fails_is_no_result(tmp_path: Path, config, monkeypatch) -> None:
    put_in = construction.insert_identities

    def badly(*arguments):
        deeper = put_in(*arguments)
        with torch.no_grad():
            deeper.stages[1][2].norm2.bias += 0.1
        return deeper

    monkeypatch.setattr(construction, "insert_identities", badly)
    with pytest.raises(ResdegError, match=r"differs from its own by .* in a logit"):
        go(tmp_path, config)
    store = SweepStore(tmp_path).run(config.run_id)
    assert store.state() == "failed"
    assert store.diagnostics() == []


def test_what_cannot_be_constructed_is_refused_before_a_step(tiny_run) -> None:
    as_ever = ConstructedConfig(from_depth=8)
    with pytest.raises(UsageError, match="two epochs at least"):
        check(tiny_run(depth=20, training={"epochs": 1}, constructed=as_ever), CPU)
    with pytest.raises(UsageError, match="has no setting that undoes it"):
        check(tiny_run(depth=20, model={"norm": "instance"}, constructed=as_ever), CPU)
    with pytest.raises(UsageError, match="basic blocks with relu"):
        check(tiny_run(depth=20, model={"inner_activation": "gelu"}, constructed=as_ever), CPU)
    for wrong in ({"family": "residual", "depth": 20}, {"depth": 8}, {"training": {"precision": "bf16"}}):
        with pytest.raises(ValueError, match="constructed"):
            tiny_run(**{"depth": 20, **wrong}, constructed=as_ever)
    with pytest.raises(
        ValueError, match=r"constructed compares logits up to rounding\nleave out --fast-math"
    ):
        tiny_run(depth=20, training={"fast_math": True}, constructed=as_ever)


def test_the_phases_share_the_epochs(config) -> None:
    images = config.data.hierarchy.train_images
    for share, turn in ((0.01, 1), (0.5, 2), (0.7, 3), (0.99, 3)):
        run = config.model_copy(update={"constructed": ConstructedConfig(from_depth=8, share=share)})
        shallow, deep = plan_phases(run, images)
        assert shallow.schedule.last == deep.schedule.first == turn * EPOCH
        assert deep.schedule.last == 4 * EPOCH
