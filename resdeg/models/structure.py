"""The structure of a network: its blocks and layers in order, and counts of layers, parameters and work."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from resdeg.models.block import Block
from resdeg.models.network import CifarNet


@dataclass(frozen=True)
class NumberedBlock:
    """A block with its number, from 1 in the order of the net.

    stage: from 1; position: in the stage, from 0.
    keeps_shape: whether input and output have the same shape; the first block of a later stage changes it.
    """

    number: int
    stage: int
    position: int
    module: Block

    @property
    def keeps_shape(self) -> bool:
        first = self.module.conv1
        return first.stride == (1, 1) and first.in_channels == self.module.conv2.out_channels


@dataclass(frozen=True)
class NumberedLayer:
    """A 3x3 layer with its number, from 1 for the stem to depth - 1.

    stage: from 1; the stem's map is that of the first stage, so the stem counts there. block: 0 for the stem.
    response: the module whose output is the layer's response: after the norm, before nonlinearity or
        addition; the convolution itself if no norm comes first.
    """

    number: int
    stage: int
    block: int
    convolution: nn.Conv2d
    response: nn.Module


def blocks(model: CifarNet) -> list[NumberedBlock]:
    """Lists every block of `model` in the order of the forward pass."""
    numbered: list[NumberedBlock] = []
    for stage, members in enumerate(model.stages, start=1):
        for position, module in enumerate(cast("nn.Sequential", members)):
            numbered.append(NumberedBlock(len(numbered) + 1, stage, position, cast("Block", module)))
    return numbered


def layers(model: CifarNet) -> list[NumberedLayer]:
    """Lists every 3x3 layer of `model` in the order of the forward pass; projections are 1x1 and left out."""
    stem = model.stem_norm if model.kind.stem else model.stem
    numbered = [NumberedLayer(1, stage=1, block=0, convolution=model.stem, response=stem)]
    for block in blocks(model):
        convolutions = (block.module.conv1, block.module.conv2)
        for convolution, response in zip(convolutions, block.module.responses(), strict=True):
            numbered.append(
                NumberedLayer(
                    len(numbered) + 1,
                    stage=block.stage,
                    block=block.number,
                    convolution=convolution,
                    response=response,
                )
            )
    return numbered


def passes(model: CifarNet, images: Tensor) -> Iterator[tuple[NumberedBlock, Tensor, Tensor]]:
    """Sends `images` through the net and yields each block with its input and output: (N, C, H', W') each.

    No block writes into its input, so both can be stored.
    """
    x = model.entering(images)
    for block in blocks(model):
        output: Tensor = block.module(x)
        yield block, x, output
        x = output


@dataclass(frozen=True)
class Census:
    """The counts of a network.

    depth: weighted layers: the stem, every 3x3 convolution and the classifier, without projections.
    multiply_adds: those of one image's forward pass through convolutions and classifier.
    outputs: the numbers that leave the convolutions for one image.
    """

    depth: int
    parameters: int
    multiply_adds: int
    outputs: int


def census(model: nn.Module, side: int) -> Census:
    """Counts while one image of `side` x `side` pixels runs through `model` (on any device, even meta)."""
    layers: list[tuple[nn.Module, int]] = []
    maps: list[int] = []

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        weight = module.weight
        assert isinstance(weight, Tensor)
        positions = output[0, 0].numel() if output.dim() == 4 else 1
        layers.append((module, weight.numel() * positions))
        if output.dim() == 4:
            maps.append(output.numel())

    weighted = [m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    hooks = [module.register_forward_hook(count) for module in weighted]
    mode = model.training
    try:
        with torch.no_grad():
            device = next(model.parameters()).device
            model.eval()(torch.zeros(1, 3, side, side, device=device))
    finally:
        model.train(mode)
        for hook in hooks:
            hook.remove()
    projections = sum(isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1) for m, _ in layers)
    return Census(
        depth=len(layers) - projections,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        multiply_adds=sum(work for _, work in layers),
        outputs=sum(maps),
    )
