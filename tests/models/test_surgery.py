"""The constructed solution and the lesion: identities put in and blocks taken out, nothing else moved."""

from __future__ import annotations

import itertools

import pytest
import torch

from resdeg import data
from resdeg.config import DataConfig, ModelConfig
from resdeg.errors import UsageError
from resdeg.models import build_model
from resdeg.models.block import BLOCKS
from resdeg.models.contexts import recompute_statistics
from resdeg.models.structure import blocks, layers, passes
from resdeg.models.surgery import insert_identities, without_blocks
from resdeg.runner import Trainer
from tests.conftest import TINY

CPU = torch.device("cpu")
SMALL = ModelConfig(width=0.25)


def trained(tiny_run, depth: int = 8, steps: int = 12):
    """A tiny plain net after a few steps, its inputs and its settings."""
    config = tiny_run("plain", depth)
    trainer = Trainer.from_config(config, data.load(DataConfig(name="hierarchy", hierarchy=TINY)), device=CPU)
    take_step = trainer.make_step()
    for step in range(steps):
        take_step(step, 0)
    return trainer.state.model, trainer.inputs, config.model


def test_a_deeper_net_computes_what_the_shallow_one_does(tiny_run) -> None:
    model, inputs, config = trained(tiny_run)
    images, _ = inputs.held["test"]
    measured = inputs.standardise(inputs.images)
    deeper = insert_identities(model, config, 20, torch.split(measured, 100)).eval()
    model.eval()
    with torch.no_grad():
        shallow, deep = model(inputs.standardise(images)), deeper(inputs.standardise(images))
    assert torch.allclose(shallow, deep, atol=1e-5)
    assert shallow.std() > 0.1, "and it says something"


def test_the_deeper_net_is_an_ordinary_one_of_its_depth(tiny_run) -> None:
    model, inputs, config = trained(tiny_run, steps=2)
    model.train()
    deeper = insert_identities(model, config, 14, [inputs.standardise(inputs.images)])
    assert deeper.training
    ordinary = build_model("plain", 14, config=config, classes=model.head.out_features)
    shapes = {name: value.shape for name, value in ordinary.state_dict().items()}
    assert {name: value.shape for name, value in deeper.state_dict().items()} == shapes
    ordinary.load_state_dict(deeper.state_dict())
    ordinary(inputs.standardise(inputs.images)).sum().backward()
    for place in layers(ordinary):
        assert place.convolution.weight.grad.abs().sum() > 0, f"layer {place.number} can be trained on"


def test_the_new_norms_carry_the_statistics_of_their_stage(tiny_run) -> None:
    """On the images they were measured on, training mode is the identity too."""
    model, inputs, config = trained(tiny_run)
    images = inputs.standardise(inputs.images)
    recompute_statistics(model, [images])  # so that both modes send the same through the shallow net
    deeper = insert_identities(model, config, 20, torch.split(images, 50))
    with torch.no_grad():
        expected, got = model.eval()(images), deeper.train()(images)
    assert torch.allclose(got, expected, atol=0.02 * float(expected.std()))


class OnMps(torch.Tensor):
    """A tensor of the CPU that says it lies on a GPU of Apple, which has no float64."""

    device = torch.device("mps")

    def cpu(self) -> torch.Tensor:
        return self.as_subclass(torch.Tensor)

    def double(self) -> torch.Tensor:
        raise TypeError("Cannot convert a MPS Tensor to float64")


def test_statistics_are_taken_without_float64_on_a_device_that_has_none() -> None:
    model, images = build_model("plain", 8, config=SMALL), torch.randn(6, 3, 8, 8)
    there = insert_identities(model, SMALL, 20, [images.as_subclass(OnMps)])
    here = insert_identities(model, SMALL, 20, [images])
    for name, value in here.state_dict().items():
        assert torch.equal(there.state_dict()[name], value), name


def test_without_a_norm_it_is_exact() -> None:
    config = ModelConfig(norm="none", width=0.25)
    model = build_model("plain", 8, config=config).eval()
    images = torch.randn(6, 3, 8, 8)
    deeper = insert_identities(model, config, 20, [images])
    assert torch.equal(deeper(images), model(images))


@pytest.mark.parametrize(
    ("family", "settings", "depth", "told"),
    [
        ("residual", {}, 14, "plain networks of basic blocks"),
        ("plain", {"block": "stargan"}, 14, "plain networks of basic blocks"),
        ("plain", {"activation": "leaky_relu"}, 14, "plain networks of basic blocks"),
        ("plain", {"norm": "instance"}, 14, "no setting that undoes it"),
        ("plain", {}, 2, "depth 2 holds no such network"),
    ],
)
def test_what_cannot_be_the_identity_is_refused(family: str, settings, depth: int, told: str) -> None:
    config = ModelConfig(**{"width": 0.25, **settings})
    with pytest.raises(UsageError, match=told):
        insert_identities(build_model(family, 8, config=config), config, depth, [torch.randn(4, 3, 8, 8)])


