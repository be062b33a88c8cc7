"""Gradients of networks that can be differentiated by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from resdeg.config import ModelConfig
from resdeg.diagnostics.gradients import MOST, correlate, gradient_directions, gradient_norms, measure
from resdeg.models import build_model
from resdeg.models.structure import layers
from tests.diagnostics.nets import crafted, primaries, sample


def test_the_stem_s_gradient_by_hand() -> None:
    """Depth 2 without a norm, images of one value: every part of the chain is known.

    Weights w everywhere make every filter give a positive map, so relu is the identity, and all
    images the same logits. With head weights a for class 0 alone, d(loss)/d(z_k) = a (p_0 - y_0)
    for each pooled filter z_k, and z_k depends on the tap (c, dy, dx) by the share of positions where
    that tap lies on the image: 1 in the centre, (S-1)/S at an edge, its square at a corner.
    """
    model = build_model("plain", 2, config=ModelConfig(norm="none", width=0.25), classes=2)
    side, w, a, filters = 6, 0.01, 0.5, 4
    with torch.no_grad():
        model.stem.weight.fill_(w)
        model.head.weight.copy_(torch.tensor([a, 0.0])[:, None].expand(2, filters))
        model.head.bias.zero_()
    share = (side - 1) / side
    taps = 1 + 4 * share + 4 * share**2  # sum over the nine taps of their share of positions
    logit = a * filters * w * 3 * taps
    p0 = math.exp(logit) / (math.exp(logit) + 1)
    labels = torch.tensor([0, 0, 1, 0])
    outer = a * (p0 - 0.75)
    expected = abs(outer) * math.sqrt(filters * 3 * (1 + 4 * share**2 + 4 * share**4))
    found = gradient_norms(model, torch.ones(4, 3, side, side), labels)
    assert found.tolist() == pytest.approx([expected], rel=1e-5)


@pytest.mark.parametrize("family", ["plain", "residual"])
def test_each_layer_has_its_own_gradient_of_the_training_loss(family: str) -> None:
    """Against backward() in training mode, which evaluation mode does not equal."""
    model = build_model(family, 14, config=ModelConfig(width=0.25)).eval()
    images, labels = torch.randn(16, 3, 8, 8), torch.arange(16) % 10
    found = gradient_norms(model, images, labels)

    def norms(mode: bool) -> list[float]:
        model.train(mode).zero_grad()
        functional.cross_entropy(model(images), labels).backward()
        return [float(place.convolution.weight.grad.norm()) for place in layers(model)]

    assert found.tolist() != pytest.approx(norms(False), rel=0.1)
    assert found.tolist() == pytest.approx(norms(True), rel=1e-4)


def test_the_gradients_of_a_linear_map_are_all_alike() -> None:
    images = torch.rand(5, 3, 4, 4)
    assert correlate(gradient_directions(crafted("residual", [1.0] * 3), images)) == pytest.approx(1)


def test_opposite_gradients_by_hand() -> None:
    """|red| through two filters: gradient +1 where red is positive, -1 where it is negative.

    Two of each: of 6 pairs 2 agree and 4 are opposite, (2 - 4) / 6.
    """
    model = build_model("plain", 2, config=ModelConfig(norm="none", width=0.25), classes=2)
    with torch.no_grad():
        model.stem.weight.zero_()
        model.stem.weight[0, 0, 1, 1], model.stem.weight[1, 0, 1, 1] = 1, -1
        nn.init.ones_(model.head.weight)
    images = torch.ones(4, 3, 4, 4) * torch.tensor([1.0, 2.0, -1.0, -3.0])[:, None, None, None]
    assert correlate(gradient_directions(model, images)) == pytest.approx(-1 / 3)


def test_an_input_without_a_gradient_is_in_no_pair() -> None:
    """relu(red - blue): where no red exceeds blue, as on two of six images, nothing depends on the input."""
    model = build_model("plain", 2, config=ModelConfig(norm="none", width=0.25), classes=2)
    with torch.no_grad():
        model.stem.weight.zero_()
        model.stem.weight[0, 0, 1, 1], model.stem.weight[0, 2, 1, 1] = 1, -1
        nn.init.ones_(model.head.weight)
    pixels = torch.tensor([[9, 0, 1], [8, 0, 1], [7, 0, 2], [0, 0, 3], [5, 0, 1], [1, 0, 4]])
    images = pixels[:, :, None, None].expand(6, 3, 4, 4).to(torch.uint8)
    assert correlate(gradient_directions(model, images / 255)) == pytest.approx(1)
    assert math.isnan(correlate(gradient_directions(model, images[3:5] / 255))), "no pair is left"
    held = (images.permute(0, 2, 3, 1), torch.zeros(6, dtype=torch.long))
    told = measure(model, sample(held, held))[-1]
    assert (told.value, told.note) == (pytest.approx(1), "2 of them without a gradient, in no pair")


def test_depth_shatters_the_gradients_of_plain_nets_first() -> None:
    """Balduzzi et al. 2017: at initial values correlation falls with depth, and less with shortcuts.

    Nearby inputs, all around one image.
    """
    generator = torch.Generator().manual_seed(0)
    around, noise = torch.randn(2, 24, 3, 8, 8, generator=generator)
    images = around[:1] + 0.3 * noise
    found = {
        (family, depth): correlate(
            gradient_directions(build_model(family, depth, config=ModelConfig(width=0.5)), images)
        )
        for family in ("plain", "residual")
        for depth in (8, 32)
    }
    assert found["plain", 8] > 0.1
    assert abs(found["plain", 32]) < 0.02 < found["residual", 32] < found["residual", 8]


def test_the_statistics_that_hold_are_those_of_the_images() -> None:
    """Whatever running statistics the net brings; and no image reaches another's logits."""
    model = build_model("residual", 8, config=ModelConfig(width=0.25))
    images = torch.randn(8, 3, 8, 8)
    before = correlate(gradient_directions(model, images))
    for place in layers(model):
        place.response.running_mean.fill_(3.0)
        place.response.running_var.fill_(50.0)
    assert correlate(gradient_directions(model, images)) == pytest.approx(before, rel=1e-6)


def test_one_batch_of_training_images_is_used() -> None:
    images, labels = primaries(60)
    numbers = measure(crafted("plain", [1.0] * 3), sample(primaries(2), (images, labels)))
    assert {number.images for number in numbers} == {MOST}
    pixels = images[:MOST].float().permute(0, 3, 1, 2) / 255
    expected = gradient_norms(crafted("plain", [1.0] * 3), pixels, labels[:MOST]).tolist()
    assert [number.value for number in numbers if number.name == "norm"] == pytest.approx(expected)
    (correlation,) = [number for number in numbers if number.name == "correlation"]
    assert correlation.layer is correlation.block is None
