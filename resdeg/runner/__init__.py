"""One run from its settings to its records: the only room that knows data, model, training and store."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from resdeg import data
from resdeg.config import RunConfig
from resdeg.data.plan import snapshot_steps
from resdeg.errors import LostError, ResdegError, StorageError
from resdeg.models import CifarNet, build_model
from resdeg.models.structure import Census, census
from resdeg.models.surgery import check_insertable
from resdeg.records import EvalRecord, Progress, RunSummary, Status
from resdeg.runner.clock import Clock
from resdeg.runner.construction import construct
from resdeg.runner.live import Inputs, Stop, Training
from resdeg.runner.parts import parts
from resdeg.runner.provenance import segment
from resdeg.store import RunSession, RunStore, keep_measured, open_run
from resdeg.training.device import check_precision
from resdeg.training.evaluate import Interrupted, Score
from resdeg.training.loop import Divergence, train
from resdeg.training.schedule import learning_rate
from resdeg.training.state import load_bytes, load_weights, to_bytes, weights_to_bytes

__all__ = ["Inputs", "Training", "check", "execute", "initial_model", "load_model"]

SAVE_EVERY = 300.0  # seconds; an epoch of a deep net on a CPU is longer than anyone wants to lose

_HELD_OUT = ("test_loss", "test_accuracy", "validation_loss", "validation_accuracy")

Report = Callable[[Progress], None]


def check(config: RunConfig, device: torch.device) -> Census:
    """Build the net of `config` and count it, so that a typo fails now and not in hour five.

    Raises:
        UsageError: a name in no table, a precision that `device` lacks, or weights that were adopted.
    """
    config.check_trainable()
    return count(config, device)


def count(config: RunConfig, device: torch.device) -> Census:
    """The same of any run, adopted ones among them.

    Raises:
        UsageError: see `check`.
    """
    check_precision(config.training.precision, device)
    learning_rate(config.training, 0, 1)
    shape = data.shape(config.data)
    parts(config, shape.train)
    if config.constructed is not None:
        check_insertable(config.model)
    # A real net on the CPU: on the meta device torch would import sympy first, for a second in each run.
    return census(
        build_model(config.family, config.depth, config.seed, config.model, classes=shape.classes), shape.side
    )


def execute(
    config: RunConfig,
    store: RunStore,
    place: Path | None,
    device: torch.device,
    stop: Stop = lambda: False,
    report: Report = lambda progress: None,
    graph: bool = False,
    snapshots: int = 0,
) -> RunSummary:
    """Train `config` from where `store` left it to its end, or until `stop` comes true.

    Args:
        place: where the data set is, see `resdeg.data.load`.
        graph: replay steps as one CUDA graph; `device` must be one.
        snapshots: keep the weights after so many epochs on the way, see `snapshot_steps`.

    Returns:
        The summary that was stored: finished, diverged, stopped, or failed with its traceback in
        error.txt.

    Raises:
        BusyError, StorageError: the run could not be opened; nothing was stored.
        ResdegError: it failed as it may for any user, and is stored as failed; out of memory as LostError.
    """
    with open_run(store, config) as session:
        end = Ending(config, check(config, device))
        try:
            summary = _run(config, session, place, device, stop, report, end, graph, snapshots)
        except ResdegError as error:
            session.fail(traceback.format_exc())
            session.end(end("failed", session, reason=error.what))
            raise
        except Exception as error:
            session.fail(traceback.format_exc())
            if _out_of_memory(error):
                what = f"{config.run_id}: out of memory on {device}"
                session.end(end("failed", session, reason=what))
                raise LostError(what, "try fewer --jobs, or a smaller training.batch_size") from error
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            summary = end("failed", session, reason=reason)
        session.end(summary)
        return summary


def _out_of_memory(error: Exception) -> bool:
    """torch's allocator for the CPU raises no kind of its own."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)


def load_model(folder: Path | str) -> CifarNet:
    """The trained network of a run, in evaluation mode on the CPU, from its newest whole checkpoint.

    Args:
        folder: results/<sweep>/runs/<run_id>.

    Raises:
        StorageError: there is no checkpoint (published sweeps keep their records alone), or none
            whose hashes hold.
    """
    store = RunStore(Path(folder))
    found = store.checkpoint()
    if found is None:
        raise StorageError(
            f"{folder}: no usable checkpoint",
            "train the run again: published sweeps keep their records alone",
        )
    return model_at(store.config(), found[0].step, found[1])


def model_at(config: RunConfig, step: int, tensors: bytes) -> CifarNet:
    """The network of `config` after `step`, in evaluation mode on the CPU.

    Args:
        tensors: of a checkpoint or a snapshot of that step.

    Raises:
        StorageError: they are of another network.
    """
    of = next(part for part in parts(config, data.shape(config.data).train) if step <= part.closing[-1])
    model = initial_model(of.config)
    load_weights(model, tensors)
    return model


