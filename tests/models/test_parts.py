"""Blocks, norms, activations and initial values, each against its definition written out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from resdeg.config import ModelConfig
from resdeg.models import build_model, image_statistics
from resdeg.models.block import BLOCKS, Parts, PreactBlock, StarganBlock
from resdeg.models.init import _haar
from resdeg.models.parts import ACTIVATIONS, NORMS, BlockShape, PointwiseConv
from resdeg.models.structure import census, passes

STARGAN = ModelConfig(block="stargan", layout="isotropic")


def notes_unit(channels: int) -> nn.Sequential:
    """The lines of the notes, as they stand there."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, kernel_size=3, stride=1, padding=1, bias=False),
        nn.InstanceNorm2d(channels, affine=True, track_running_stats=True),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels, channels, kernel_size=3, stride=1, padding=1, bias=False),
        nn.InstanceNorm2d(channels, affine=True, track_running_stats=True),
    )


@pytest.mark.parametrize("family", ["plain", "residual"])
def test_the_stargan_unit_is_the_notes_to_the_letter(family: str) -> None:
    """Same output, gradient and running statistics, in training and in evaluation mode."""
    torch.manual_seed(0)
    unit = notes_unit(4)
    for name, parameter in unit.named_parameters():
        nn.init.normal_(parameter, mean=float("norm" in name))
    block = build_model(family, 14, 0, ModelConfig(block="stargan", layout="isotropic", width=0.25)).stages[
        0
    ][2]
    assert isinstance(block, StarganBlock)
    ours, theirs = dict(block.named_parameters()), dict(unit.named_parameters())
    for mine, other in (("conv1", "0"), ("norm1", "1"), ("conv2", "3"), ("norm2", "4")):
        for part in ("weight", "bias"):
            if f"{other}.{part}" in theirs:
                ours[f"{mine}.{part}"].data.copy_(theirs[f"{other}.{part}"].data)
    assert len(ours) == len(theirs)
    x = torch.randn(5, 4, 8, 8)
    for mode in (True, False):
        got, expected = (module.train(mode)(x.clone()) for module in (block, unit))
        expected = expected + x if family == "residual" else expected
        assert torch.allclose(got, expected, atol=1e-6)
    assert torch.equal(block.norm2.running_mean, unit[4].running_mean)
    assert torch.equal(block.norm2.running_var, unit[4].running_var)
    assert not torch.equal(block.norm2.running_var, torch.ones(4)), "and they were tracked"


def test_depth_14_isotropic_is_six_units_of_one_shape() -> None:
    net = build_model("residual", 14, config=STARGAN)
    units = [block for stage in net.stages for block in stage]
    assert len(units) == 6
    assert {(u.conv1.in_channels, u.conv2.out_channels, u.conv1.stride) for u in units} == {(16, 16, (1, 1))}
    assert all(isinstance(unit.shortcut, nn.Identity) for unit in units)
    staged = census(build_model("residual", 14), 32)
    assert census(net, 32).depth == 14
    assert census(net, 32).multiply_adds == pytest.approx(staged.multiply_adds, rel=0.1)


# ---------------------------------------------------------------- the pooling trap


@torch.no_grad()
def test_pooling_after_instance_norm_sees_no_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """In training mode every image gets the same logits, unless a nonlinearity stands before pooling."""
    images = torch.randn(6, 3, 16, 16)

    def spread(family: str) -> float:
        logits = build_model(family, 14, 0, STARGAN).train()(images)
        return (logits - logits[0]).abs().max().item()

    assert spread("plain") > 1e-2, "as we build it"
    assert spread("residual") > 1e-2
    monkeypatch.setitem(BLOCKS, "stargan", replace(BLOCKS["stargan"], closing="nothing"))
    assert spread("plain") < 1e-5, "the trap"
    # In the residual net the stem alone is heard: with the same stem, other units change nothing.
    one, other = (build_model("residual", 14, seed, STARGAN).train() for seed in (0, 1))
    other.stem.load_state_dict(one.stem.state_dict())
    other.head.load_state_dict(one.head.state_dict())
    assert torch.allclose(one(images), other(images), atol=1e-5)


