"""What a network is made of: its blocks and layers in order, and counts of layers, parameters and work."""

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
    """A block: its number from 1 in the order of the net, and where it stands.

    stage: from 1; position: in the stage, from 0.
    keeps_shape: whether input and output have one shape; the first block of a later stage does not.
    """

    number: int
    stage: int
    position: int
    block: Block

    @property
    def keeps_shape(self) -> bool:
        first = self.block.conv1
        return first.stride == (1, 1) and first.in_channels == self.block.conv2.out_channels


@dataclass(frozen=True)
class NumberedLayer:
    """A 3x3 layer: its number from 1, the stem, to depth - 1.

    response: the module whose output is the layer's response: after the norm, before nonlinearity or
        addition; the convolution itself where no norm comes first.
    stage: from 1; the stem's map is the first stage's, so it counts there. block: 0 of the stem.
    """

    number: int
    stage: int
    block: int
    convolution: nn.Conv2d
    response: nn.Module


def blocks(model: CifarNet) -> list[NumberedBlock]:
    """Every block of `model`, in the order of the forward pass."""
    found: list[NumberedBlock] = []
    for stage, members in enumerate(model.stages, start=1):
        for position, block in enumerate(cast("nn.Sequential", members)):
            found.append(NumberedBlock(len(found) + 1, stage, position, cast("Block", block)))
    return found


def layers(model: CifarNet) -> list[NumberedLayer]:
    """Every 3x3 layer of `model`, in the order of the forward pass; projections are none."""
    stem = model.stem_norm if model.kind.stem else model.stem
    found = [NumberedLayer(1, 1, 0, model.stem, stem)]
    for place in blocks(model):
        convolutions = (place.block.conv1, place.block.conv2)
        for convolution, response in zip(convolutions, place.block.responses(), strict=True):
            found.append(NumberedLayer(len(found) + 1, place.stage, place.number, convolution, response))
    return found


def passes(model: CifarNet, images: Tensor) -> Iterator[tuple[NumberedBlock, Tensor, Tensor]]:
    """Each block with its input and output while `images` go through the net: (N, C, H', W') each.

    No block writes into its input, so both can be kept.
    """
    x = model.entering(images)
    for place in blocks(model):
        output: Tensor = place.block(x)
        yield place, x, output
        x = output


@dataclass(frozen=True)
class Census:
    """Counts of one network.

    depth: weighted layers, the stem, every 3x3 convolution and the classifier; projections left out.
    multiply_adds: of one image's forward pass through convolutions and classifier.
    outputs: numbers that the convolutions give for one image.
    """

    depth: int
    parameters: int
    multiply_adds: int
    outputs: int


def census(model: nn.Module, side: int) -> Census:
    """Count by running one image of `side` x `side` pixels through `model` (on any device, meta too)."""
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
