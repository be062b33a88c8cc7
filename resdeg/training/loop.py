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


Take = Callable[[int, int], None]


def update(state: TrainState, batch: Batch, cast: torch.autocast) -> tuple[Tensor, Tensor]:
    """Forward, backward and the optimiser's step; the loss and the correct count, still on the device."""
    images, labels = batch
    with cast:
        logits = state.model(images)
    if logits.dtype == torch.bfloat16:
        logits = logits.float()  # the loss is never taken in half precision
    loss = functional.cross_entropy(logits, labels)
    state.optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    state.optimizer.step()
    with torch.no_grad():
        correct = (logits.argmax(dim=1) == labels).sum()
    return loss.detach(), correct.to(state.correct.dtype)


def eager(
    state: TrainState, batch_at: Callable[[int], Batch], config: TrainingConfig, total: int, first: int = 0
) -> Take:
    """Takes a step as it is asked; loss and correct count go to a slot of the running sums without a wait.

    Args:
        first, total: the steps between which the schedule runs.
    """
    cast = autocast(config, state.losses.device)

    def take(step: int, slot: int) -> None:
        rate = learning_rate(config, step - first, total - first)
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        state.losses[slot], state.correct[slot] = update(state, batch_at(step), cast)

    return take


def train(
    state: TrainState,
    take: Take,
    evaluate: Callable[[], dict[str, Score]],
    config: TrainingConfig,
    closing: Sequence[int],
    recorded: int = 0,
    stop: Callable[[], bool] = lambda: False,
    on_step: Callable[[int], None] = lambda step: None,
    first: int = 0,
) -> Iterator[EvalRecord | Divergence]:
    """Train from `state.step` to `closing[-1]`, yielding after each step of `closing`.

    Ends early, between two steps, when `stop` comes true; `state` can then be saved and continued
    with the same bits. Ends after a `Divergence`.

    Args:
        take: takes the step it is told, whatever came before, so that a continued run does what an
            unbroken one does; see `eager`.
        evaluate: scores by what their fields in EvalRecord begin with ('test', 'clean_train', ...); may raise
            Interrupted.
        closing: rising; the steps that close an epoch, and the last one.
        recorded: the last step whose record was yielded before.
        first: the step that the schedule begins with.
    """
    total = closing[-1]
    state.model.train()
    for epoch, (start, end) in enumerate(zip([0, *closing], closing, strict=False), start=1):
        if end <= recorded:
            continue
        while state.step < end:
            if stop():
                return
            take(state.step, state.step - start)
            state.step += 1
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
            lr=learning_rate(config, end - 1 - first, total - first),
            train_loss=losses.mean().item(),
            train_accuracy=correct / ((end - start) * config.batch_size),
            **{f"{name}_loss": score.loss for name, score in scores.items()},
            **{f"{name}_accuracy": score.accuracy for name, score in scores.items()},
        )
        if any(not math.isfinite(score.loss) for score in scores.values()):
            yield Divergence(epoch, end, "evaluation loss is not finite")
            return
