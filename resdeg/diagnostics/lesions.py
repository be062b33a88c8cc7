"""What a network loses when blocks are replaced by the identity."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import torch

from resdeg.diagnostics.sample import Number, Sample
from resdeg.models import CifarNet
from resdeg.models.anatomy import blocks
from resdeg.models.kept import buffers_kept, in_mode
from resdeg.models.norm import recompute_statistics
from resdeg.models.surgery import without_blocks
from resdeg.training.evaluate import Score, evaluate

# From the last block that keeps its shape to one of them, or that one alone: what is removed.
_EXTENTS = ("", "_cumulative")


def lesion(model: CifarNet, sample: Sample, numbers: Collection[int], recomputed: bool) -> Score:
    """Loss and accuracy on held-out images while the blocks of these numbers are the identity.

    Args:
        numbers: of blocks that keep their shape; none leaves the net intact.
        recomputed: whether the running statistics are those of the net without them, on as many
            training images, instead of those that the whole net left.
    """
    with in_mode(model, training=False), buffers_kept(model), without_blocks(model, numbers):
        if recomputed:
            recompute_statistics(model, sample.train_batches(len(sample)))
        fp32 = torch.autocast("cpu", torch.bfloat16, enabled=False)
        return evaluate(model, sample.images, sample.labels, sample.standardise, fp32)


def measure(model: CifarNet, sample: Sample) -> list[Number]:
    """Accuracy and loss of the intact net and of every lesion, with and without statistics recomputed.

    Names: `accuracy` and `loss` with one block removed; `..._cumulative` with this block and every
    later one that keeps its shape removed; `intact_...` with none; `..._recomputed` for statistics that
    were measured again. Blocks that change the shape stay in and have no number.
    """
    return list(_lesions(model, sample))


def _lesions(model: CifarNet, sample: Sample) -> Iterator[Number]:
    places = [place for place in blocks(model) if place.keeps_shape]
    stages = {place.number: place.stage for place in places}
    for recomputed in (False, True):
        suffix = "_recomputed" if recomputed else ""
        for name, value in vars(lesion(model, sample, [], recomputed)).items():
            yield Number(f"intact_{name}{suffix}", value, len(sample))
        for extent in _EXTENTS:
            for number in stages:
                removed = [other for other in stages if other >= number] if extent else [number]
                for name, value in vars(lesion(model, sample, removed, recomputed)).items():
                    full = f"{name}{extent}{suffix}"
                    yield Number(full, value, len(sample), block=number, stage=stages[number])
