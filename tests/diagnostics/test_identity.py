"""Blocks at a known distance from the identity."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from resdeg.config import ModelConfig
from resdeg.diagnostics.identity import _Alignment, _LinearMap, measure, nearness
from resdeg.diagnostics.sample import Sample
from resdeg.models import build_model
from resdeg.models.contexts import recompute_statistics
from resdeg.models.structure import blocks
from resdeg.models.surgery import insert_identities
from tests.diagnostics.nets import CHANNELS, crafted, primaries, sample

SWAP = torch.eye(CHANNELS)[[1, 0, 2, 3]]


@pytest.fixture
def colours() -> Sample:
    """Images in [0, 1], every channel of its own noise."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (40, 4, 4, 3), generator=generator, dtype=torch.uint8)
    return sample((images, torch.zeros(40, dtype=torch.long)), primaries(2))


def by_place(numbers) -> dict[tuple[str, int], float]:
    return {(number.name, number.block): number.value for number in numbers}


def image_norm(images: Sample) -> float:
    """The root mean square over images of the norm of an image's map: what enters the first crafted block."""
    norms = [image.double().norm() for batch in images.batches() for image in batch]
    return float(torch.stack(norms).square().mean().sqrt())


def test_the_norm_of_a_branch_is_a_mean_over_images_and_not_a_sum(colours: Sample) -> None:
    """Twice the same images in other batches give the same number, and images twice as bright twice of it."""
    model, images = crafted("residual", [0.5, 0.0, 1.0]), list(colours.batches())
    norms = [near.branch_norm for _, near in nearness(model, images)]
    assert norms[0] > 1
    twice = [near.branch_norm for _, near in nearness(model, [*images, *torch.cat(images).split(20)])]
    assert twice == pytest.approx(norms)
    bright = [near.branch_norm for _, near in nearness(model, [2 * batch for batch in images])]
    assert bright == pytest.approx([2 * norm for norm in norms])


def test_where_x_grows_the_share_of_the_branch_falls_and_its_norm_does_not() -> None:
    """Two blocks add nothing but grow: the ratio alone would pass for a branch that is driven to zero."""
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(16, 3, 4, 4, generator=generator)
    model = crafted("residual", [1.0, 0.5, 1 / 3])
    found = [near for _, near in nearness(model, [images])]
    assert [near.branch for near in found] == pytest.approx([1, 1 / 2, 1 / 3])
    assert [near.branch_norm for near in found] == pytest.approx([found[0].branch_norm] * 3)


def test_a_plain_block_that_scales(colours: Sample) -> None:
    """H(x) = F(x) = s x: at distance |s - 1|, in x's direction, the identity up to coordinates."""
    scales = [1.0, 3.0, 0.25]
    found = by_place(measure(crafted("plain", list(scales)), colours))
    entering = image_norm(colours)
    for number, scale in enumerate(scales, start=1):
        assert found["branch", number] == pytest.approx(scale)
        entering *= scale  # the next block is given what this one made
        assert found["branch_norm", number] == pytest.approx(entering)
        assert found["distance", number] == pytest.approx(abs(scale - 1), abs=1e-6)
        for name, value in (("cosine", 1), ("cka", 1), ("linear_residual", 0)):
            assert found[name, number] == pytest.approx(value, abs=1e-6)


def test_a_residual_block_that_scales(colours: Sample) -> None:
    """F(x) = s x, H(x) = x + s x: branch and distance are both |s|, and not those of a plain block."""
    scales = [0.0, 2.0, -0.5]
    found = by_place(measure(crafted("residual", list(scales)), colours))
    entering = image_norm(colours)
    for number, scale in enumerate(scales, start=1):
        assert found["branch", number] == pytest.approx(abs(scale))
        assert found["branch_norm", number] == pytest.approx(abs(scale) * entering)
        entering *= 1 + scale
        assert found["distance", number] == pytest.approx(abs(scale), abs=1e-6)
        assert found["cosine", number] == pytest.approx(1)


def test_a_block_that_permutes_channels_is_far_and_loses_nothing(colours: Sample) -> None:
    found = by_place(measure(crafted("plain", [1.0, SWAP, 1.0]), colours))
    x = torch.cat(list(colours.batches())).double()
    swapped = x[:, [1, 0, 2]]
    cosine = float((x * swapped).sum() / x.square().sum())
    assert found["cosine", 2] == pytest.approx(cosine)
    assert found["distance", 2] == pytest.approx(math.sqrt(2 - 2 * cosine))
    assert found["distance", 2] > 0.5
    assert found["distance", 1] == found["distance", 3] == 0
    assert found["cka", 2] == pytest.approx(1)
    assert found["linear_residual", 2] == pytest.approx(0, abs=1e-9)


