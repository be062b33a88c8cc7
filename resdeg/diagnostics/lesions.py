"""Lesions: the loss and accuracy of a network some of whose blocks are replaced by the identity."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from resdeg.diagnostics.sample import BATCH, Number, Sample
from resdeg.models import CifarNet
from resdeg.models.contexts import in_mode, recompute_statistics, restored_buffers
from resdeg.models.structure import NumberedBlock, blocks
from resdeg.models.surgery import without_blocks
from resdeg.training.evaluate import Score, evaluate


@torch.no_grad()
def measure(model: CifarNet, sample: Sample) -> list[Number]:
    """Measures accuracy and loss of the intact net and of every lesion, with and without new statistics.

    Names: `accuracy` and `loss` with one block removed; `..._cumulative` with this block and every later
    block that keeps its shape removed; `intact_...` with none removed; `..._recomputed` with the running
    statistics of the net without those blocks, on as many training images. Blocks that change the shape
    stay in and have no number.
    """
    numbers = []
    for recomputed in (False, True):
        with in_mode(model, training=False), restored_buffers(model):
            for form, block, score in _scores(model, sample, recomputed=recomputed):
                for metric, value in vars(score).items():
                    name = form.format(metric) + ("_recomputed" if recomputed else "")
                    if block is None:
                        numbers.append(Number(name, value, len(sample)))
                    else:
                        numbers.append(Number.from_block(block, name, value, images=len(sample)))
    return numbers


def _scores(
    model: CifarNet, sample: Sample, *, recomputed: bool
) -> Iterator[tuple[str, NumberedBlock | None, Score]]:
    """Scores block after block, so that the layers before a lesion run once for all lesions behind them."""
    removable = [block.number for block in blocks(model) if block.keeps_shape]
    train = list(sample.train_batches(len(sample))) if recomputed else []
    front = _Front(torch.cat(list(sample.batches())), sample.labels, train)
    front = front.pass_through(_Part(model.entering, model.stem_norm))
    yield "intact_{}", None, front.score(_rest(model, 1))
    for block in blocks(model):
        if block.keeps_shape:
            later = [number for number in removable if number >= block.number]
            for form, removed in (("{}", [block.number]), ("{}_cumulative", later)):
                with without_blocks(model, removed):
                    yield form, block, front.score(_rest(model, block.number))
        front = front.pass_through(block.module)


class _Part(nn.Module):
    """A part of a network that computes `function`; `members` are its modules with a mode or statistics."""

    def __init__(self, function: Callable[[Tensor], Tensor], *members: nn.Module) -> None:
        super().__init__()
        self.function, self.members = function, nn.ModuleList(members)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def _rest(model: CifarNet, number: int) -> _Part:
    """Makes the part of the network from block `number` to the logits."""
    tail = nn.Sequential(*[block.module for block in blocks(model)[number - 1 :]])
    return _Part(lambda x: model.leaving(tail(x)), tail, model.closing_norm)


@dataclass(frozen=True)
class _Front:
    """Maps where they enter a part of a net.

    held: (N, C, H, W) in evaluation mode, with their labels. train: batches in training mode, which
    recompute statistics; empty if the statistics of the whole net are to stay.
    """

    held: Tensor
    labels: Tensor
    train: list[Tensor]

    def pass_through(self, part: nn.Module) -> Self:
        """Returns the maps behind `part`, whose statistics are recomputed for good."""
        if self.train:
            recompute_statistics(part, self.train)
        with in_mode(part, training=True), restored_buffers(part):
            train = [part(images) for images in self.train]
        with in_mode(part, training=False):
            held = torch.cat([part(images) for images in torch.split(self.held, BATCH)])
        return type(self)(held, self.labels, train)

    def score(self, rest: nn.Module) -> Score:
        """Scores `rest` and leaves its statistics as they were."""
        fp32 = torch.autocast("cpu", torch.bfloat16, enabled=False)
        with restored_buffers(rest):
            if self.train:
                recompute_statistics(rest, self.train)
            return evaluate(rest, self.held, self.labels, lambda held: held, fp32)
