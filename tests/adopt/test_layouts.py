"""Weights under other names: the same function, and the same bits there and back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from resdeg.config import ModelConfig
from resdeg.errors import DataError, UsageError
from resdeg.models.foreign import NAMED, RECOGNISED, exported, recognise
from resdeg.models.weights_file import read_weights, write_weights
from tests.adopt.networks import SMALL, AkamasterNet, arbitrary, images

PROJECTED = ModelConfig(width=0.5, shortcut="projection")


def same_bits(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("ending", [".safetensors", ".pt", ".th"])
@pytest.mark.parametrize("layout", NAMED)
@pytest.mark.parametrize(
    ("family", "depth", "config"),
    [("plain", 14, SMALL), ("residual", 14, SMALL), ("residual", 8, PROJECTED), ("plain", 2, SMALL)],
)
def test_weights_written_and_read_again_are_the_same_bits(
    family: str, depth: int, config: ModelConfig, layout: str, ending: str, tmp_path: Path
) -> None:
    model, path = arbitrary(family, depth, config), tmp_path / f"w{ending}"
    if config.shortcut == "projection" and layout == "a-martyn":
        with pytest.raises(UsageError, match="no option B"):
            exported(model, family, config, layout)
        return
    write_weights(path, exported(model, family, config, layout))
    padding = "behind" if layout == "torchvision" else None
    network = recognise("w", read_weights(path), family, padding=padding)
    assert same_bits(network.model, model)
    assert (network.layout, network.family, network.depth) == (layout, family, depth)
    assert (network.config, network.classes) == (config, 10)


@pytest.mark.parametrize("option", ["A", "B"])
def test_akamaster_s_own_definition_gives_the_same_logits(option: str) -> None:
    torch.manual_seed(0)
    theirs = AkamasterNet(3, (8, 16, 32), option).train()
    with torch.no_grad():
        theirs(images())  # statistics that are of something
        theirs.eval()
        network = recognise("w", theirs.state_dict(), "residual")
        assert network.padding == ("around" if option == "A" else None)
        assert network.config.shortcut == ("identity" if option == "A" else "projection")
        torch.testing.assert_close(network.model(images()), theirs(images()), atol=1e-4, rtol=0)
        # The order of the channels is what makes them equal.
        if option == "A":
            behind = recognise("w", theirs.state_dict(), "residual", padding="behind")
            assert (behind.model(images()) - theirs(images())).abs().max() > 1e-2


def test_weights_for_akamaster_give_the_same_logits_there() -> None:
    model, theirs = arbitrary("residual", 20), AkamasterNet(3, (8, 16, 32)).eval()
    theirs.load_state_dict(exported(model, "residual", SMALL, "akamaster"))
    with torch.no_grad():
        expected = model(images())
        torch.testing.assert_close(
            theirs(images()), expected, atol=1e-4 * float(expected.abs().max()), rtol=0
        )


def test_wrapping_prefixes_and_counters_are_taken_off(tmp_path: Path) -> None:
    model = arbitrary("residual", 8)
    named = exported(model, "residual", SMALL, "akamaster")
    named |= {"bn1.num_batches_tracked": torch.tensor(7)}
    wrapped = {"best": 91.8, "state_dict": {f"module.{name}": value for name, value in named.items()}}
    torch.save(wrapped, tmp_path / "w.th")
    assert same_bits(recognise("w", read_weights(tmp_path / "w.th"), "residual").model, model)
    names = [f"model.{name}" for name in model.state_dict()]
    checkpoint = dict(zip(names, model.state_dict().values(), strict=True)) | {
        "running.losses": torch.zeros(3)
    }
    torch.save(checkpoint, tmp_path / "own.pt")
    network = recognise("w", read_weights(tmp_path / "own.pt"), "residual")
    assert (network.layout, same_bits(network.model, model)) == ("resdeg", True)


def test_option_b_is_read_by_either_name() -> None:
    model = arbitrary("residual", 8, PROJECTED)
    mixed = {
        name.replace(".shortcut.", ".downsample."): value
        for name, value in exported(model, "residual", PROJECTED, "akamaster").items()
    }
    assert same_bits(recognise("w", mixed).model, model)  # the family too: a plain network has no shortcut


def test_what_the_names_do_not_tell_is_asked_for() -> None:
    named = exported(arbitrary("residual", 8), "residual", SMALL, "torchvision")
    with pytest.raises(UsageError, match="--family"):
        recognise("w", named)
    with pytest.raises(UsageError, match="--padding"):
        recognise("w", named, "residual")
    assert recognise("w", named, "plain").padding is None


def test_channels_that_no_quarter_pads_are_refused() -> None:
    config = ModelConfig(width=1 / 16)
    with pytest.raises(DataError, match="2 channels after 1"):
        exported(arbitrary("residual", 8, config), "residual", config, "akamaster")


@pytest.mark.parametrize(
    "settings", [{"block": "preact"}, {"norm": "instance"}, {"shortcut_scale": 0.5}, {"activation": "gelu"}]
)
def test_a_network_of_another_kind_is_not_written(settings: dict[str, object]) -> None:
    config = ModelConfig(width=0.5, **settings)
    with pytest.raises(UsageError, match=f"no model.{next(iter(settings))}"):
        exported(arbitrary("residual", 8, config), "residual", config, "akamaster")


@pytest.mark.parametrize("settings", [{"init": "orthogonal"}, {"last_scale": 0.0}])
def test_initial_values_are_no_part_of_a_layout(settings: dict[str, object]) -> None:
    config = ModelConfig(width=0.5, **settings)
    named = exported(arbitrary("residual", 8, config), "residual", config, "akamaster")
    assert same_bits(recognise("w", named, "residual").model, arbitrary("residual", 8, config))


def test_every_layout_names_each_part_once() -> None:
    for config in (SMALL, PROJECTED):
        own = arbitrary("residual", 14, config).state_dict()
        for layout in RECOGNISED.values():
            if layout.shortcut is not None or config is SMALL:
                assert len({layout.name(name) for name in own}) == len(own)