def test_a_block_that_moves_everything_by_a_pixel_is_seen(colours: Sample) -> None:
    """Pooled over positions it would pass for the identity; no map of a pixel's own channels explains it."""
    model = crafted("plain", [1.0, 1.0, 1.0])
    weight = blocks(model)[1].module.conv2.weight
    with torch.no_grad():
        weight.copy_(weight.roll(1, dims=3))
    found = by_place(measure(model, colours))
    assert found["linear_residual", 2] > 0.9
    assert found["cka", 2] < 0.9
    assert found["linear_residual", 3] == pytest.approx(0, abs=1e-9)


def test_a_dead_channel_is_no_direction_and_a_dead_net_has_no_number(colours: Sample) -> None:
    """The fourth channel is 0 everywhere, above too. With all of them dead nothing is claimed."""
    found = by_place(measure(crafted("plain", [1.0, 0.0, 1.0]), colours))
    assert found["branch", 2] == 0
    assert found["distance", 2] == 1
    assert math.isnan(found["cosine", 2])
    assert math.isnan(found["branch", 3])


def test_inserted_identities_are_identities_in_evaluation_mode_alone() -> None:
    """Norms included; and the trained blocks around them are not, so no place is taken for another."""
    config = ModelConfig(width=0.25)
    shallow = build_model("plain", 8, config=config)
    images = torch.randn(64, 3, 8, 8)
    recompute_statistics(shallow, [images])
    deeper = insert_identities(shallow, config, 20, [images]).train()
    others = 3 * torch.randn(64, 3, 8, 8)  # of other statistics: training mode would not be the identity
    for place, found in nearness(deeper, torch.split(others, 32)):
        inserted = place.position > 0
        assert (found.distance < 1e-5) == inserted, place.number
        assert (found.linear_residual < 1e-6) == inserted
    assert [place.number for place, _ in nearness(deeper, [others])] == [1, 2, 3, 5, 6, 8, 9]


def test_the_law_of_cosines_holds() -> None:
    model = build_model("residual", 14, config=ModelConfig(width=0.25))
    images = torch.randn(24, 3, 8, 8)
    recompute_statistics(model, [images])
    with torch.no_grad():
        x = model.eval().entering(images)
        ratio = float(blocks(model)[0].module(x).norm() / x.norm())
    found = nearness(model, torch.split(images, 8))[0][1]
    assert found.distance**2 == pytest.approx(1 + ratio**2 - 2 * ratio * found.cosine, rel=1e-4)


# ---------------------------------------------------------------- the estimators


def hsic(k: torch.Tensor, m: torch.Tensor) -> float:
    """Equation 5 of Song et al. 2012, as it stands there."""
    n = len(k)
    k, m = k - torch.diag(k.diag()), m - torch.diag(m.diag())
    one = torch.ones(n, dtype=k.dtype)
    inner = (k @ m).trace() + (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2))
    return float((inner - 2 / (n - 2) * (one @ k @ m @ one)) / (n * (n - 3)))


def test_cka_is_the_unbiased_estimate_of_the_paper() -> None:
    x, y = torch.randn(9, 2, 3, 3).double(), torch.randn(9, 5, 2, 2).double()
    y[:, 0, 0, 0] += 2 * x[:, 0, 0, 0]
    alignment = _Alignment()
    alignment.add(x, y)
    k, m = (t.flatten(1) @ t.flatten(1).T for t in (x, y))
    assert alignment.result() == pytest.approx(hsic(k, m) / math.sqrt(hsic(k, k) * hsic(m, m)))


def test_cka_of_unrelated_features_is_nothing_however_many_they_are() -> None:
    """The biased one is near 1 with more features than images."""
    generator = torch.Generator().manual_seed(0)
    alignment = _Alignment()
    for _ in range(60):
        x, y = torch.randn(2, 12, 300, 1, 1, generator=generator)
        alignment.add(x, y)
    assert abs(alignment.result()) < 0.05


def test_cka_needs_four_images() -> None:
    with pytest.raises(ValueError, match="at least 4"):
        _Alignment().add(torch.randn(3, 1, 2, 2), torch.randn(3, 1, 2, 2))


def test_the_linear_residual_is_the_noise_s_share() -> None:
    """H = A x + b + noise of a third of the signal's variance: a quarter is left."""
    generator = torch.Generator().manual_seed(0)
    x, noise = torch.randn(2, 200, 3, 8, 8, generator=generator).double()
    rotation = nn.init.orthogonal_(torch.empty(3, 3), generator=generator).double()
    signal = torch.einsum("ij,njhw->nihw", rotation, x) + 5
    linear = _LinearMap()
    for part in range(0, 200, 50):
        where = slice(part, part + 50)
        linear.add(x[where], signal[where] + noise[where] / math.sqrt(3))
    assert linear.result() == pytest.approx(0.25, abs=0.01)
