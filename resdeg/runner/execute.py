"""The course of one run: open it, make or resume a trainer, log each epoch of each phase, end."""

from __future__ import annotations

import contextlib
import functools

import torch

from resdeg import data
from resdeg.config import ExecutionConfig, RunConfig
from resdeg.errors import LostError, ResdegError
from resdeg.records import RunSummary
from resdeg.runner.check import check
from resdeg.runner.log import SAVE_EVERY, Report, RunLog
from resdeg.runner.provenance import describe_segment
from resdeg.runner.trainer import Trainer
from resdeg.store import OpenSession, RunStore, open_run
from resdeg.training.device import own_stream, resolve_device
from resdeg.training.evaluate import Interrupted, Score, Stop, never_stop
from resdeg.training.gate import GATE, CaptureGate
from resdeg.training.loop import Divergence, find_divergence, train
from resdeg.training.state import load_bytes


def execute(
    config: RunConfig,
    store: RunStore,
    execution: ExecutionConfig,
    *,
    stop: Stop = never_stop,
    report: Report = lambda progress: None,
    save_every: float = SAVE_EVERY,
    gate: CaptureGate = GATE,
    open_session: OpenSession = open_run,
) -> RunSummary:
    """Trains `config` from where `store` left it to its end, or until `stop` comes true.

    Args:
        execution: says where the data lie, on which device to compute, whether to replay steps as one CUDA
            graph, and how many snapshots of the weights to keep. A run of a group gets its own CUDA stream.
        save_every: seconds after which the state is committed within an epoch.
        open_session: opens the run for writing; it may write in another process.
        gate: lets this run and those of other threads work at once, unless one of them captures a graph.

    Returns:
        The summary that was stored: finished, diverged, stopped, or failed with its traceback in
        error.txt.

    Raises:
        BusyError, StorageError: the run could not be opened.
        UsageError: the device is not there, or `check` refuses the run; at most config.json was stored.
        ResdegError: the run failed for a reason that a user can mend, and is stored as failed; a run that is
            out of memory raises LostError.
    """
    device = resolve_device(execution.device)
    with (
        open_session(store, config) as session,
        gate.working(),
        own_stream(device) if execution.runs_per_process > 1 else contextlib.nullcontext(),
    ):
        log = RunLog(config, session, counts=check(config, device), report=report, save_every=save_every)
        try:
            stop = functools.partial(_let_captures_pass, gate, stop)
            summary = _run(config, log, execution=execution, device=device, stop=stop, gate=gate)
        except ResdegError as error:
            log.fail(error.what)
            raise
        except Exception as error:
            if _is_out_of_memory(error):
                what = f"{config.run_id}: out of memory on {device}"
                log.fail(what)
                raise LostError(what, "try fewer --jobs, or a smaller training.batch_size") from error
            summary = log.fail(f"{type(error).__name__}: {error}".splitlines()[0])
        else:
            session.end(summary)
        return summary


def _let_captures_pass(gate: CaptureGate, stop: Stop) -> bool:
    """Lets the captures of other threads pass, and says whether to stop."""
    gate.let_captures_pass()
    return stop()


def _run(
    config: RunConfig,
    log: RunLog,
    *,
    execution: ExecutionConfig,
    device: torch.device,
    stop: Stop,
    gate: CaptureGate,
) -> RunSummary:
    """Trains and scores the run; returns its summary unless it fails."""
    trainer = _make_trainer(config, log, execution=execution, device=device)
    records = log.session.metrics()
    divergence = find_divergence(records[-1]) if records else None
    if divergence is not None:  # The run was killed between its last record and its summary.
        return log.diverge(divergence)
    try:
        for phase in trainer.phases(stop=stop):
            if trainer.construction is not None:
                log.session.measure(trainer.construction)
            # A run that was killed before its last scores has no step left that a graph could take.
            graph = execution.captures(device.type) and trainer.state.step < phase.schedule.last
            refused = log.note_refused_capture if execution.graph == "auto" else None
            with log.capturing() if graph else contextlib.nullcontext():
                take_step = trainer.make_step(graph=graph, gate=gate, refused=refused)
            for event in train(
                trainer.state,
                phase.schedule,
                take_step=take_step,
                evaluate=lambda: _score_epoch(trainer, log, stop=stop),
                recorded=log.session.recorded,
                stop=stop,
                on_step=log.follow_step,
            ):
                if isinstance(event, Divergence):
                    return log.diverge(event)
                log.record_epoch(event, trainer.state)
        log.clock.turn_to("clean")
        scores = trainer.score_training_images(stop=stop)
    except Interrupted:
        return log.stop(trainer.state)
    return log.finish(log.session.metrics()[-1], scores)


def _make_trainer(
    config: RunConfig, log: RunLog, *, execution: ExecutionConfig, device: torch.device
) -> Trainer:
    """Makes the trainer, in the state of the checkpoint if there is one."""
    session = log.session
    dataset = data.load(config.data, execution.data_path)
    trainer = Trainer.from_config(config, dataset, device=device, step=session.step)
    segment = describe_segment(config, dataset, device=device, step=session.step)
    log.open(segment, closing=trainer.closing, snapshots=execution.snapshots)
    if session.tensors is not None:
        load_bytes(trainer.state, session.tensors, session.step)
    log.start(trainer.state)
    return trainer


def _score_epoch(trainer: Trainer, log: RunLog, *, stop: Stop) -> dict[str, Score]:
    """Scores the held-out images and the fixed training images, each on its own clock."""
    log.clock.turn_to("evaluation")
    scores = trainer.score_held_out(stop=stop)
    log.clock.turn_to("clean")
    return scores | trainer.score("clean_train", trainer.inputs.fixed, stop=stop)


def _is_out_of_memory(error: Exception) -> bool:
    # torch's CPU allocator raises a bare RuntimeError, so its message is matched.
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)