@torch.no_grad()
def test_the_two_evaluations_of_instance_norm() -> None:
    net = build_model("residual", 8, 0, STARGAN)
    images = torch.randn(4, 3, 16, 16)
    for _ in range(3):
        training = net.train()(images)
    before = {name: value.clone() for name, value in net.named_buffers()}
    running = net.eval()(images)
    with image_statistics(net) as any_norm:
        assert any_norm
        own = net(images)
        assert torch.allclose(net(images[:1]), own[:1], atol=1e-5), "an image's own, whatever the batch"
    assert torch.allclose(own, training, atol=1e-5)
    assert not torch.allclose(running, own, atol=1e-3)
    assert torch.equal(net(images), running), "switched back"
    assert all(torch.equal(value, before[name]) for name, value in net.named_buffers())
    with image_statistics(build_model("plain", 8)) as any_norm:
        assert not any_norm


# ---------------------------------------------------------------- preact, lambda, activations


@torch.no_grad()
@pytest.mark.parametrize("norm", NORMS)
def test_preact_by_hand(norm: str) -> None:
    """The whole net again from its parts: one activation before the first split, one before pooling."""
    net = build_model("residual", 14, 1, ModelConfig(block="preact", norm=norm)).eval()
    images = torch.randn(3, 3, 16, 16)
    x = net.stem(images)
    for number, stage in enumerate(net.stages):
        for position, block in enumerate(stage):
            active = torch.relu(block.norm1(x))
            branch = block.conv2(torch.relu(block.norm2(block.conv1(active))))
            around = active if number == position == 0 else x
            if block.conv1.stride == (2, 2):
                around = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, x.shape[1]))
            x = around + branch
    expected = net.head(torch.relu(net.closing_norm(x)).mean((2, 3)))
    assert torch.allclose(net(images), expected, atol=1e-5)


def test_a_preact_shortcut_is_not_overwritten_where_there_is_no_norm() -> None:
    block = PreactBlock(
        BlockShape(4, 4), Parts(NORMS["none"], ACTIVATIONS["relu"], ACTIVATIONS["relu"], nn.Identity())
    )
    nn.init.zeros_(block.conv2.weight)
    x = torch.randn(2, 4, 6, 6)
    assert torch.equal(block(x.clone()), x)


@torch.no_grad()
@pytest.mark.parametrize("block", BLOCKS)
def test_lambda_scales_the_shortcut(block: str) -> None:
    images = torch.randn(3, 3, 16, 16)
    plain = build_model("plain", 8, 2, ModelConfig(block=block)).eval()
    silent = build_model("residual", 8, 2, ModelConfig(block=block, shortcut_scale=0.0)).eval()
    assert torch.equal(silent(images), plain(images)), "at 0 the residual net is the plain one"
    half = build_model("residual", 8, 2, ModelConfig(block=block, shortcut_scale=0.5)).eval().stages[0][0]
    nn.init.zeros_(half.conv2.weight)
    x = torch.rand(2, 16, 6, 6)
    assert torch.allclose(half(x), 0.5 * x, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("relu", [0, 0, 2.0]),
        ("leaky_relu", [-0.01, 0, 2.0]),
        ("gelu", [-0.1587, 0, 1.9545]),
        ("none", [-1.0, 0, 2.0]),
    ],
)
def test_activations(name: str, expected: list[float]) -> None:
    x = torch.tensor([-1.0, 0.0, 2.0])
    activation = ACTIVATIONS[name]()
    assert activation(x).tolist() == pytest.approx(expected, abs=1e-4)
    assert x.tolist() == [-1.0, 0.0, 2.0], "its input is left alone"


def test_the_activation_is_used_everywhere() -> None:
    """With GELU no exact zero is left in what is pooled; with ReLU there are many."""
    images = torch.randn(4, 3, 16, 16)
    zeros = {}
    for name in ACTIVATIONS:
        *_, (_, _, pooled) = passes(build_model("plain", 8, 0, ModelConfig(activation=name)), images)
        zeros[name] = (pooled == 0).float().mean()
    assert zeros["relu"] > 0.1
    assert zeros["leaky_relu"] == zeros["gelu"] == 0


# ---------------------------------------------------------------- dirac-mixed


