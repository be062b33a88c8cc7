"""The step that can be captured does what the eager one does; on CUDA its replay too."""

from __future__ import annotations

import pytest
import torch

from resdeg import data
from resdeg.runner import Trainer
from resdeg.training import graph
from resdeg.training.device import computes_bf16
from resdeg.training.state import find_difference, load_bytes, to_bytes

CPU = torch.device("cpu")


def make_trainer(config, device: torch.device = CPU) -> Trainer:
    return Trainer.from_config(config, data.load(config.data), device=device)


def find_cuda() -> torch.device:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return torch.device("cuda")


def walk(trainer: Trainer, take_step, steps: range, epoch: int = 8) -> None:
    for step in steps:
        take_step(step, step % epoch)
        trainer.state.step += 1


@pytest.mark.parametrize("family", ["plain", "residual"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("chunk", [512, 5])
def test_static_steps_equal_eager_ones_bit_for_bit(
    tiny_run, monkeypatch: pytest.MonkeyPatch, family: str, precision: str, chunk: int
) -> None:
    """Weights, buffers, momentum and running sums, over epochs, crops, chunks and a moving rate."""
    if precision == "bf16" and not computes_bf16(CPU):
        pytest.skip("this CPU has no bf16")
    monkeypatch.setattr(graph, "CHUNK", chunk)
    config = tiny_run(family, training={"precision": precision, "pad": 2, "flip": True})
    eager, static = make_trainer(config), make_trainer(config)
    walk(eager, eager.make_step(), range(12))
    walk(static, static.make_static_step(), range(12))
    assert to_bytes(eager.state) == to_bytes(static.state)


def test_a_static_step_can_begin_anywhere(tiny_run) -> None:
    """Resumed in the middle of an epoch, and told to take_step a step twice."""
    config = tiny_run("residual")
    straight, resumed = make_trainer(config), make_trainer(config)
    take_step = straight.make_static_step()
    walk(straight, take_step, range(5))
    middle = to_bytes(straight.state)
    walk(straight, take_step, range(5, 9))
    load_bytes(resumed.state, middle, 5)
    walk(resumed, resumed.make_static_step(), range(5, 9))
    assert to_bytes(straight.state) == to_bytes(resumed.state)
    load_bytes(straight.state, middle, 5)
    walk(straight, take_step, range(5, 9))
    assert to_bytes(straight.state) == to_bytes(resumed.state), "the same steps once more, by the same object"


def test_rates_before_at_and_after_a_drop(tiny_run) -> None:
    """The tensor that the optimiser reads holds the rate of the step that was asked for."""
    config = tiny_run("plain", training={"schedule": "steps", "epochs": None, "steps": 8, "lr": 0.1})
    trainer = make_trainer(config)
    take_step = trainer.make_static_step()
    seen = []
    for step in (3, 4, 5, 6, 3):
        take_step(step, 0)
        seen.append(take_step.rate.item())
        assert trainer.state.optimizer.param_groups[0]["lr"] is take_step.rate
    assert seen == pytest.approx([0.1, 0.01, 0.01, 0.001, 0.1])


def test_a_nan_stays_in_its_own_run(tiny_run) -> None:
    """Two runs stepped in turn: one is poisoned, the other's bits do not know."""
    config = tiny_run("residual")
    alone, beside, poisoned = (make_trainer(config) for _ in range(3))
    walk(alone, alone.make_static_step(), range(6))
    with torch.no_grad():
        next(iter(poisoned.state.model.parameters())).fill_(float("nan"))
    take_steps = [beside.make_static_step(), poisoned.make_static_step()]
    for step in range(6):
        for trainer, take_step in zip((beside, poisoned), take_steps, strict=True):
            walk(trainer, take_step, range(step, step + 1))
    assert to_bytes(beside.state) == to_bytes(alone.state)
    assert poisoned.state.losses[5].isnan()


@pytest.mark.gpu
@pytest.mark.parametrize("family", ["plain", "residual"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_replay_equals_a_call_and_an_eager_step_on_cuda(tiny_run, family: str, precision: str) -> None:
    """Over twenty steps and two drops of the rate, momentum too; a capture leaves the state as it was."""
    cuda = find_cuda()
    training = {"precision": precision, "schedule": "steps", "epochs": None, "steps": 20, "lr": 0.1}
    config = tiny_run(family, training=training)
    eager, called, replayed = (make_trainer(config, cuda) for _ in range(3))
    take_step = replayed.make_static_step()
    before = to_bytes(replayed.state)
    take_step.capture()
    assert to_bytes(replayed.state) == before
    walk(eager, eager.make_step(), range(20))
    walk(called, called.make_static_step(), range(20))
    walk(replayed, take_step, range(20))
    assert find_difference(called.state, replayed.state) is None
    assert find_difference(eager.state, replayed.state) is None


@pytest.mark.gpu
def test_captured_runs_resume_and_leave_each_other_alone_on_cuda(tiny_run) -> None:
    """A NaN stays in its own run, and a run continued from its checkpoint has the bits of an unbroken one."""
    cuda = find_cuda()
    config = tiny_run("residual")
    unbroken, resumed, poisoned = (make_trainer(config, cuda) for _ in range(3))
    with torch.no_grad():
        next(iter(poisoned.state.model.parameters())).fill_(float("nan"))
    take, take_poisoned = (trainer.make_step(graph=True) for trainer in (unbroken, poisoned))
    for step in range(12):
        if step == 5:
            load_bytes(resumed.state, to_bytes(unbroken.state), 5)
        walk(unbroken, take, range(step, step + 1))
        walk(poisoned, take_poisoned, range(step, step + 1))
    walk(resumed, resumed.make_step(graph=True), range(5, 12))
    assert find_difference(unbroken.state, resumed.state) is None
    assert poisoned.state.losses[5].isnan()
    assert unbroken.state.losses.isfinite().all()
