"""What a training step does with memory, which decides its speed."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from resdeg import data
from resdeg.runner import Training

CPU = torch.device("cpu")


class OtherLayouts(TorchDispatchMode):
    """Notes every operation that computes on a map whose channels are not side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.maps = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        given = out if isinstance(out, (tuple, list)) else (out,)
        maps = [x for x in (*args, *given) if isinstance(x, torch.Tensor) and x.dim() == 4]
        self.maps += len(maps)
        if not func.is_view and any(x.shape[1] > 1 and x.stride(1) != 1 for x in maps):
            self.seen.add(str(func))
        return out


@pytest.mark.parametrize("family", ["plain", "residual"])
@pytest.mark.parametrize("model", [{}, {"shortcut": "projection"}, {"block": "preact"}])
def test_every_map_of_a_step_is_channels_last(tiny_run, family: str, model: dict[str, str]) -> None:
    """One gradient in another layout makes every operation it meets several times slower."""
    config = tiny_run(family, depth=14, model=model)
    training = Training.of(config, data.load(config.data), CPU)
    take = training.eager()
    with OtherLayouts() as layouts:
        take(0, 0)
    assert layouts.maps > 100
    assert not layouts.seen


def test_nothing_is_filled_before_it_is_written(tiny_run) -> None:
    """torch fills every new tensor with NaN in deterministic mode, unless it is told not to."""
    config = tiny_run("plain")
    Training.of(config, data.load(config.data), CPU)
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.utils.deterministic.fill_uninitialized_memory
