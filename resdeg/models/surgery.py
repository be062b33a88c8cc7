"""Identity blocks that are inserted into a network, and blocks that are removed from one."""

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
from resdeg.models.structure import NumberedBlock, blocks, passes


@contextlib.contextmanager
def without_blocks(model: CifarNet, numbers: Collection[int]) -> Iterator[None]:
    """Replaces the blocks of these numbers by the identity, H(x) = x, within `with`, in either family.

    Args:
        numbers: from 1, see `structure.blocks`.

    Raises:
        ValueError: a number belongs to no block, or to one that changes the shape.
    """
    removed = [block for block in blocks(model) if block.number in numbers and block.keeps_shape]
    if len(removed) != len(set(numbers)):
        removable = [block.number for block in blocks(model) if block.keeps_shape]
        raise ValueError(f"blocks {sorted(numbers)}: only {removable} keep their shape")
    try:
        for block in removed:
            _replace_block(model, block, nn.Identity())
        yield
    finally:
        for block in removed:
            _replace_block(model, block, block.module)


def _replace_block(model: CifarNet, block: NumberedBlock, module: nn.Module) -> None:
    members = model.stages[block.stage - 1]
    assert isinstance(members, nn.Sequential)
    members[block.position] = module


@torch.no_grad()
def insert_identities(
    model: CifarNet, config: ModelConfig, depth: int, batches: Iterable[Tensor]
) -> CifarNet:
    """Builds the constructed solution (He et al. 2015, Sec. 1): a deeper plain net that computes the same.

    Every stage gets its extra blocks behind its last one. Each of them is the identity in evaluation mode:
    it has Dirac weights, and norms whose scale and bias, sqrt(var + eps) and mean, undo their running
    statistics; what enters is not negative, so relu(x) = x. In training mode, where each batch has its own
    statistics, it is the identity only as far as these are near the running ones.

    Args:
        model: a plain network of basic blocks with relu, trained or not.
        config: the settings that `model` was built with.
        depth: of the deeper net, 6n+2; its state dict has the names and shapes of
            `build_model("plain", depth, config=config)`.
        batches: (N, 3, H, W), standardised: the images whose statistics the new norms get; there should be
            thousands.

    Raises:
        UsageError: `model` is not such a network, or deeper than `depth`.
        ValueError: there is no image.
    """
    check_insertable(config)
    if any(block.module.shortcut is not None for block in blocks(model)):
        raise UsageError(
            "identities can only be put into plain networks of basic blocks", "a residual block needs none"
        )
    deeper = build_model("plain", depth, config=config, classes=model.head.out_features)
    if len(blocks(deeper)) < len(blocks(model)) or not blocks(model):
        raise UsageError(f"depth {depth} holds no such network", "give a greater depth than the network's")
    own = deeper.state_dict()
    for name, value in model.state_dict().items():
        own[name].copy_(value)
    statistics = _stage_statistics(model, batches)
    for block in blocks(deeper):
        if block.position >= len(model.stages[block.stage - 1]):  # type: ignore[arg-type]
            _make_identity(block.module, *statistics[block.stage - 1])
    return deeper.train(model.training)


def check_insertable(config: ModelConfig) -> None:
    """Checks that `insert_identities` is possible in a network of these settings.

    Raises:
        UsageError: it is not possible.
    """
    # relu, and no activation, pass on unchanged what is not negative.
    passing = config.activation == "relu" and config.inner_activation in (None, "relu", "none")
    if config.block != "basic" or not passing:
        raise UsageError(
            "identities can only be put into plain networks of basic blocks with relu",
            "elsewhere what enters a block may be negative",
        )
    if config.norm not in ("batch", "none"):
        raise UsageError(
            f"model.norm '{config.norm}' has no setting that undoes it", "give a net with batch or none"
        )


def _stage_statistics(model: CifarNet, batches: Iterable[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Measures mean and variance, (C,) float64 each, of what leaves every stage in evaluation mode."""
    last = {block.stage: block.number for block in blocks(model)}
    sums: list[list[Tensor]] = [[] for _ in model.stages]
    with in_mode(model, training=False):
        for images in batches:
            for block, _, output in passes(model, images):
                if block.number == last[block.stage]:
                    if output.device.type == "mps":  # Apple's GPUs have no float64.
                        output = output.cpu()
                    pixels = output.double().transpose(0, 1).flatten(1)  # (C, NH'W')
                    count = torch.full_like(pixels[:, 0], pixels.shape[1])
                    sums[block.stage - 1].append(
                        torch.stack([count, pixels.sum(dim=1), pixels.square().sum(dim=1)])
                    )
    if not sums[0]:
        raise ValueError("no image to measure the statistics on")
    statistics = []
    for parts in sums:
        count, total, square = torch.stack(parts).sum(dim=0)  # (C,) each
        mean = total / count
        statistics.append((mean, (square / count - mean**2).clamp(min=0) * count / (count - 1)))
    return statistics


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
