"""What is written and said of one run while it goes on: clocks, progress, records, commits, the summary."""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Literal

from resdeg.config import RunConfig
from resdeg.data.batch_plan import snapshot_steps
from resdeg.models.structure import Census
from resdeg.records import EvalRecord, Progress, RunSummary, Segment, Status, TimingRecord
from resdeg.store import Session
from resdeg.training.evaluate import Score, name_scores
from resdeg.training.loop import Divergence
from resdeg.training.state import TrainState, to_bytes, weights_to_bytes

SAVE_EVERY = 300.0  # In seconds: an epoch of a deep network on a CPU takes longer than anyone wants to lose.

_HELD_OUT = ("test_loss", "test_accuracy", "validation_loss", "validation_accuracy")

Activity = Literal["start", "training", "evaluation", "clean"]
Report = Callable[[Progress], None]


class Clock:
    """Seconds of each activity since the last record, on a clock that never steps back."""

    def __init__(self) -> None:
        self._activity: Activity = "start"
        self._turned = time.monotonic()
        self._forget()

    def _forget(self) -> None:
        self._spent: dict[Activity, float] = {"start": 0.0, "training": 0.0, "evaluation": 0.0, "clean": 0.0}

    def turn_to(self, activity: Activity) -> None:
        """Counts the seconds from now on as those of `activity`."""
        now = time.monotonic()
        self._spent[self._activity] += now - self._turned
        self._activity, self._turned = activity, now

    def end_start(self) -> float:
        """Returns the seconds since this clock was made; what follows is training."""
        self.turn_to("training")
        return self._spent["start"]

    def record(self, step: int) -> TimingRecord:
        """Makes the line of `step`; what follows is training, and counts for the next line."""
        self.turn_to("training")
        spent = self._spent
        self._forget()
        return TimingRecord(
            step=step,
            training_seconds=spent["training"],
            evaluation_seconds=spent["evaluation"],
            clean_seconds=spent["clean"],
        )


