"""The step that can be captured does what the eager one does; on CUDA its replay too."""

from __future__ import annotations

import pytest
import torch

from resdeg import data
from resdeg.runner import Training
from resdeg.training import graph
from resdeg.training.device import computes_bf16
from resdeg.training.state import load_bytes, to_bytes

CPU = torch.device("cpu")


def training_of(config, device: torch.device = CPU) -> Training:
    return Training.of(config, data.load(config.data), device)


def walk(training: Training, take, steps: range, epoch: int = 8) -> None:
    for step in steps:
        take(step, step % epoch)
        training.state.step += 1


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
    one, other = training_of(config), training_of(config)
    walk(one, one.eager(), range(12))
    walk(other, other.static(), range(12))
    assert to_bytes(one.state) == to_bytes(other.state)


def test_a_static_step_can_begin_anywhere(tiny_run) -> None:
    """Resumed in the middle of an epoch, and told to take a step twice."""
    config = tiny_run("residual")
    straight, resumed = training_of(config), training_of(config)
    take = straight.static()
    walk(straight, take, range(5))
    middle = to_bytes(straight.state)
    walk(straight, take, range(5, 9))
    load_bytes(resumed.state, middle, 5)
    walk(resumed, resumed.static(), range(5, 9))
    assert to_bytes(straight.state) == to_bytes(resumed.state)
    load_bytes(straight.state, middle, 5)
    walk(straight, take, range(5, 9))
    assert to_bytes(straight.state) == to_bytes(resumed.state), "the same steps once more, by the same object"


def test_rates_before_at_and_after_a_drop(tiny_run) -> None:
    """The tensor that the optimiser reads holds the rate of the step that was asked for."""
    config = tiny_run("plain", training={"schedule": "steps", "epochs": None, "steps": 8, "lr": 0.1})
    training = training_of(config)
    take = training.static()
    seen = []
    for step in (3, 4, 5, 6, 3):
        take(step, 0)
        seen.append(take.rate.item())
        assert training.state.optimizer.param_groups[0]["lr"] is take.rate
    assert seen == pytest.approx([0.1, 0.01, 0.01, 0.001, 0.1])


def test_a_nan_stays_in_its_own_run(tiny_run) -> None:
    """Two runs stepped in turn: one is poisoned, the other's bits do not know."""
    config = tiny_run("residual")
    alone, beside, poisoned = (training_of(config) for _ in range(3))
    walk(alone, alone.static(), range(6))
    with torch.no_grad():
        next(iter(poisoned.state.model.parameters())).fill_(float("nan"))
    takes = [beside.static(), poisoned.static()]
    for step in range(6):
        for training, take in zip((beside, poisoned), takes, strict=True):
            walk(training, take, range(step, step + 1))
    assert to_bytes(beside.state) == to_bytes(alone.state)
    assert poisoned.state.losses[5].isnan()


@pytest.mark.gpu
@pytest.mark.parametrize("family", ["plain", "residual"])
def test_a_replay_equals_a_call_on_cuda(tiny_run, family: str) -> None:
    """Momentum after replays included; a capture leaves the state as it was."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    cuda = torch.device("cuda")
    config = tiny_run(family)
    called, replayed = training_of(config, cuda), training_of(config, cuda)
    take = replayed.static()
    before = to_bytes(replayed.state)
    take.capture()
    assert to_bytes(replayed.state) == before
    walk(called, called.static(), range(12))
    walk(replayed, take, range(12))
    assert to_bytes(called.state) == to_bytes(replayed.state)
