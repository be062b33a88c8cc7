"""What holds of every measure, whatever it measures."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from resdeg import data
from resdeg.cli.diagnose import KINDS
from resdeg.config import DataConfig, ModelConfig
from resdeg.diagnostics import DIAGNOSTICS
from resdeg.diagnostics.sample import BATCH, Sample, standardised
from resdeg.models import build_model
from resdeg.models.block import BLOCKS
from tests.conftest import TINY


@pytest.fixture(scope="module")
def tiny_sample() -> Sample:
    return Sample.from_dataset(data.load(DataConfig(name="hierarchy", hierarchy=TINY)), 40)


def net(family: str, block: str = "basic", norm: str = "batch"):
    model = build_model(family, 14, config=ModelConfig(block=block, norm=norm, width=0.25))
    model.stages[1].eval()  # a mode of its own, to be found again
    return model


@pytest.mark.parametrize("kind", DIAGNOSTICS)
@pytest.mark.parametrize("family", ["plain", "residual"])
@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
def test_the_network_is_left_as_it_was_found(kind: str, family: str, norm: str, tiny_sample: Sample) -> None:
    model = net(family, norm=norm)
    before = copy.deepcopy(model)
    random, grad = torch.get_rng_state(), torch.is_grad_enabled()
    DIAGNOSTICS[kind].measure(model, tiny_sample)
    for name, value in before.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name
    assert [m.training for m in model.modules()] == [m.training for m in before.modules()]
    assert [len(m._forward_hooks) for m in model.modules()] == [0] * len(list(model.modules()))
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.is_grad_enabled() == grad


@pytest.mark.parametrize("kind", DIAGNOSTICS)
@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("family", ["plain", "residual"])
def test_numbers_are_finite_placed_and_repeat(
    kind: str, block: str, family: str, tiny_sample: Sample
) -> None:
    numbers = DIAGNOSTICS[kind].measure(net(family, block), tiny_sample)
    assert numbers == DIAGNOSTICS[kind].measure(net(family, block).eval(), tiny_sample), "in any mode"
    assert all(math.isfinite(number.value) for number in numbers)
    assert {number.images for number in numbers} == {DIAGNOSTICS[kind].images(tiny_sample)}
    places = [(number.name, number.layer, number.block) for number in numbers]
    assert len(set(places)) == len(places), "one number, one place"
    transitions = {3, 5}
    if kind in ("identity", "lesions"):
        assert {n.block for n in numbers if n.block} == {1, 2, 4, 6}, "blocks that change the shape are out"
    elif kind == "probes":
        assert {n.block for n in numbers} == {0, 1, 2, 4, 6} | transitions
    else:
        assert {n.layer for n in numbers if n.layer} == set(range(1, 14))


def test_families_start_alike_until_the_first_addition(tiny_sample: Sample) -> None:
    """The same F of the same input: the first block's branch is the same number, its output is not."""
    plain, residual = (
        {(n.name, n.block): n.value for n in DIAGNOSTICS["identity"].measure(net(f), tiny_sample)}
        for f in ("plain", "residual")
    )
    assert plain["branch", 1] == residual["branch", 1]
    assert plain["distance", 1] != residual["distance", 1]
    assert plain["branch", 2] != residual["branch", 2]


def test_the_command_names_every_kind() -> None:
    assert list(KINDS) == list(DIAGNOSTICS)


@pytest.mark.parametrize("count", [4, BATCH, BATCH + 1, 3 * BATCH - 1])
def test_batches_hold_every_image_once_and_none_is_tiny(count: int) -> None:
    images = torch.arange(count, dtype=torch.uint8)[:, None, None, None].expand(-1, 2, 2, 3)
    parts = list(standardised(images, lambda part: part))
    assert torch.equal(torch.cat(parts), images)
    assert all(4 <= len(part) <= BATCH for part in parts)


def test_a_sample_is_what_it_says(tiny_sample: Sample) -> None:
    dataset = data.load(DataConfig(name="hierarchy", hierarchy=TINY))
    assert len(tiny_sample) == len(tiny_sample.images) == 40
    assert torch.equal(tiny_sample.images, torch.from_numpy(dataset.test.images[:40]))
    assert torch.equal(tiny_sample.train_labels, torch.from_numpy(dataset.train.labels[:200]).long())
    assert len(Sample.from_dataset(dataset, 10_000)) == TINY.test_images
    everything = torch.cat(list(Sample.from_dataset(dataset, 10_000).train_batches()))
    assert everything.shape == (TINY.train_images, 3, 8, 8)
    assert abs(float(everything.mean())) < 0.01
    assert float(everything.std()) == pytest.approx(1, abs=0.2)
