"""The loop: one bare sequence of steps that yields a record at the end of each epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from resdeg.config import TrainingConfig
from resdeg.records import EvalRecord
from resdeg.training.device import autocast
from resdeg.training.evaluate import Interrupted, Score
from resdeg.training.schedule import learning_rate
from resdeg.training.state import TrainState

Batch = tuple[Tensor, Tensor]  # (B, 3, H, W) float32 channels_last; (B,) int64


@dataclass(frozen=True)
class Divergence:
    """Loss left the finite numbers: an outcome, not an error."""

    epoch: int
    step: int
    reason: str


def train_step(state: TrainState, batch: Batch, lr: float, cast: torch.autocast, slot: int) -> None:
    """One update; loss and correct count go to `slot` of the running sums without a wait."""
    images, labels = batch
    for group in state.optimizer.param_groups:
        group["lr"] = lr
    with cast:
        logits = state.model(images)
    if logits.dtype == torch.bfloat16:
        logits = logits.float()  # the loss is never taken in half precision
    loss = functional.cross_entropy(logits, labels)
    state.optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    state.optimizer.step()
    with torch.no_grad():
        state.losses[slot] = loss
        state.correct[slot] = (logits.argmax(dim=1) == labels).sum()
    state.step += 1


def train(
    state: TrainState,
    batch_at: Callable[[int], Batch],
    evaluate: Callable[[], dict[str, Score]],
    config: TrainingConfig,
    closing: Sequence[int],
    recorded: int = 0,
    stop: Callable[[], bool] = lambda: False,
    on_step: Callable[[int], None] = lambda step: None,
) -> Iterator[EvalRecord | Divergence]:
    """Train from `state.step` to `closing[-1]`, yielding after each step of `closing`.

    Ends early, between two steps, when `stop` comes true; `state` can then be saved and continued
    with the same bits. Ends after a `Divergence`.

    Args:
        batch_at: the batch of any step, so that a continued run sees what an unbroken one does.
        evaluate: scores by split ('test', perhaps 'validation'); may raise Interrupted.
        closing: rising; the steps that close an epoch, and the last one.
        recorded: the last step whose record was yielded before.
    """
    total = closing[-1]
    device = state.losses.device
    cast = autocast(config, device)
    state.model.train()
    for epoch, (start, end) in enumerate(zip([0, *closing], closing, strict=False), start=1):
        if end <= recorded:
            continue
        while state.step < end:
            if stop():
                return
            lr = learning_rate(config, state.step, total)
            train_step(state, batch_at(state.step), lr, cast, state.step - start)
            on_step(state.step)
        losses = state.losses[: end - start].cpu().double()
        bad = (~losses.isfinite()).nonzero()
        if len(bad):
            at = start + int(bad[0]) + 1
            yield Divergence(epoch, at, f"training loss is {losses[bad[0]].item()}")
            return
        try:
            scores = evaluate()
        except Interrupted:
            return
        correct = state.correct[: end - start].cpu().double().sum().item()
        yield EvalRecord(
            epoch=epoch,
            step=end,
            lr=learning_rate(config, end - 1, total),
            train_loss=losses.mean().item(),
            train_accuracy=correct / ((end - start) * config.batch_size),
            **{f"{split}_loss": score.loss for split, score in scores.items()},
            **{f"{split}_accuracy": score.accuracy for split, score in scores.items()},
        )
        if any(not math.isfinite(score.loss) for score in scores.values()):
            yield Divergence(epoch, end, "evaluation loss is not finite")
            return
