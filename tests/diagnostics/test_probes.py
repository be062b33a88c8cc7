"""Probes of features that hold the label, or do not, and in evaluation mode alone."""

from __future__ import annotations

import pytest
import torch

from resdeg.diagnostics.probes import RIDGE, RidgeProbe, measure
from resdeg.diagnostics.sample import BATCH
from resdeg.models.contexts import recompute_statistics
from resdeg.models.structure import blocks
from tests.diagnostics.nets import CHANNELS, crafted, primaries, sample


@pytest.mark.parametrize(("family", "lost"), [("plain", 0.0), ("residual", -1.0)])
def test_the_label_is_there_until_a_block_drops_it(family: str, lost: float) -> None:
    """The third of six blocks gives 0: before it every image is told, after it none is."""
    model = crafted(family, [1.0, 1.0, lost, 1.0, 1.0, 1.0])
    numbers = measure(model, sample(primaries(20), primaries(30)))
    assert [number.block for number in numbers] == list(range(7))
    assert [number.value for number in numbers] == pytest.approx([1, 1, 1, 1 / 3, 1 / 3, 1 / 3, 1 / 3])
    assert {(number.stage, number.note) for number in numbers} == {(1, "fitted on 90 training images")}


def test_it_is_fitted_on_training_images_and_scored_on_held_out_ones() -> None:
    model = crafted("plain", [1.0, 1.0, 1.0])
    moved = measure(model, sample(primaries(20, shift=1), primaries(30)))
    assert [number.value for number in moved] == [0.0] * 4
    moved = measure(model, sample(primaries(20, shift=1), primaries(30, shift=1)))
    assert [number.value for number in moved] == [1.0] * 4


def test_it_is_taken_in_evaluation_mode() -> None:
    """In training mode a batch norm takes from a batch of one colour the only thing that tells it apart."""
    model = crafted("plain", [1.0, 1.0, 1.0], norm="batch")
    images = sample(primaries(BATCH), primaries(BATCH))
    recompute_statistics(model, [torch.cat(list(images.batches()))])
    assert [number.value for number in measure(model.train(), images)] == pytest.approx([1.0] * 4)


def test_pooling_comes_before_the_probe() -> None:
    """Where a colour lies must not matter: the held-out images are mirrored."""
    images, labels = primaries(20)
    half = images.clone()
    half[:, :, :2] = 0
    numbers = measure(crafted("plain", [1.0] * 3), sample((half.flip(2), labels), (half, labels)))
    assert [number.value for number in numbers] == [1.0] * 4


def test_ridge_is_the_closed_form() -> None:
    features, labels = torch.randn(50, 3).double(), torch.arange(50) % 2
    probe = RidgeProbe(features, labels, 2)
    z = (features - features.mean(0)) / features.std(0, correction=0)
    targets = torch.stack([1.0 - labels, labels.double()], dim=1)
    # Its gradient vanishes: mean squares plus RIDGE times the weight's.
    gradient = z.T @ (z @ probe.weight + probe.bias - targets) / 50 + RIDGE * probe.weight
    assert gradient.abs().max() < 1e-12
    assert probe.weight.abs().max() > 1e-3


def test_a_constant_feature_is_harmless() -> None:
    features = torch.cat([torch.eye(2).repeat(5, 1), torch.full((10, 1), 7.0)], dim=1).double()
    labels = torch.arange(2).repeat(5)
    assert RidgeProbe(features, labels, 2).accuracy(features, labels) == 1.0


def test_the_blocks_of_the_crafted_net_are_what_they_are_said_to_be() -> None:
    model = crafted("plain", [2.0, 1.0, 0.0])
    x = torch.rand(2, CHANNELS, 4, 4)
    for place, factor in zip(blocks(model), (2.0, 1.0, 0.0), strict=True):
        assert torch.equal(place.module(x), factor * x)
