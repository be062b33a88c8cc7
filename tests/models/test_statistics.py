"""Running statistics over given images: against float64 by hand, and everything put back afterwards."""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch import nn

from resdeg.models import build_model
from resdeg.models.contexts import recompute_statistics, restored_buffers
from resdeg.runner import Inputs
from resdeg.training.evaluate import Interrupted, evaluate

IMAGES = torch.randint(0, 256, (50, 8, 8, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(50) % 10
CAST = torch.autocast("cpu", torch.bfloat16, enabled=False)


def standardise(pixels: torch.Tensor) -> torch.Tensor:
    return (pixels.permute(0, 3, 1, 2).float() - 120) / 60


@contextlib.contextmanager
def recomputing(model: nn.Module, stop=lambda: False):
    """Recompute statistics as `Trainer.score_training_images` does."""
    inputs = Inputs(IMAGES, LABELS, {}, standardise)
    with restored_buffers(model):
        recompute_statistics(model, inputs.batches(inputs.images, 16, stop=stop))
        yield


def score(model: nn.Module):
    return evaluate(model, (IMAGES, LABELS), standardise=standardise, cast=CAST)


class Two(nn.Module):
    """Convolution and norm, twice: the second norm sees what the first one's batch statistics made."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv1, self.norm1 = nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4)
        self.conv2, self.norm2 = nn.Conv2d(4, 5, 3, bias=False), nn.BatchNorm2d(5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm2(self.conv2(self.norm1(self.conv1(x))))


def test_statistics_are_those_of_a_computation_by_hand() -> None:
    model = Two()
    weights = [model.conv1.weight.detach().double(), model.conv2.weight.detach().double()]
    expected = [torch.zeros(2, 4, dtype=torch.float64), torch.zeros(2, 5, dtype=torch.float64)]
    sizes = (13, 13, 12, 12)  # 50 images in equal parts of 16 at most
    for pixels in IMAGES.split(sizes):
        x = standardise(pixels).double()
        for weight, total in zip(weights, expected, strict=True):
            x = nn.functional.conv2d(x, weight)
            mean, count = x.mean(dim=(0, 2, 3)), x.numel() / x.shape[1]
            centred = x - mean[:, None, None]
            variance = centred.square().mean(dim=(0, 2, 3))
            total += len(pixels) / 50 * torch.stack([mean, variance * count / (count - 1)])
            x = centred / (variance[:, None, None] + 1e-5).sqrt()
    with recomputing(model):
        for norm, (mean, variance) in zip((model.norm1, model.norm2), expected, strict=True):
            assert torch.allclose(norm.running_mean.double(), mean, rtol=1e-5, atol=1e-6)
            assert torch.allclose(norm.running_var.double(), variance, rtol=1e-5)


@pytest.mark.parametrize("spoilt", [5.0, float("nan")])
def test_a_score_by_wrong_statistics_is_put_right(spoilt: float) -> None:
    model = build_model("residual", 8)
    with recomputing(model):
        right = score(model)
    model.stem_norm.running_mean.fill_(spoilt)
    model.stages[1][0].norm1.running_var.fill_(spoilt)
    wrong = score(model)
    assert not abs(wrong.loss - right.loss) < 0.05
    with recomputing(model):
        assert score(model) == right


@pytest.mark.parametrize("mode", [True, False])
def test_everything_is_as_it_was(mode: bool) -> None:
    model = build_model("plain", 8).train(mode)
    for buffer in model.buffers():
        buffer.uniform_(0.5, 1.5)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    with recomputing(model):
        assert model.training is mode
        moved = [name for name, value in model.state_dict().items() if not torch.equal(value, before[name])]
        assert moved == [name for name, _ in model.named_buffers()], "statistics alone, all of them"
    with pytest.raises(Interrupted), recomputing(model, stop=lambda: True):
        pass
    calls = iter(range(9))
    with pytest.raises(Interrupted), recomputing(model, stop=lambda: next(calls) == 2):
        pass
    with pytest.raises(ZeroDivisionError), recomputing(model):
        _ = 1 / 0
    assert model.training is mode
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert {norm.momentum for norm in model.modules() if isinstance(norm, nn.BatchNorm2d)} == {0.1}
    assert torch.equal(torch.get_rng_state(), random)
