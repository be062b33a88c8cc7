"""Loss and accuracy of a network in evaluation mode, on images as they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

EVALUATION_BATCH = 500


@dataclass(frozen=True)
class Score:
    """Mean cross-entropy in nats and top-1 fraction."""

    loss: float
    accuracy: float


class Interrupted(Exception):  # noqa: N818 - not an error
    """The caller's `stop` came true between two batches."""


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    standardise: Callable[[Tensor], Tensor],
    autocast: torch.autocast,
    stop: Callable[[], bool] = lambda: False,
) -> Score:
    """Score `model` without touching its mode, weights or statistics.

    Args:
        images: (N, H, W, 3) uint8; labels: (N,) int64; both on the model's device.

    Raises:
        Interrupted: `stop` was true before the end.
    """
    mode = model.training
    model.eval()
    loss = torch.zeros((), dtype=torch.float64, device="cpu")
    correct = 0
    try:
        for pixels, wanted in zip(
            torch.split(images, EVALUATION_BATCH), torch.split(labels, EVALUATION_BATCH), strict=True
        ):
            if stop():
                raise Interrupted
            with autocast:
                logits = model(standardise(pixels))
            each = functional.cross_entropy(logits.float(), wanted, reduction="none")
            loss += each.cpu().double().sum()  # MPS has no float64
            correct += int((logits.argmax(dim=1) == wanted).sum())
    finally:
        model.train(mode)
    return Score(loss.item() / len(labels), correct / len(labels))
