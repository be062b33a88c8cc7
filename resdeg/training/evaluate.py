"""Loss and accuracy of a network in evaluation mode, on images as they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

# Maps of 125 images stay in a CPU's cache: 10 % faster in fp32 than 500, the same in bf16.
EVALUATION_BATCH = {"cpu": 125, "cuda": 500, "mps": 500}


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
    batch = EVALUATION_BATCH[images.device.type]
    try:
        for pixels, wanted in zip(torch.split(images, batch), torch.split(labels, batch), strict=True):
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
