"""What a start and a step do not do, which decides their speed."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from resdeg import data
from resdeg.runner import Trainer
from resdeg.training.device import autocast
from resdeg.training.loop import update

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
    trainer = Trainer.from_config(config, data.load(config.data), device=CPU)
    batch = trainer.batch_at(0)  # It is made before the layouts are noted: it counts pixels, not maps.
    with OtherLayouts() as layouts:
        update(trainer.state, batch, autocast(config.training, CPU))
    assert layouts.maps > 100
    assert not layouts.seen


def test_nothing_is_filled_before_it_is_written(tiny_run) -> None:
    """torch fills every new tensor with NaN in deterministic mode, unless it is told not to."""
    config = tiny_run("plain")
    Trainer.from_config(config, data.load(config.data), device=CPU)
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.utils.deterministic.fill_uninitialized_memory


def test_a_worker_starts_without_what_it_does_not_need() -> None:
    """Each of these takes torch about a second to import, in every run of a sweep."""
    code = """
import sys, torch
from resdeg.config import DataConfig, ModelConfig, RunConfig, TrainingConfig
from resdeg.runner import check
from resdeg.training.device import prepare
settings = {"data": DataConfig(), "model": ModelConfig(), "training": TrainingConfig(steps=4)}
run = RunConfig(family="residual", depth=8, seed=0, **settings)
check(run, torch.device("cpu"))
prepare(run.training, torch.device("cpu"))
assert torch.are_deterministic_algorithms_enabled()
print([name for name in ("sympy", "torch._inductor", "torch._dynamo") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")
