"""What a network loses when blocks are replaced by the identity."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from resdeg.diagnostics.sample import BATCH, Number, Sample, of_block
from resdeg.models import CifarNet
from resdeg.models.contexts import in_mode, recompute_statistics, restored_buffers
from resdeg.models.structure import NumberedBlock, blocks
from resdeg.models.surgery import without_blocks
from resdeg.training.evaluate import Score, evaluate


@torch.no_grad()
def measure(model: CifarNet, sample: Sample) -> list[Number]:
    """Accuracy and loss of the intact net and of every lesion, with and without statistics recomputed.

    Names: `accuracy` and `loss` with one block removed; `..._cumulative` with this block and every
    later one that keeps its shape removed; `intact_...` with none; `..._recomputed` for the running
    statistics of the net without them, on as many training images. Blocks that change the shape stay in
    and have no number.
    """
    found = []
    for recomputed in (False, True):
        with in_mode(model, training=False), restored_buffers(model):
            for name, place, score in _scores(model, sample, recomputed):
                for part, value in vars(score).items():
                    full = name.format(part) + ("_recomputed" if recomputed else "")
                    found.append(
                        of_block(place, full, value, len(sample))
                        if place
                        else Number(full, value, len(sample))
                    )
    return found


def _scores(
    model: CifarNet, sample: Sample, recomputed: bool
) -> Iterator[tuple[str, NumberedBlock | None, Score]]:
    """Block after block, so that what stands before a lesion is computed once for all behind it."""
    able = [place.number for place in blocks(model) if place.keeps_shape]
    train = list(sample.train_batches(len(sample))) if recomputed else []
    front = _Front(torch.cat(list(sample.batches())), sample.labels, train)
    front = front.through(_Part(model.entering, model.stem_norm))
    yield "intact_{}", None, front.score(_rest(model, 1))
    for place in blocks(model):
        if place.keeps_shape:
            later = [number for number in able if number >= place.number]
            for name, removed in (("{}", [place.number]), ("{}_cumulative", later)):
                with without_blocks(model, removed):
                    yield name, place, front.score(_rest(model, place.number))
        front = front.through(place.block)


class _Part(nn.Module):
    """What `function` computes; `members`: the modules in it that have a mode or statistics."""

    def __init__(self, function: Callable[[Tensor], Tensor], *members: nn.Module) -> None:
        super().__init__()
        self.function, self.members = function, nn.ModuleList(members)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def _rest(model: CifarNet, number: int) -> _Part:
    """From block `number` to the logits."""
    tail = nn.Sequential(*[place.block for place in blocks(model)[number - 1 :]])
    return _Part(lambda x: model.leaving(tail(x)), tail, model.closing_norm)


@dataclass(frozen=True)
class _Front:
    """Images where they enter a part of a net.

    held: (N, C, H, W) in evaluation mode, with their labels. train: batches in training mode, by which
    statistics are recomputed; none where those that the whole net left are to stay.
    """

    held: Tensor
    labels: Tensor
    train: list[Tensor]

    def through(self, part: nn.Module) -> Self:
        """Behind `part`, whose statistics are recomputed for good."""
        if self.train:
            recompute_statistics(part, self.train)
        with in_mode(part, training=True), restored_buffers(part):
            train = [part(images) for images in self.train]
        with in_mode(part, training=False):
            held = torch.cat([part(images) for images in torch.split(self.held, BATCH)])
        return type(self)(held, self.labels, train)

    def score(self, rest: nn.Module) -> Score:
        """Of `rest`, left as it is found."""
        fp32 = torch.autocast("cpu", torch.bfloat16, enabled=False)
        with restored_buffers(rest):
            if self.train:
                recompute_statistics(rest, self.train)
            return evaluate(rest, (self.held, self.labels), standardise=lambda held: held, cast=fp32)
