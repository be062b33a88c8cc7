"""Networks: one family differs from the other in the addition alone, and the counts are the paper's."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from resdeg.config import ModelConfig
from resdeg.models import build_model
from resdeg.models.block import BLOCKS, BasicBlock, Parts
from resdeg.models.network import TABLES
from resdeg.models.parts import ACTIVATIONS, NORMS, BlockShape, PaddedIdentity
from resdeg.models.structure import census

PARAMETERS = {
    2: 634, 8: 75_290, 14: 172_506, 20: 269_722, 32: 464_154, 44: 658_586, 56: 853_018, 110: 1_727_962,
    1202: 19_421_274,
}  # fmt: skip
MULTIPLY_ADDS = {8: 12.24, 14: 26.40, 20: 40.55, 32: 68.86, 44: 97.17, 56: 125.49, 110: 252.89}


@pytest.mark.parametrize("depth", PARAMETERS)
@pytest.mark.parametrize("family", ["plain", "residual"])
def test_counts_are_those_of_the_paper(family, depth: int) -> None:
    with torch.device("meta"):
        counts = census(build_model(family, depth), side=32)
    assert counts.depth == depth
    assert counts.parameters == PARAMETERS[depth]
    if depth in MULTIPLY_ADDS:
        assert counts.multiply_adds / 1e6 == pytest.approx(MULTIPLY_ADDS[depth], abs=0.005)


def test_projections_add_their_parameters_and_no_depth() -> None:
    counts = census(build_model("residual", 20, config=ModelConfig(shortcut="projection")), side=32)
    assert counts.parameters == PARAMETERS[20] + 2_752
    assert counts.depth == 20


@pytest.mark.parametrize("depth", [2, 8, 20])
def test_families_share_every_name_shape_and_value(depth: int) -> None:
    plain, residual = (build_model(family, depth, seed=3).state_dict() for family in ("plain", "residual"))
    assert list(plain) == list(residual)
    assert all(torch.equal(plain[name], residual[name]) for name in plain)


def test_projection_moves_nothing_else() -> None:
    plain = build_model("plain", 14, seed=3).state_dict()
    projected = build_model("residual", 14, 3, ModelConfig(shortcut="projection")).state_dict()
    assert set(projected) > set(plain)
    assert all(torch.equal(plain[name], projected[name]) for name in plain)


def test_depth_2_is_one_net_in_both_families() -> None:
    images = torch.randn(4, 3, 32, 32)
    plain, residual = (build_model(family, 2, seed=1) for family in ("plain", "residual"))
    assert torch.equal(plain(images), residual(images))


@torch.no_grad()
def test_a_residual_block_is_the_plain_one_with_the_addition() -> None:
    """The whole net, computed again by hand from the plain net's parts."""
    images = torch.randn(4, 3, 32, 32)
    plain, residual = (build_model(family, 14, seed=2).eval() for family in ("plain", "residual"))
    x = torch.relu(plain.stem_norm(plain.stem(images)))
    for stage in plain.stages:
        for block in stage:
            around = x
            if block.conv1.stride == (2, 2):
                around = torch.zeros(4, block.conv1.out_channels, x.shape[2] // 2, x.shape[3] // 2)
                around[:, : x.shape[1]] = x[:, :, ::2, ::2]
            inner = torch.relu(block.norm1(block.conv1(x)))
            x = torch.relu(block.norm2(block.conv2(inner)) + around)
    assert torch.allclose(residual(images), plain.head(x.mean((2, 3))), atol=1e-6)
    assert not torch.allclose(residual(images), plain(images), atol=1e-3)


def test_initial_values_are_he_s_and_follow_the_seed() -> None:
    net = build_model("plain", 20, seed=0)
    weight = net.stages[2][1].conv1.weight
    assert weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)
    assert net.head.weight.std().item() == pytest.approx((2 / 64) ** 0.5, rel=0.1)
    assert torch.equal(net.head.bias, torch.zeros(10))
    assert not torch.equal(build_model("plain", 20, seed=1).stem.weight, net.stem.weight)
    assert not torch.equal(net.stages[0][0].conv1.weight, net.stages[0][0].conv2.weight)


def test_building_a_net_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    first = build_model("residual", 8, seed=0).stem.weight
    assert torch.equal(torch.get_rng_state(), before), "nothing was drawn from it"
    torch.manual_seed(99)
    assert torch.equal(build_model("residual", 8, seed=0).stem.weight, first), "nor read"
    torch.set_rng_state(before)


ROWS = [(setting, name) for setting, table in TABLES.items() for name in table]


@pytest.mark.parametrize(("setting", "name"), ROWS)
@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("depth", [2, 8])
@pytest.mark.parametrize("family", ["plain", "residual"])
def test_every_row_builds_computes_and_learns(setting, name, block, depth, family) -> None:
    config = ModelConfig(**{"block": block, "width": 0.5, setting: name})
    net = build_model(family, depth, 0, config, classes=7)
    assert census(net, 16).depth == depth
    logits = net(torch.randn(3, 3, 16, 16))
    assert logits.shape == (3, 7)
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize(("setting", "name"), ROWS)
@pytest.mark.parametrize("block", BLOCKS)
def test_in_every_row_the_families_share_their_values(setting, name, block) -> None:
    config = ModelConfig(**{"block": block, "width": 0.5, setting: name})
    plain, residual = (build_model(f, 8, 3, config) for f in ("plain", "residual"))
    own = dict(residual.named_parameters())
    for name, value in plain.named_parameters():
        assert torch.equal(value, own[name])
    images = torch.randn(2, 3, 16, 16)
    assert not torch.allclose(plain(images), residual(images), atol=1e-3), "but not the function"


@pytest.mark.parametrize("setting", TABLES)
def test_an_unknown_part_names_the_nearest(setting: str) -> None:
    with pytest.raises(ValueError, match=f"model.{setting}: 'bacth' is not known"):
        build_model("plain", 8, config=ModelConfig(**{setting: "bacth"}))


def test_without_norm_there_are_convolutions_and_a_classifier_alone() -> None:
    net = build_model("plain", 8, config=ModelConfig(norm="none"))
    assert {name.split(".")[-2] for name, _ in net.named_parameters()} <= {"stem", "conv1", "conv2", "head"}


def test_option_a_has_its_zeros_after_the_real_channels() -> None:
    x = torch.randn(2, 4, 6, 6)
    out = PaddedIdentity(BlockShape(4, 8, 2))(x)
    assert torch.equal(out[:, :4], x[:, :, ::2, ::2])
    assert torch.equal(out[:, 4:], torch.zeros(2, 4, 3, 3))


def test_a_zero_branch_is_the_identity_in_a_residual_block_alone() -> None:
    x = torch.rand(2, 4, 6, 6)
    for shortcut, expected in ((nn.Identity(), x), (None, torch.zeros_like(x))):
        block = BasicBlock(
            BlockShape(4, 4), Parts(NORMS["batch"], ACTIVATIONS["relu"], ACTIVATIONS["relu"], shortcut)
        ).eval()
        nn.init.zeros_(block.norm2.weight)
        assert torch.equal(block(x), expected)


def test_the_census_leaves_the_mode_as_it_was() -> None:
    net = build_model("plain", 8)
    census(net, 32)
    assert net.training
