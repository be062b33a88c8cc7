"""Lesions of blocks that destroy, do nothing, or only change the scale."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from resdeg.config import ModelConfig
from resdeg.diagnostics.lesions import measure
from resdeg.diagnostics.sample import Sample
from resdeg.models import build_model
from resdeg.models.block import BLOCKS
from resdeg.models.contexts import recompute_statistics, restored_buffers
from resdeg.models.parts import NORMS
from resdeg.models.structure import blocks
from resdeg.models.surgery import without_blocks
from resdeg.training.evaluate import evaluate
from tests.diagnostics.nets import crafted, primaries, sample


@pytest.fixture
def colours() -> Sample:
    return sample(primaries(20), primaries(30))


def values(numbers, name: str) -> list[float]:
    return [number.value for number in numbers if number.name == name]


@pytest.mark.parametrize(("family", "lost"), [("plain", 0.0), ("residual", -1.0)])
@pytest.mark.parametrize("recomputed", ["", "_recomputed"])
def test_only_taking_out_the_block_that_destroys_heals(
    family: str, lost: float, recomputed: str, colours: Sample
) -> None:
    """The second of three gives 0. Alone, only its own lesion heals; from the last backwards, from it on."""
    one = 1.0 if family == "plain" else 0.0
    numbers = measure(crafted(family, [one, lost, one]), colours)
    chance = pytest.approx(1 / 3)
    assert values(numbers, f"intact_accuracy{recomputed}") == [chance]
    assert values(numbers, f"accuracy{recomputed}") == [chance, 1.0, chance]
    assert values(numbers, f"accuracy_cumulative{recomputed}") == [1.0, 1.0, chance]
    assert values(numbers, f"intact_loss{recomputed}") == [pytest.approx(math.log(3))]
    assert values(numbers, f"loss{recomputed}")[1] < math.log(3)
    places = [(n.block, n.stage) for n in numbers if n.name == f"accuracy_cumulative{recomputed}"]
    assert places == [(1, 1), (2, 1), (3, 1)]


@pytest.mark.parametrize("family", ["plain", "residual"])
def test_taking_out_an_identity_costs_nothing(family: str, colours: Sample) -> None:
    one = 1.0 if family == "plain" else 0.0
    numbers = measure(crafted(family, [one] * 3), colours)
    for kind in ("loss", "loss_recomputed", "loss_cumulative", "loss_cumulative_recomputed"):
        assert values(numbers, kind) == pytest.approx(values(numbers, "intact_loss") * 3)
    assert {number.images for number in numbers} == {60}


def test_recomputed_statistics_are_those_of_the_net_without_the_block(colours: Sample) -> None:
    """The first block multiplies by 4, which the norms behind it undo once they measure it.

    So its lesion costs something with the statistics that the whole net left, and nothing with new ones;
    and new ones that were measured before the lesion, or kept from the one before, would show.
    """
    model = crafted("plain", [1.0, 1.0, 1.0], norm="batch")
    first = blocks(model)[0].module
    with torch.no_grad():
        # The first block itself has no norm: x -> 4 x to the letter.
        first.norm1, first.norm2 = nn.Identity(), nn.Identity()
        first.conv2.weight.mul_(4)
    recompute_statistics(model, colours.train_batches(len(colours)))
    numbers = measure(model, colours)
    (intact,), (again,) = values(numbers, "intact_loss"), values(numbers, "intact_loss_recomputed")
    assert again == pytest.approx(intact, abs=1e-3)
    assert values(numbers, "loss_recomputed")[0] == pytest.approx(again, abs=1e-3)
    assert abs(values(numbers, "loss")[0] - intact) > 0.05


def test_statistics_are_recomputed_on_as_many_training_images(colours: Sample) -> None:
    """All of them one colour: the norms then take that colour from every image, held-out ones too."""
    red = colours.train_images[:30].repeat(3, 1, 1, 1)
    odd = sample((colours.images, colours.labels), (red, colours.train_labels))
    model = crafted("plain", [1.0, 1.0, 1.0], norm="batch")
    recompute_statistics(model, [torch.cat(list(colours.batches()))])
    usual, moved = measure(model, colours), measure(model, odd)
    assert values(usual, "loss") == values(moved, "loss")
    assert values(usual, "loss_recomputed") != pytest.approx(values(moved, "loss_recomputed"), abs=0.01)


def as_defined(model, images: Sample) -> dict[tuple[str, int | None], float]:
    """The whole net anew for each lesion, by name and block."""
    able = [place.number for place in blocks(model) if place.keeps_shape]
    cases: list[tuple[str, int | None, list[int]]] = [("intact_{}", None, [])]
    cases += [("{}", number, [number]) for number in able]
    cases += [("{}_cumulative", number, [n for n in able if n >= number]) for number in able]
    fp32 = torch.autocast("cpu", torch.bfloat16, enabled=False)
    found = {}
    for suffix in ("", "_recomputed"):
        for name, number, removed in cases:
            with restored_buffers(model), without_blocks(model, removed):
                if suffix:
                    recompute_statistics(model, images.train_batches(len(images)))
                score = evaluate(model, images.images, images.labels, images.standardise, fp32)
            found |= {(name.format(part) + suffix, number): value for part, value in vars(score).items()}
    return found


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("block", BLOCKS)
def test_what_is_computed_once_for_all_lesions_behind_it_changes_no_bit(block: str, norm: str) -> None:
    """In batches of several sizes, and three blocks a stage: the last activation may write into its input."""
    model = build_model("residual", 20, config=ModelConfig(block=block, norm=norm, width=0.125), classes=3)
    images = sample(primaries(50, side=8), primaries(70, side=8))
    numbers = measure(model.eval(), images)
    assert {(number.name, number.block): number.value for number in numbers} == as_defined(model, images)