@torch.no_grad()
def test_dirac_mixed_is_a_dirac_and_he() -> None:
    he = build_model("plain", 14, 5)
    kept = he.stages[1][1].conv1.weight
    identity = nn.init.dirac_(torch.empty_like(kept))
    for a in (0.0, 0.25, 1.0):
        mixed = build_model("plain", 14, 5, ModelConfig(init="dirac-mixed", dirac=a))
        assert torch.allclose(mixed.stages[1][1].conv1.weight, a * identity + (1 - a) * kept)
        for changed in ("stem", "head"):
            assert torch.equal(getattr(mixed, changed).weight, getattr(he, changed).weight)
        assert torch.equal(mixed.stages[1][0].conv1.weight, he.stages[1][0].conv1.weight), "16 to 32 channels"
    x = torch.rand(2, 32, 5, 5)
    assert torch.equal(mixed.stages[1][1].conv1(x), x), "at a = 1 the convolution is the identity"


def test_dirac_goes_with_its_init() -> None:
    assert ModelConfig(init="dirac-mixed").dirac == 0.5
    with pytest.raises(ValueError, match=r"model\.dirac is set"):
        ModelConfig(dirac=0.5)


# ---------------------------------------------------------------- orthogonal

ORTHOGONAL = ModelConfig(init="orthogonal")


def inner_convolutions(model: nn.Module) -> dict[str, nn.Conv2d]:
    """The 3x3 convolutions of `model` that keep their number of channels, by name."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d) and module.in_channels == module.out_channels
    }


@torch.no_grad()
def test_an_orthogonal_kernel_is_a_rotation_at_its_centre_and_zero_elsewhere() -> None:
    convolutions = inner_convolutions(build_model("plain", 14, 3, ORTHOGONAL))
    assert {module.out_channels for module in convolutions.values()} == {16, 32, 64}
    for name, module in convolutions.items():
        centre = module.weight[:, :, 1, 1].double()
        singular = torch.linalg.svdvals(centre)
        assert torch.allclose(singular, torch.ones_like(singular), atol=1e-5), name
        others = module.weight.clone()
        others[:, :, 1, 1] = 0
        assert others.count_nonzero() == 0, f"{name}: the other eight taps"
        assert (centre - torch.eye(len(centre))).norm() > 1, f"{name} is not the identity"


@torch.no_grad()
@pytest.mark.parametrize("padding", ["zeros", "circular"])
def test_an_orthogonal_convolution_keeps_the_norm_of_any_map(padding: str) -> None:
    (module,) = [
        block.conv1
        for block in build_model("plain", 14, 3, ORTHOGONAL).stages[1]
        if block.conv1.stride[0] == 1
    ]
    layer = nn.Conv2d(32, 32, 3, padding=1, bias=False, padding_mode=padding)
    layer.load_state_dict(module.state_dict())
    x = torch.randn(4, 32, 5, 5)
    out = layer(x)
    assert out.norm().item() == pytest.approx(x.norm().item(), rel=1e-5)
    assert (out - x).norm() > 0.5 * x.norm()
    # An isometry on a basis, too: the whole layer as one matrix has orthonormal columns.
    basis = torch.eye(32 * 9).view(-1, 32, 3, 3)
    matrix = layer(basis).flatten(1)
    assert torch.allclose(matrix @ matrix.T, torch.eye(32 * 9), atol=1e-5)


def test_orthogonal_values_come_from_the_seed_and_the_layer_s_name() -> None:
    one, same, other = (inner_convolutions(build_model("plain", 14, seed, ORTHOGONAL)) for seed in (3, 3, 4))
    shortcuts = inner_convolutions(build_model("residual", 14, 3, ORTHOGONAL))
    for name, module in one.items():
        assert torch.equal(module.weight, same[name].weight)
        assert torch.equal(module.weight, shortcuts[name].weight), "both families start alike"
        assert not torch.equal(module.weight, other[name].weight)
    kernels = [module.weight for module in one.values() if module.out_channels == 16]
    assert len(kernels) == 4
    assert not any(torch.equal(a, b) for n, a in enumerate(kernels) for b in kernels[:n])


def test_orthogonal_matrices_are_of_the_haar_measure() -> None:
    """Their mean over draws is 0, at the diagonal too, where LAPACK's own signs lean to one side."""
    draws = torch.stack([_haar(4, torch.Generator().manual_seed(seed)) for seed in range(2000)])
    noise = (1 / (4 * len(draws))) ** 0.5  # an entry has variance 1 / size
    assert draws.mean(dim=0).abs().max() < 4.5 * noise
    assert torch.linalg.det(draws).gt(0).float().mean().item() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("family", ["plain", "residual"])
