"""Responses whose deviation is known: norms with a scale and biases of their own."""

from __future__ import annotations

import pytest
import torch

from resdeg.config import ModelConfig
from resdeg.diagnostics.responses import response_std
from resdeg.models import build_model
from resdeg.models.structure import layers


def entering(module: torch.nn.Module, model: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
    inputs: list[torch.Tensor] = []
    hook = module.register_forward_hook(lambda module, x, out: inputs.append(x[0].clone()))
    model(images)
    hook.remove()
    return inputs[0]


@pytest.mark.parametrize("family", ["plain", "residual"])
@pytest.mark.parametrize("block", ["basic", "stargan"])
def test_each_layer_has_the_deviation_of_its_own_norm(family: str, block: str) -> None:
    """A normed channel has deviation g and mean b: over the layer, sqrt(g^2 + variance of b).

    Layer k has g = k, and running variances of four times what the images have, so evaluation mode
    halves g and training mode would not. A wrong layer, mode or place (before the norm, behind the
    nonlinearity or the addition) and an average over layers or channels all give other numbers.
    """
    model = build_model(family, 14, config=ModelConfig(block=block, norm="batch", width=0.25))
    images = torch.randn(64, 3, 8, 8)
    expected = []
    for place in layers(model):
        norm = place.response
        norm.weight.data.fill_(float(place.number))
        norm.bias.data.copy_(torch.linspace(-1, 1, len(norm.bias)) * place.number)
    with torch.no_grad():
        model.eval()
        for place in layers(model):
            channels = entering(place.response, model, images).transpose(0, 1).flatten(1)  # (C, NHW)
            place.response.running_mean.copy_(channels.mean(dim=1))
            place.response.running_var.copy_(4 * channels.var(dim=1, correction=0) + 3 * place.response.eps)
            bias = place.response.bias.double()
            expected.append(((place.number / 2) ** 2 + bias.var(correction=0)).sqrt())
    found = response_std(model.train(), torch.split(images, 20))
    assert found.tolist() == pytest.approx([float(value) for value in expected], rel=1e-3)


def test_without_a_norm_it_is_the_convolution_s_output() -> None:
    model = build_model("residual", 8, config=ModelConfig(norm="none", width=0.25))
    images = torch.randn(10, 3, 8, 8)
    found = response_std(model, [images])
    with torch.no_grad():
        expected = [model.stem(images), model.stages[0][0].residual(model.entering(images))]
    # Before the relu behind the stem, before the addition behind the branch.
    assert found[[0, 2]].tolist() == pytest.approx([float(t.std(correction=0)) for t in expected], rel=1e-5)


def test_a_preactivated_layer_is_measured_before_its_addition() -> None:
    model = build_model("residual", 8, config=ModelConfig(block="preact", width=0.25)).eval()
    images = torch.randn(10, 3, 8, 8)
    first = model.stages[0][0]
    with torch.no_grad():
        active = first.preactivated(model.entering(images))
        inner = first.norm2(first.conv1(active))
        branch = first.residual(model.entering(images))
        expected = [float(t.std(correction=0)) for t in (model.stem(images), inner, branch)]
    assert response_std(model, [images])[:3].tolist() == pytest.approx(expected, rel=1e-5)
