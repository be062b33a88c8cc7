"""The loop: one bare sequence of steps that yields a record at the end of each epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from resdeg.records import EvalRecord
from resdeg.training.device import autocast
from resdeg.training.evaluate import Interrupted, Score, Stop, name_scores, never_stop
from resdeg.training.schedule import Schedule
from resdeg.training.state import TrainState

Batch = tuple[Tensor, Tensor]  # (B, 3, H, W) float32 channels_last; (B,) int64
TakeStep = Callable[[int, int], None]  # It is called with a step and its slot in the running sums.


@dataclass(frozen=True)
class Divergence:
    """The loss left the finite numbers: an outcome, not an error."""

    epoch: int
    step: int
    reason: str


def update(state: TrainState, batch: Batch, cast: torch.autocast) -> tuple[Tensor, Tensor]:
    """Goes forward, backward and one step of the optimiser.

    Returns:
        The mean loss, () in nats, and the number of correct answers, (), still on the device.
    """
    images, labels = batch
    with cast:
        logits = state.model(images)
    if logits.dtype == torch.bfloat16:
        logits = logits.float()  # The loss is never taken in half precision.
    loss = functional.cross_entropy(logits, labels)
    state.optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    state.optimizer.step()
    with torch.no_grad():
        correct = (logits.argmax(dim=1) == labels).sum()
    return loss.detach(), correct.to(state.correct.dtype)


def make_eager_step(state: TrainState, schedule: Schedule, *, batch_at: Callable[[int], Batch]) -> TakeStep:
    """Makes the step that is computed one operation after another, and that never waits for the device."""
    cast = autocast(schedule.config, state.losses.device)

    def take_step(step: int, slot: int) -> None:
        # The static step reads its rate from a tensor of this precision, and CUDA's fused SGD multiplies in
        # float64: without the same rounding here the two differ in last bits. On a CPU it changes no bit.
        rate = torch.tensor(schedule.rate_at(step), dtype=state.losses.dtype).item()
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        state.losses[slot], state.correct[slot] = update(state, batch_at(step), cast)

    return take_step


def train(
    state: TrainState,
    schedule: Schedule,
    *,
    take_step: TakeStep,
    evaluate: Callable[[], dict[str, Score]],
    recorded: int = 0,
    stop: Stop = never_stop,
    on_step: Callable[[TrainState], None] = lambda state: None,
) -> Iterator[EvalRecord | Divergence]:
    """Trains from `state.step` to the schedule's last step, yielding after each step that closes an epoch.

    Args:
        take_step: takes the step that it is given, whatever came before, so that a continued run does what
            an unbroken one does; see `make_eager_step`.
        evaluate: returns scores by what their fields in EvalRecord begin with ('test', 'clean_train', ...);
            it may raise Interrupted.
        recorded: the last step whose record was yielded before.
        on_step: is called with `state` after every step.

    Yields:
        A record after each epoch; a `Divergence` at the end, where the loss is not finite any more.

    Raises:
        Interrupted: `stop` came true between two steps, or in `evaluate`; `state` can be saved and continued
            with the same bits.
    """
    state.model.train()
    for epoch, start, end in schedule.epochs(after=recorded):
        while state.step < end:
            if stop():
                raise Interrupted
            take_step(state.step, state.step - start)
            state.step += 1
            on_step(state)
        losses = state.losses[: end - start].cpu().double()
        bad = (~losses.isfinite()).nonzero()
        if len(bad):
            step = start + int(bad[0]) + 1
            yield Divergence(epoch, step, f"training loss is {losses[bad[0]].item()}")
            return
        scores = evaluate()
        correct = state.correct[: end - start].cpu().double().sum().item()
        record = EvalRecord(
            epoch=epoch,
            step=end,
            lr=schedule.rate_at(end - 1),
            train_loss=losses.mean().item(),
            train_accuracy=correct / ((end - start) * schedule.config.batch_size),
            **name_scores(scores),
        )
        yield record
        divergence = find_divergence(record)
        if divergence is not None:
            yield divergence
            return


def find_divergence(record: EvalRecord) -> Divergence | None:
    """Returns how a run ended whose last record is `record`; None where its losses are finite.

    A loss that is not finite is None in a record that was stored. A loss that was not taken has no accuracy.
    """
    for name, accuracy in record:
        if name.endswith("_accuracy") and accuracy is not None:
            loss = getattr(record, name.replace("accuracy", "loss"))
            if loss is None or not math.isfinite(loss):
                return Divergence(record.epoch, record.step, "evaluation loss is not finite")
    return None
