"""The 3x3 convolution, where it is a matrix and where it is the library's."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from resdeg.models.block import conv3x3
from resdeg.models.fast import use_fast_forward


def fast3x3(entering: int, leaving: int, stride: int = 1) -> nn.Module:
    convolution = conv3x3(entering, leaving, stride)
    use_fast_forward(convolution, compiled=False)
    return convolution


def with_gradients(output: Tensor, x: Tensor, weight: Tensor) -> list[Tensor]:
    towards = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).reshape(output.shape)
    return [output, *torch.autograd.grad(output, (x, weight), towards)]


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_on_a_2x2_map_it_is_the_same_map(layout: torch.memory_format) -> None:
    """Values and both gradients, against the library's convolution in float64."""
    convolution = fast3x3(3, 5).double().to(memory_format=layout)
    x = torch.randn(4, 3, 2, 2, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()
    weight = convolution.weight
    found = with_gradients(convolution(x), x, weight)
    for ours, theirs in zip(
        found, with_gradients(functional.conv2d(x, weight, padding=1), x, weight), strict=True
    ):
        assert ours.shape == theirs.shape
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-13)
    assert found[0].is_contiguous(memory_format=torch.channels_last), (
        "what follows does not change its layout"
    )
    assert found[2].stride() == weight.stride() or layout is torch.contiguous_format


@pytest.mark.parametrize(
    ("side", "stride", "library"),
    [((2, 2), 1, 0), ((2, 2), 2, 1), ((4, 4), 1, 1), ((1, 2), 1, 1), ((1, 1), 1, 1)],
)
def test_elsewhere_it_is_the_library_s(
    side: tuple[int, int], stride: int, library: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def conv2d(*arguments: object) -> Tensor:
        calls.append(1)
        return original(*arguments)

    original = functional.conv2d
    monkeypatch.setattr(functional, "conv2d", conv2d)
    fast3x3(3, 5, stride)(torch.randn(2, 3, *side))
    assert len(calls) == library
