"""Linear probes: the accuracy of a linear classifier after the stem and after each block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor
from torch.nn import functional

from resdeg.diagnostics.sample import Number, Sample
from resdeg.models import CifarNet
from resdeg.models.contexts import in_mode
from resdeg.models.structure import blocks, passes

RIDGE = 1e-3  # for features of variance 1; fixed, so that no choice rests on the images that score the probe


@torch.no_grad()
def pooled_features(model: CifarNet, batches: Iterable[Tensor]) -> list[Tensor]:
    """Pools the outputs of the stem and of each block globally, in evaluation mode.

    Returns:
        A (N, C) float64 tensor for the stem, as it enters the first block, and for each block.
    """

    def outputs(images: Tensor) -> Iterator[Tensor]:
        yield model.entering(images).mean(dim=(2, 3))
        for _, _, out in passes(model, images):
            yield out.mean(dim=(2, 3))

    with in_mode(model, training=False):
        parts = [[pooled.double() for pooled in outputs(images)] for images in batches]
    return [torch.cat(part) for part in zip(*parts, strict=True)]


class RidgeProbe:
    """A ridge regression onto one-hot targets, in closed form.

    Features are centred and scaled by their deviations over the images of the fit (a constant feature becomes
    zero and drops out), the targets are centred, and RIDGE is added to the mean squares.
    """

    def __init__(self, features: Tensor, labels: Tensor, classes: int) -> None:
        """Fits the probe to features (N, C) float64 and labels (N,) int64."""
        self.mean, deviation = features.mean(dim=0), features.std(dim=0, correction=0)
        self.scale = torch.where(deviation > 0, deviation, 1.0)
        targets = functional.one_hot(labels, classes).double()
        self.bias = targets.mean(dim=0)
        z = (features - self.mean) / self.scale
        squares = z.T @ z / len(z) + RIDGE * torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
        self.weight = torch.linalg.solve(squares, z.T @ (targets - self.bias) / len(z))  # (C, classes)

    def accuracy(self, features: Tensor, labels: Tensor) -> float:
        """Computes the fraction of `labels` that have the highest score."""
        scores = (features - self.mean) / self.scale @ self.weight + self.bias
        return float((scores.argmax(dim=1) == labels).double().mean())


def measure(model: CifarNet, sample: Sample) -> list[Number]:
    """Measures `accuracy` on held-out images, fitted on training images, for stem (block 0) and blocks."""
    fitted = pooled_features(model, sample.train_batches())
    held = pooled_features(model, sample.batches())
    stages = [1, *(block.stage for block in blocks(model))]
    classes = model.head.out_features
    note = f"fitted on {len(sample.train_labels)} training images"
    return [
        Number(
            "accuracy",
            RidgeProbe(train, sample.train_labels, classes).accuracy(test, sample.labels),
            len(sample),
            block=number,
            stage=stage,
            note=note,
        )
        for number, (stage, train, test) in enumerate(zip(stages, fitted, held, strict=True))
    ]