class RunLog:
    """Writes down one run, reports it, and makes its summary however it ends.

    The end of an epoch is stored in one order: record, snapshot, commit. A record counts once a commit has
    named it, and a run that continues after a commit does not pass the snapshot again.

    Args:
        counts: the census of the run's network.
        report: is sent the progress after every step, and every notice of the store.
        save_every: seconds after which a run is committed within an epoch.
    """

    def __init__(
        self,
        config: RunConfig,
        session: Session,
        *,
        counts: Census,
        report: Report = lambda progress: None,
        save_every: float = SAVE_EVERY,
    ) -> None:
        self.config, self.session, self.counts = config, session, counts
        self.clock = Clock()
        self._report, self._save_every = report, save_every
        self._data_hash, self._steps, self._snapshot_steps = "", 0, list[int]()
        self._start_seconds = self._capture_seconds = self._final_seconds = 0.0
        self._saved = 0.0

    def open(self, segment: Segment, *, closing: Sequence[int], snapshots: int = 0) -> None:
        """Stores what, besides its settings, determines the bits of the run.

        Args:
            closing: the steps that close an epoch of the run.
            snapshots: how many times to keep the weights on the way, see `snapshot_steps`.

        Raises:
            UsageError: the run was begun on other data, or by a training that computes other numbers.
        """
        self._data_hash, self._steps = segment.data_hash, closing[-1]
        self._snapshot_steps = snapshot_steps(closing, snapshots)
        self.session.begin(segment)

    def start(self, state: TrainState) -> None:
        """Notes that training begins, and reports from which step."""
        self._start_seconds = self.clock.end_start()
        self._saved = time.monotonic()
        self._send(state)

    @contextlib.contextmanager
    def capturing(self) -> Iterator[None]:
        """Counts the seconds within `with` as those of a capture, which are also seconds of training."""
        began = time.monotonic()
        yield
        self._capture_seconds += time.monotonic() - began

    def note_refused_capture(self, error: RuntimeError) -> None:
        """Tells the user that steps are not replayed as a graph, because one could not be captured."""
        reason = str(error).splitlines()[0]
        self.session.notices.append(
            f"{self.config.run_id}: its step cannot be captured, so it trains more slowly: {reason}"
        )

    def follow_step(self, state: TrainState) -> None:
        """Reports a step, and commits it where the last commit is long ago."""
        self._send(state)
        if time.monotonic() - self._saved > self._save_every:
            self._save(state)

    def record_epoch(self, record: EvalRecord, state: TrainState) -> None:
        """Stores the record, the snapshot if one is due, and the state at the end of an epoch; reports it."""
        timing = self.clock.record(record.step)
        if record.step == self.session.step:  # committed before it was scored; only a step's last line counts
            for line in self.session.timing():
                timing = timing.joined(line) if line.step == record.step else timing
        self.session.append(record, timing)
        if record.step in self._snapshot_steps:
            self.session.snapshot(weights_to_bytes(state.model), record.step)
        self._commit(state, record.step)
        self._send(state, record)

    def _save(self, state: TrainState) -> None:
        """Notes the clock and commits within an epoch; whoever continues from there counts from there."""
        self.session.note(self.clock.record(state.step))
        self._commit(state, self.session.recorded)

    def _commit(self, state: TrainState, recorded: int) -> None:
        self.session.commit(to_bytes(state), state.step, recorded)
        self._saved = time.monotonic()

    def _send(self, state: TrainState, record: EvalRecord | None = None) -> None:
        progress = partial(Progress, run_id=self.config.run_id, step=state.step, steps=self._steps)
        self._report(progress(record=record))
        while self.session.notices:
            self._report(progress(notice=self.session.notices.pop(0)))

    def stop(self, state: TrainState) -> RunSummary:
        """Stores how far a run came that was asked to stop."""
        if state.step != self.session.step:
            self._save(state)
        return self._summarise("stopped", step=state.step, reason="asked to stop")

    def diverge(self, divergence: Divergence) -> RunSummary:
        """Summarises a run whose loss is not finite any more."""
        epoch, step = divergence.epoch, divergence.step
        reason = f"diverged at epoch {epoch}, step {step}: {divergence.reason}"
        return self._summarise("diverged", step=step, reason=reason)

    def fail(self, reason: str) -> RunSummary:
        """Stores the traceback of the exception that is being handled, and a summary with `reason`."""
        self.session.fail(traceback.format_exc())
        summary = self._summarise("failed", step=self.session.step, reason=reason)
        self.session.end(summary)
        return summary

    def finish(self, last: EvalRecord, scores: dict[str, Score]) -> RunSummary:
        """Summarises a run that came to its end.

        Args:
            last: the record of the last epoch.
            scores: those of all training images; their seconds are the clean ones since `last`.
        """
        self._final_seconds = self.clock.record(last.step).clean_seconds
        return self._summarise(
            "finished",
            step=last.step,
            running_train_loss=last.train_loss,
            running_train_accuracy=last.train_accuracy,
            **{
                name: value
                for name, value in last
                if name.endswith(_HELD_OUT) and name in RunSummary.model_fields
            },
            **name_scores(scores),
        )

    def _summarise(self, status: Status, *, step: int, **numbers: Any) -> RunSummary:
        timing = self.session.timing()
        return RunSummary(
            run_id=self.config.run_id,
            status=status,
            family=self.config.family,
            depth=self.config.depth,
            seed=self.config.seed,
            parameters=self.counts.parameters,
            multiply_adds=self.counts.multiply_adds,
            data_hash=self._data_hash,
            precision=self.config.training.precision,
            steps=self._steps,
            step=step,
            start_seconds=self._start_seconds,
            capture_seconds=self._capture_seconds,
            training_seconds=sum(line.training_seconds for line in timing),
            evaluation_seconds=sum(line.evaluation_seconds for line in timing),
            clean_seconds=sum(line.clean_seconds for line in timing) + self._final_seconds,
            seconds=sum(line.seconds for line in timing) + self._final_seconds,
            **numbers,
        )