def initial_model(config: RunConfig) -> CifarNet:
    """A network of `config` before any step, in evaluation mode on the CPU.

    A constructed run begins with another: the initial one of `config.shallow`.
    """
    classes = data.shape(config.data).classes
    return build_model(config.family, config.depth, config.seed, config.model, classes=classes).eval()


@dataclass
class Ending:
    """Makes the summary, of however much of the run there was."""

    config: RunConfig
    counts: Census
    data_hash: str = ""
    steps: int = 0
    began: float = field(default_factory=time.monotonic)
    start_seconds: float = 0.0
    capture_seconds: float = 0.0
    clean_seconds: float = 0.0

    def __call__(self, status: Status, session: RunSession, **numbers: Any) -> RunSummary:
        timing = session.store.timing()
        return RunSummary(
            run_id=self.config.run_id,
            status=status,
            family=self.config.family,
            depth=self.config.depth,
            seed=self.config.seed,
            parameters=self.counts.parameters,
            multiply_adds=self.counts.multiply_adds,
            data_hash=self.data_hash,
            precision=self.config.training.precision,
            steps=self.steps,
            step=numbers.pop("step", session.step),
            start_seconds=self.start_seconds,
            capture_seconds=self.capture_seconds,
            training_seconds=sum(t.training_seconds for t in timing),
            evaluation_seconds=sum(t.evaluation_seconds for t in timing),
            clean_seconds=sum(t.clean_seconds for t in timing) + self.clean_seconds,
            seconds=sum(t.seconds for t in timing) + self.clean_seconds,
            **numbers,
        )


def _run(
    config: RunConfig,
    session: RunSession,
    place: Path | None,
    device: torch.device,
    stop: Stop,
    report: Report,
    end: Ending,
    graph: bool,
    snapshots: int,
) -> RunSummary:
    dataset = data.load(config.data, place)
    training = Training.of(config, dataset, device, session.step)
    inputs, closing = training.inputs, [training.part, *training.rest][-1].closing
    steps, kept_at = closing[-1], snapshot_steps(closing, snapshots)
    end.data_hash, end.steps = dataset.hash, steps
    session.begin(segment(config, dataset, device, session.step))
    if session.tensors is not None:
        load_bytes(training.state, session.tensors, session.step)

    last: EvalRecord | None = None
    clock = Clock()
    end.start_seconds = time.monotonic() - end.began

    def tell(record: EvalRecord | None = None) -> None:
        step = training.state.step
        report(Progress(run_id=config.run_id, step=step, steps=steps, record=record))
        while session.notices:
            notice = session.notices.pop(0)
            report(Progress(run_id=config.run_id, step=step, steps=steps, notice=notice))

    def on_step(step: int) -> None:
        tell()
        if clock.since_save() > SAVE_EVERY:
            session.commit(to_bytes(training.state), step, session.recorded)
            clock.saved()

    def scores() -> dict[str, Score]:
        clock.turn_to("evaluation")
        found: dict[str, Score] = {}
        for name, split in inputs.held.items():
            found |= training.scores(name, *split, stop)
        clock.turn_to("clean")
        return found | training.scores("clean_train", *inputs.fixed, stop)

    tell()
    try:
        while True:
            before = time.monotonic()
            take = training.captured() if graph else training.eager()
            end.capture_seconds += time.monotonic() - before if graph else 0.0
            for event in train(
                training.state,
                take,
                scores,
                training.config.training,
                training.part.closing,
                session.recorded,
                stop,
                on_step,
                training.part.first,
            ):
                if isinstance(event, Divergence):
                    why = f"diverged at epoch {event.epoch}, step {event.step}: {event.reason}"
                    return end("diverged", session, reason=why, step=event.step)
                last = event
                session.append(event, clock.record(event.step))
                if event.step in kept_at:
                    # Before the commit: what goes on from there does not pass here again.
                    session.snapshot(weights_to_bytes(training.state.model), event.step)
                session.commit(to_bytes(training.state), event.step, event.step)
                clock.saved()
                tell(event)
            if not training.ended or session.recorded < training.state.step:
                raise Interrupted
            if not training.rest:
                break
            training, how_equal = construct(training, stop)
            keep_measured(session.store, how_equal.kind, how_equal.state, [how_equal])
        before = time.monotonic()
        clean = training.scores("train", inputs.images, inputs.labels, stop) | training.recomputed(stop)
        end.clean_seconds = time.monotonic() - before
    except Interrupted:
        state = training.state
        if state.step != session.step:
            session.note(clock.record(state.step))
            session.commit(to_bytes(state), state.step, session.recorded)
        return end("stopped", session, reason="asked to stop", step=state.step)
    last = last or session.store.metrics()[-1]
    return end(
        "finished",
        session,
        step=training.state.step,
        running_train_loss=last.train_loss,
        running_train_accuracy=last.train_accuracy,
        **{name: value for name, value in last if name.endswith(_HELD_OUT)},
        **{f"{name}_loss": score.loss for name, score in clean.items()},
        **{f"{name}_accuracy": score.accuracy for name, score in clean.items()},
    )