@pytest.mark.parametrize(
    "more", [{}, {"shortcut": "projection"}, {"layout": "isotropic"}, {"block": "preact"}]
)
def test_the_control_changes_the_layers_that_the_identity_start_changes(
    family: str, more: dict[str, str]
) -> None:
    def changed(**start: object) -> set[str]:
        model = build_model(family, 14, 5, ModelConfig(**more, **start)).state_dict()
        return {name for name, value in model.items() if not torch.equal(value, he[name])}

    he = build_model(family, 14, 5, ModelConfig(**more)).state_dict()
    control = changed(init="orthogonal")
    assert control == changed(init="dirac-mixed", dirac=1.0)
    assert len(control) == (12 if "layout" in more else 10)
    assert all("conv" in name for name in control)


def test_an_init_that_is_not_known_is_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="'ortogonal' is not known\ndid you mean 'orthogonal'"):
        build_model("plain", 8, 0, ModelConfig(init="ortogonal"))
    with pytest.raises(ValueError, match=r"model\.dirac is set"):
        ModelConfig(init="orthogonal", dirac=1.0)


def test_stargan_brings_instance_norm_unless_another_is_named() -> None:
    assert ModelConfig(block="stargan").norm == "instance"
    assert ModelConfig(block="stargan", norm="batch").norm == "batch"


@pytest.mark.parametrize("entering", [4, 16])
def test_a_projection_is_a_strided_1x1_convolution(entering: int) -> None:
    """In value and gradients; with 4 channels oneDNN's own gradient writes where it should not."""
    torch.manual_seed(0)
    convolution = PointwiseConv(entering, 2 * entering, kernel_size=1, stride=2, bias=False)
    convolution = convolution.to(memory_format=torch.channels_last)
    x = torch.randn(32, entering, 8, 8).to(memory_format=torch.channels_last).requires_grad_()
    y = convolution(x)
    given = torch.randn_like(y)
    gradients = torch.autograd.grad(y, (x, convolution.weight), given)
    wide, weight = x.detach().double().requires_grad_(), convolution.weight.detach().double().requires_grad_()
    expected = torch.nn.functional.conv2d(wide, weight, stride=2)
    theirs = torch.autograd.grad(expected, (wide, weight), given.double())
    for ours, reference in zip((y, *gradients), (expected, *theirs), strict=True):
        assert torch.allclose(ours.double(), reference, rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("family", ["plain", "residual"])
def test_the_inner_activation_is_the_one_between_the_convolutions(family: str, block: str) -> None:
    config = ModelConfig(block=block, inner_activation="none")
    net = build_model(family, 8, 1, config).eval()
    images = torch.randn(3, 3, 16, 16)
    same = build_model(family, 8, 1, ModelConfig(block=block, inner_activation="relu")).eval()
    usual = build_model(family, 8, 1, ModelConfig(block=block)).eval()
    assert torch.equal(same(images), usual(images))
    assert not torch.allclose(net(images), usual(images))
    of = net.stages[1][0]
    x = torch.randn(2, 16, 6, 6)
    by_hand = {
        "preact": lambda: of.conv2(of.norm2(of.conv1(torch.relu(of.norm1(x))))),
        "basic": lambda: of.norm2(of.conv2(of.norm1(of.conv1(x)))),
        "stargan": lambda: of.norm2(of.conv2(of.norm1(of.conv1(x)))),
    }
    if block in by_hand:  # a kind that was added has its own test
        assert torch.allclose(of.residual(x), by_hand[block](), atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("block", ["basic", "stargan"])
def test_a_last_scale_of_zero_starts_every_residual_block_as_its_shortcut(block: str) -> None:
    net = build_model("residual", 14, 1, ModelConfig(block=block, last_scale=0.0)).eval()
    x = torch.rand(2, 16, 6, 6)
    assert torch.equal(net.stages[0][1](x), x)
    scales = {name: p for name, p in net.named_parameters() if "norm" in name and name.endswith("weight")}
    last = {name for name in scales if name.endswith("norm2.weight")}
    assert len(last) == 6
    assert all(float(p.abs().max()) == (0.0 if name in last else 1.0) for name, p in scales.items())


@pytest.mark.parametrize("settings", [{"block": "preact"}, {"norm": "none"}])
def test_a_last_scale_needs_a_norm_at_the_branch_s_end(settings: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="none there"):
        ModelConfig(last_scale=0.0, **settings)
