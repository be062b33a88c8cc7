"""Identity blocks put into a network, and blocks taken out of one."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator

import torch
from torch import Tensor, nn

from resdeg.config import ModelConfig
from resdeg.errors import UsageError
from resdeg.models.block import Block
from resdeg.models.contexts import in_mode
from resdeg.models.network import CifarNet, build_model
from resdeg.models.structure import blocks, passes


@contextlib.contextmanager
def without_blocks(model: CifarNet, numbers: Collection[int]) -> Iterator[None]:
    """Within `with`, let the blocks of these numbers be the identity: H(x) = x, in either family.

    Args:
        numbers: from 1, see `structure.blocks`.

    Raises:
        ValueError: a number is of no block, or of one that changes the shape.
    """
    taken = [place for place in blocks(model) if place.number in numbers and place.keeps_shape]
    if len(taken) != len(set(numbers)):
        able = [place.number for place in blocks(model) if place.keeps_shape]
        raise ValueError(f"blocks {sorted(numbers)}: only {able} keep their shape")
    try:
        for place in taken:
            _put(model, place.stage, place.position, nn.Identity())
        yield
    finally:
        for place in taken:
            _put(model, place.stage, place.position, place.block)


def _put(model: CifarNet, stage: int, position: int, module: nn.Module) -> None:
    members = model.stages[stage - 1]
    assert isinstance(members, nn.Sequential)
    members[position] = module


@torch.no_grad()
def insert_identities(
    model: CifarNet, config: ModelConfig, depth: int, batches: Iterable[Tensor]
) -> CifarNet:
    """The constructed solution (He et al. 2015, Sec. 1): a deeper plain net that computes what `model` does.

    Every stage gets its extra blocks behind its last one. Each of them is the identity in evaluation
    mode: Dirac weights, and norms whose scale and bias undo their running statistics,
    sqrt(var + eps) and mean; what enters is not negative, so relu(x) = x. In training mode, where
    statistics are a batch's own, it is the identity only as far as these are near the running ones.

    Args:
        model: a plain network of basic blocks with relu, trained or not.
        config: the settings that `model` was built with.
        depth: of the deeper net, 6n+2; its state dict has the names and shapes of
            `build_model("plain", depth, config=config)`.
        batches: (N, 3, H, W), standardised: the images whose statistics the new norms carry; thousands
            are wanted.

    Raises:
        UsageError: `model` is not such a network, or deeper than `depth`.
        ValueError: there is no image.
    """
    check_insertable(config)
    if any(place.block.shortcut is not None for place in blocks(model)):
        raise UsageError(
            "identities can be put into plain networks of basic blocks alone", "a residual block needs none"
        )
    deeper = build_model("plain", depth, config=config, classes=model.head.out_features)
    if len(blocks(deeper)) < len(blocks(model)) or not blocks(model):
        raise UsageError(f"depth {depth} holds no such network", "give a greater depth than the network's")
    own = deeper.state_dict()
    for name, value in model.state_dict().items():
        own[name].copy_(value)
    statistics = _stage_statistics(model, batches)
    for place in blocks(deeper):
        if place.position >= len(model.stages[place.stage - 1]):  # type: ignore[arg-type]
            _make_identity(place.block, *statistics[place.stage - 1])
    return deeper.train(model.training)


def check_insertable(config: ModelConfig) -> None:
    """Whether `insert_identities` can be done in such a network.

    Raises:
        UsageError: it cannot.
    """
    # relu, and nothing at all, leave what is not negative as it is
    passing = config.activation == "relu" and config.inner_activation in (None, "relu", "none")
    if config.block != "basic" or not passing:
        raise UsageError(
            "identities can be put into plain networks of basic blocks with relu alone",
            "elsewhere what enters a block may be negative",
        )
    if config.norm not in ("batch", "none"):
        raise UsageError(
            f"model.norm '{config.norm}' has no setting that undoes it", "give a net with batch or none"
        )


def _stage_statistics(model: CifarNet, batches: Iterable[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Mean and variance, (C,) float64 each, of what leaves every stage in evaluation mode."""
    last = {place.stage: place.number for place in blocks(model)}
    sums: list[list[Tensor]] = [[] for _ in model.stages]
    with in_mode(model, training=False):
        for images in batches:
            for place, _, output in passes(model, images):
                if place.number == last[place.stage]:
                    pixels = output.double().transpose(0, 1).flatten(1)  # (C, NH'W')
                    count = torch.full_like(pixels[:, 0], pixels.shape[1])
                    sums[place.stage - 1].append(
                        torch.stack([count, pixels.sum(dim=1), pixels.square().sum(dim=1)])
                    )
    if not sums[0]:
        raise ValueError("no image to measure the statistics on")
    found = []
    for parts in sums:
        count, total, square = torch.stack(parts).sum(dim=0)  # (C,) each
        mean = total / count
        found.append((mean, (square / count - mean**2).clamp(min=0) * count / (count - 1)))
    return found


def _make_identity(block: Block, mean: Tensor, variance: Tensor) -> None:
    for convolution, norm in ((block.conv1, block.norm1), (block.conv2, block.norm2)):
        nn.init.dirac_(convolution.weight)
        if isinstance(norm, nn.BatchNorm2d):
            assert norm.running_mean is not None
            assert norm.running_var is not None
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(variance)
            norm.weight.copy_((norm.running_var.double() + norm.eps).sqrt())
            norm.bias.copy_(norm.running_mean)