def test_statistics_need_images() -> None:
    with pytest.raises(ValueError, match="no image"):
        insert_identities(build_model("plain", 8, config=SMALL), SMALL, 14, [])


# ---------------------------------------------------------------- blocks taken out


@pytest.mark.parametrize("family", ["plain", "residual"])
@pytest.mark.parametrize("kind", BLOCKS)
def test_a_block_taken_out_is_the_identity(family: str, kind: str) -> None:
    model = build_model(family, 14, config=ModelConfig(block=kind, width=0.25)).eval()
    images, before = torch.randn(4, 3, 8, 8), model.state_dict().copy()
    intact = model(images)
    places = blocks(model)
    assert [place.keeps_shape for place in places] == [True, True, False, True, False, True]
    with without_blocks(model, [2, 4]):
        by_hand = model.entering(images)
        for number in (1, 3, 5, 6):
            by_hand = places[number - 1].module(by_hand)
        if model.kind.closing != "nothing":
            by_hand = model.activation(model.closing_norm(by_hand))
        assert torch.allclose(model(images), model.head(by_hand.mean(dim=(2, 3))), atol=1e-5)
        assert not torch.allclose(model(images), intact)
    assert torch.equal(model(images), intact)
    assert model.state_dict().keys() == before.keys()


def test_a_block_that_changes_the_shape_cannot_be_taken_out() -> None:
    model = build_model("residual", 14, config=SMALL)
    with pytest.raises(ValueError, match=r"only \[1, 2, 4, 6\] keep their shape"), without_blocks(model, [3]):
        pass


def test_the_net_is_whole_again_after_an_error() -> None:
    model = build_model("plain", 14, config=SMALL)
    with pytest.raises(KeyError), without_blocks(model, [1]):
        raise KeyError
    assert len(layers(model)) == 13


# ---------------------------------------------------------------- what stands where


@pytest.mark.parametrize("kind", BLOCKS)
def test_layers_and_blocks_are_numbered_in_the_order_of_the_net(kind: str) -> None:
    model = build_model("residual", 14, config=ModelConfig(block=kind, width=0.25)).eval()
    seen: list[torch.nn.Module] = []
    for place in layers(model):
        place.convolution.register_forward_hook(lambda module, inputs, output: seen.append(module))
    model(torch.randn(1, 3, 8, 8))
    assert seen == [place.convolution for place in layers(model)]
    assert [place.number for place in layers(model)] == list(range(1, 14))
    assert [place.block for place in layers(model)] == [0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6]
    assert [place.stage for place in layers(model)] == [1] * 5 + [2] * 4 + [3] * 4
    assert [place.stage for place in blocks(model)] == [1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize("kind", BLOCKS)
@pytest.mark.parametrize("family", ["plain", "residual"])
@pytest.mark.parametrize("norm", ["batch", "none"])
def test_passes_give_what_goes_through_the_net(kind: str, family: str, norm: str) -> None:
    """And nothing writes into what was given: the inputs are compared after the whole pass."""
    model = build_model(family, 8, config=ModelConfig(block=kind, norm=norm, width=0.25)).eval()
    images = torch.randn(3, 3, 8, 8)
    with torch.no_grad():
        gone = list(passes(model, images))
        assert torch.equal(gone[0][1], model.entering(images))
        for place, x, out in gone:
            assert torch.equal(place.module(x), out)
        for (_, _, out), (_, x, _) in itertools.pairwise(gone):
            assert torch.equal(out, x)


def test_recomputed_statistics_are_averages_over_the_batches() -> None:
    model = build_model("plain", 2, config=ModelConfig(width=0.25))
    batches = [torch.randn(5, 3, 8, 8), 2 + torch.randn(5, 3, 8, 8)]
    model.eval().stem_norm.running_mean.fill_(9.0)
    recompute_statistics(model, batches)
    maps = [model.stem(images).transpose(0, 1).flatten(1) for images in batches]
    mean, variance = (sum(part) / 2 for part in ([m.mean(1) for m in maps], [m.var(1) for m in maps]))
    assert torch.allclose(model.stem_norm.running_mean, mean, atol=1e-6)
    assert torch.allclose(model.stem_norm.running_var, variance, atol=1e-5)
    assert (model.training, model.stem_norm.momentum) == (False, 0.1)
