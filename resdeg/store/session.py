"""A run that this process owns: commits to it, and its recovery from what the last owner left."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol

from resdeg import files, locks
from resdeg.config import RunConfig
from resdeg.errors import UsageError
from resdeg.records import (
    MAKES_BITS,
    DiagnosticRecord,
    Environment,
    EvalRecord,
    Manifest,
    RunSummary,
    Segment,
    State,
    TimingRecord,
)
from resdeg.store import snapshots
from resdeg.store.folders import RunStore
from resdeg.store.generations import newest, sealed
from resdeg.store.lease import LIFE, Check, leased

_SLOTS: tuple[Literal["a.safetensors"], Literal["b.safetensors"]] = ("a.safetensors", "b.safetensors")


class Session(Protocol):
    """What a training asks of the run that it writes; `RunSession` does it in a folder of this machine.

    Attributes:
        notices: what the user is to hear, oldest first; whoever tells it removes it.
        tensors: the checkpoint that is continued from; None without one.
    """

    notices: list[str]
    tensors: bytes | None

    @property
    def step(self) -> int:
        """The step that the checkpoint continues from; 0 without one."""

    @property
    def recorded(self) -> int:
        """The last step whose record is in metrics.jsonl."""

    def begin(self, segment: Segment) -> None:
        """Records what this process computes with; see `RunSession.begin`."""

    def append(self, record: EvalRecord, timing: TimingRecord) -> None:
        """Adds a record, which counts once `commit` has named it."""

    def note(self, timing: TimingRecord) -> None:
        """Adds a line of clocks."""

    def commit(self, tensors: bytes, step: int, recorded: int) -> None:
        """Makes `step` the step to continue from; the generation before it stays whole."""

    def snapshot(self, tensors: bytes, step: int) -> None:
        """Stores the weights of `step`."""

    def measure(self, record: DiagnosticRecord) -> None:
        """Stores a measurement, in place of an earlier one of its kind and state."""

    def metrics(self) -> list[EvalRecord]:
        """Reads the records of whole epochs in order."""

    def timing(self) -> list[TimingRecord]:
        """Reads the clocks of each record."""

    def end(self, summary: RunSummary) -> None:
        """Stores how the run ended."""

    def fail(self, traceback: str) -> None:
        """Stores the traceback of an unexpected error."""


@dataclass
class RunSession:
    """A run that this process owns: it is recovered, and open for writing until the `with` ends."""

    store: RunStore
    run_id: str
    check: Check = lambda: None  # raises BusyError where this process does not own the run any more
    manifest: Manifest | None = None
    tensors: bytes | None = None
    notices: list[str] = field(default_factory=list)
    _metrics: bytes = b""
    _ahead: list[bytes] = field(default_factory=list)

    @property
    def step(self) -> int:
        """The step that the checkpoint continues from; 0 without one."""
        return self.manifest.step if self.manifest else 0

    @property
    def recorded(self) -> int:
        """The last step whose record is in metrics.jsonl."""
        return self.manifest.recorded if self.manifest else 0

    def begin(self, segment: Segment) -> None:
        """Records what this process computes with.

        Raises:
            UsageError: the run was begun on other data or under other training semantics.
        """
        self.check()
        segments = self.store.environment().segments
        before = segments if self.manifest else ()
        for earlier in before:
            if earlier.data_hash != segment.data_hash:
                raise UsageError(
                    f"{self.run_id}: begun on data {earlier.data_hash[:9]}, this is {segment.data_hash[:9]}",
                    "give the same data, another --out, or --fresh",
                )
            if earlier.semantics != segment.semantics:
                raise UsageError(
                    f"{self.run_id} was begun by a version of resdeg whose training computes other numbers",
                    "finish it with that version, or give --fresh",
                )
        if before:
            last = before[-1]
            changed = [
                f"{name} {getattr(last, name)} -> {getattr(segment, name)}"
                for name in MAKES_BITS
                if getattr(last, name) != getattr(segment, name)
            ]
            if changed:
                self.notices.append(f"{self.run_id}: {', '.join(changed)}: same bits are not claimed")
        content = Environment(segments=(*before, segment)).to_json().encode() + b"\n"
        files.write(self.store.folder / "environment.json", content)

    def append(self, record: EvalRecord, timing: TimingRecord) -> None:
        """Adds a record, which counts once `commit` has named it."""
        self.check()
        line = record.to_json().encode() + b"\n"
        if self._ahead and line != (before := self._ahead.pop(0)):
            self.notices.append(
                f"{self.run_id}: epoch {record.epoch} differs from what was recorded before the crash: "
                f"{before.decode(errors='replace').strip()}"
            )
        files.append(self.store.folder / "metrics.jsonl", line)
        self.note(timing)
        self._metrics += line

    def note(self, timing: TimingRecord) -> None:
        """Adds a line of clocks."""
        self.check()
        files.append(self.store.folder / "timing.jsonl", timing.to_json().encode() + b"\n")

    def commit(self, tensors: bytes, step: int, recorded: int) -> None:
        """Makes `step` the step to continue from; the generation before it stays whole.

        The tensors go to the slot of the older generation, and the rename of the manifest is the commit.
        """
        self.check()
        folder = self.store.folder / "checkpoint"
        files.make_folder(folder)
        slot = _SLOTS[1] if self.manifest and self.manifest.file == _SLOTS[0] else _SLOTS[0]
        files.write(folder / slot, tensors)
        manifest = Manifest(
            generation=self.manifest.generation + 1 if self.manifest else 1,
            run_id=self.run_id,
            step=step,
            recorded=recorded,
            file=slot,
            bytes=len(tensors),
            sha256=hashlib.sha256(tensors).hexdigest(),
            metrics_bytes=len(self._metrics),
            metrics_sha256=hashlib.sha256(self._metrics).hexdigest(),
        )
        self.check()
        if (folder / "manifest.json").exists():
            files.move(folder / "manifest.json", folder / "manifest-previous.json")
        files.write(folder / "manifest.json", sealed(manifest))
        self.manifest = manifest

    def snapshot(self, tensors: bytes, step: int) -> None:
        """Stores the weights of `step` beside the checkpoint, whose generations move on."""
        self.check()
        snapshots.write_snapshot(self.store.folder, step, tensors)

    def measure(self, record: DiagnosticRecord) -> None:
        """Stores a measurement, in place of an earlier one of its kind and state."""
        self.check()
        keep_measured(self.store, record.kind, record.state, [record])

    def metrics(self) -> list[EvalRecord]:
        """Reads the records of whole epochs in order."""
        return self.store.metrics()

    def timing(self) -> list[TimingRecord]:
        """Reads the clocks of each record."""
        return self.store.timing()

    def end(self, summary: RunSummary) -> None:
        """Stores how the run ended."""
        self.check()
        files.write(self.store.folder / "summary.json", summary.to_json().encode() + b"\n")

    def fail(self, traceback: str) -> None:
        """Stores the traceback of an unexpected error."""
        self.check()
        files.write(self.store.folder / "error.txt", traceback.encode(errors="backslashreplace"))


def keep_measured(store: RunStore, kind: str, state: State, records: Sequence[DiagnosticRecord]) -> None:
    """Replaces the stored records of this kind and state by `records` as one step; other lines stay."""
    name = "diagnostics.jsonl"
    stored = zip(store.diagnostics(), store.lines(name), strict=True)
    lines = [line for record, line in stored if (record.kind, record.state) != (kind, state)]
    lines += [record.to_json().encode() for record in records]
    files.write(store.folder / name, b"".join(line + b"\n" for line in lines))


@contextlib.contextmanager
def open_run(
    store: RunStore, config: RunConfig, *, lease: bool = False, life: float = LIFE
) -> Iterator[RunSession]:
    """Owns the run of `config` in `store`: locks it, compares its settings and recovers its checkpoint.

    Args:
        store: the folder that is called as the run.
        lease: whether it needs a lease, because its lock is not seen on other hosts that write here.
        life: see `leased`.

    Raises:
        BusyError: another process owns the run.
        StorageError: the disk refuses, or the folder holds a run of other settings.
    """
    files.make_folder(store.folder)
    with locks.locked(store.folder / "lock"), leased(store.folder, needed=lease, life=life) as check:
        for folder in (store.folder, store.folder / "checkpoint", store.folder / snapshots.FOLDER):
            files.remove_temporaries(folder)
        path = store.folder / "config.json"
        if not path.exists():
            files.write(path, config.model_dump_json(indent=1).encode() + b"\n")
        store.config()  # refuses the settings of another run
        session = RunSession(store, config.run_id, check)
        _recover(session)
        yield session


OpenSession = Callable[[RunStore, RunConfig], AbstractContextManager[Session]]


# ---------------------------------------------------------------- recovery, always under the lock


def _recover(session: RunSession) -> None:
    """Continues from the newest whole generation; the lines behind it are cut, and compared later."""
    folder = session.store.folder
    generation = newest(folder, session.run_id, session.notices)
    metrics = files.read(folder / "metrics.jsonl") or b""
    if generation is None:
        _quarantine(session, metrics)
    else:
        session.manifest, session.tensors = generation
        newer = folder / "checkpoint" / "manifest.json"
        if files.read(newer) != sealed(session.manifest):  # else `commit` would move a damaged one over it
            files.move(newer.with_name("manifest-previous.json"), newer)
        size = session.manifest.metrics_bytes
        session._metrics = metrics[:size]
        session._ahead = metrics[size : metrics.rfind(b"\n") + 1].splitlines(keepends=True)
        if len(metrics) > size:
            files.truncate(folder / "metrics.jsonl", size)
    timing = files.read(folder / "timing.jsonl") or b""
    if not timing.endswith(b"\n") and timing:
        files.truncate(folder / "timing.jsonl", timing.rfind(b"\n") + 1)


def _quarantine(session: RunSession, metrics: bytes) -> None:
    """Starts the run anew, because no checkpoint is usable, and moves the old files aside."""
    folder = session.store.folder
    had_checkpoint = any((folder / "checkpoint").glob("*"))
    if had_checkpoint:
        number = 1
        while (aside := folder / f"checkpoint.bad-{number}").exists():
            number += 1
        files.move(folder / "checkpoint", aside)
        session.notices.append(
            f"{session.run_id}: no usable checkpoint, starting over (old files kept in {aside.name}/)"
        )
    if metrics and had_checkpoint:
        files.move(folder / "metrics.jsonl", folder / f"metrics.jsonl.bad-{number}")
    elif metrics:  # the run was killed before the commit of its first epoch, which will be computed again
        session._ahead = metrics[: metrics.rfind(b"\n") + 1].splitlines(keepends=True)
        files.truncate(folder / "metrics.jsonl", 0)
