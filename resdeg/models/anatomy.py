"""The blocks and 3x3 layers of a network, in order, each with its place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn

from resdeg.models.block import Block
from resdeg.models.network import CifarNet


@dataclass(frozen=True)
class BlockPlace:
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
class LayerPlace:
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


def blocks(model: CifarNet) -> list[BlockPlace]:
    """Every block of `model`, in the order of the forward pass."""
    found: list[BlockPlace] = []
    for stage, members in enumerate(model.stages, start=1):
        for position, block in enumerate(cast("nn.Sequential", members)):
            found.append(BlockPlace(len(found) + 1, stage, position, cast("Block", block)))
    return found


def layers(model: CifarNet) -> list[LayerPlace]:
    """Every 3x3 layer of `model`, in the order of the forward pass; projections are none."""
    stem = model.stem_norm if model.kind.stem else model.stem
    found = [LayerPlace(1, 1, 0, model.stem, stem)]
    for place in blocks(model):
        convolutions = (place.block.conv1, place.block.conv2)
        for convolution, response in zip(convolutions, place.block.responses(), strict=True):
            found.append(LayerPlace(len(found) + 1, place.stage, place.number, convolution, response))
    return found


def passes(model: CifarNet, images: Tensor) -> Iterator[tuple[BlockPlace, Tensor, Tensor]]:
    """Each block with its input and output while `images` go through the net: (N, C, H', W') each.

    No block writes into its input, so both can be kept.
    """
    x = model.entering(images)
    for place in blocks(model):
        output: Tensor = place.block(x)
        yield place, x, output
        x = output
