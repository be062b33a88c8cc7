"""A run whose records are written by another process: each call of its session is carried out there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import ray

from resdeg.config import RunConfig
from resdeg.errors import LostError
from resdeg.records import DiagnosticRecord, EvalRecord, RunSummary, Segment, TimingRecord
from resdeg.store import RunStore
from resdeg.sweep.workers.messages import unpack_error


class StreamedSession:
    """Does what `resdeg.store.Session` says, through the recorder."""

    def __init__(self, recorder: Any, config: RunConfig) -> None:
        self._recorder, self._run_id = recorder, config.run_id
        self.notices: list[str] = []
        self.step = self.recorded = 0
        self._claim, self.tensors = self._ask("open", config.model_dump_json())

    def begin(self, segment: Segment) -> None:
        self._perform("begin", segment)

    def append(self, record: EvalRecord, timing: TimingRecord) -> None:
        self._perform("append", record, timing)

    def note(self, timing: TimingRecord) -> None:
        self._perform("note", timing)

    def commit(self, tensors: bytes, step: int, recorded: int) -> None:
        self._perform("commit", tensors, step, recorded)

    def snapshot(self, tensors: bytes, step: int) -> None:
        self._perform("snapshot", tensors, step)

    def measure(self, record: DiagnosticRecord) -> None:
        self._perform("measure", record)

    def metrics(self) -> list[EvalRecord]:
        records: list[EvalRecord] = self._perform("metrics")
        return records

    def timing(self) -> list[TimingRecord]:
        records: list[TimingRecord] = self._perform("timing")
        return records

    def end(self, summary: RunSummary) -> None:
        self._perform("end", summary)

    def fail(self, traceback: str) -> None:
        self._perform("fail", traceback)

    def close(self) -> None:
        """Leaves the run to others."""
        self._ask("close", self._run_id, self._claim)

    def _perform(self, method: str, *arguments: Any) -> Any:
        return self._ask("perform", self._run_id, self._claim, method, arguments)

    def _ask(self, method: str, *arguments: Any) -> Any:
        """Returns what a method of the recorder returns.

        Raises:
            LostError: the recorder is gone; ResdegError: what the method raised.
        """
        try:
            reply = ray.get(getattr(self._recorder, method).remote(*arguments))
        except ray.exceptions.RayError as error:
            raise LostError(f"{self._run_id}: the process that writes its records is gone") from error
        if "failed" in reply:
            raise unpack_error(reply["failed"])
        self.step, self.recorded = reply["step"], reply["recorded"]
        self.notices += reply["notices"]
        return reply["result"]


@contextlib.contextmanager
def stream_run(recorder: Any, store: RunStore, config: RunConfig) -> Iterator[StreamedSession]:
    """Opens a run through the recorder, whose folder counts and not that of `store`.

    Raises:
        BusyError, StorageError: as `resdeg.store.open_run`. LostError: the recorder is gone.
    """
    session = StreamedSession(recorder, config)
    try:
        yield session
    finally:
        with contextlib.suppress(LostError):
            session.close()
