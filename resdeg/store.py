"""Where the records of a sweep lie on disk, how a run commits to them, and how it recovers."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import ValidationError

from resdeg import files
from resdeg.config import RunConfig
from resdeg.errors import StorageError, UsageError
from resdeg.records import (
    ENDED,
    MAKES_BITS,
    Environment,
    EvalRecord,
    Manifest,
    Record,
    RunSummary,
    Segment,
    Status,
    TimingRecord,
)

RunState = Status | Literal["running", "interrupted", "missing"]
_SLOTS: tuple[Literal["a.safetensors"], Literal["b.safetensors"]] = ("a.safetensors", "b.safetensors")
R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class SweepStore:
    """results/<sweep>/: the grid, the runs, and what is drawn from them."""

    folder: Path

    def run(self, run_id: str) -> RunStore:
        return RunStore(self.folder / "runs" / run_id)

    def run_ids(self) -> list[str]:
        """Names of the run folders there, sorted; foreign files are passed over."""
        with contextlib.suppress(OSError):
            return sorted(p.name for p in (self.folder / "runs").iterdir() if (p / "config.json").is_file())
        return []

    @property
    def plan(self) -> Path:
        return self.folder / "sweep.toml"

    @contextlib.contextmanager
    def owned(self, wait: Callable[[str], None] | None = None) -> Iterator[None]:
        """Be the one process that schedules here; `wait` as in `files.locked`.

        Raises:
            BusyError: another process is; StorageError: the folder cannot be written.
        """
        files.make_folder(self.folder / "runs")
        with files.locked(self.folder / "lock", _owner(), wait):
            files.remove_temporaries(self.folder)
            yield

    def set_aside(self, run_id: str) -> Path:
        """Move a run out of the way, keeping it; the next one starts from nothing."""
        number = 1
        while (aside := self.folder / "set-aside" / f"{run_id}.{number}").exists():
            number += 1
        files.make_folder(aside.parent)
        files.move(self.run(run_id).folder, aside)
        return aside


@dataclass(frozen=True)
class RunStore:
    """results/<sweep>/runs/<run_id>/: what one training left. Reading needs no lock."""

    folder: Path

    def config(self) -> RunConfig:
        """The settings that the run was started with.

        Raises:
            StorageError: there are none, or they are damaged.
        """
        content = files.read(self.folder / "config.json")
        try:
            if content is None:
                raise ValueError("missing")
            return RunConfig.model_validate_json(content)
        except (ValueError, ValidationError) as error:
            raise StorageError(f"{self.folder / 'config.json'}: damaged or missing") from error

    def summary(self) -> RunSummary | None:
        return self._one(RunSummary, "summary.json")

    def environment(self) -> Environment:
        return self._one(Environment, "environment.json") or Environment()

    def metrics(self) -> list[EvalRecord]:
        """The records of whole epochs, in order; an unfinished last line is passed over."""
        return self._lines(EvalRecord, "metrics.jsonl")

    def timing(self) -> list[TimingRecord]:
        """The clock of each record; a step that was done twice counts as it went last."""
        return list({record.step: record for record in self._lines(TimingRecord, "timing.jsonl")}.values())

    def state(self) -> RunState:
        """Only the store decides; 'running' is the lock being held, so a crash needs no clean-up."""
        if files.is_locked(self.folder / "lock"):
            return "running"
        summary = self.summary()
        if summary is not None:
            return summary.status
        return "interrupted" if (self.folder / "config.json").exists() else "missing"

    def ended(self) -> bool:
        """Whether nothing is left to train: finished or diverged."""
        summary = self.summary()
        return summary is not None and summary.status in ENDED

    def checkpoint(self) -> tuple[Manifest, bytes] | None:
        """The newest generation whose every hash holds, and its tensors; notices are dropped."""
        return _newest(self.folder, self.folder.name, [])

    def _one(self, kind: type[R], name: str) -> R | None:
        content = files.read(self.folder / name)
        return None if content is None else kind.from_json(content, str(self.folder / name))

    def _lines(self, kind: type[R], name: str) -> list[R]:
        content = files.read(self.folder / name) or b""
        whole = content[: content.rfind(b"\n") + 1].splitlines()
        where = self.folder / name
        return [kind.from_json(line, f"{where}:{number}") for number, line in enumerate(whole, start=1)]


@dataclass
class RunSession:
    """A run that this process owns: recovered, and open for writing until the `with` ends."""

    store: RunStore
    run_id: str
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
        """Note what this process computes with.

        Raises:
            UsageError: the run was begun on other data or under other training semantics.
        """
        path, before = self.store.folder / "environment.json", self.store.environment()
        for earlier in before.segments if self.manifest else ():
            if earlier.data_hash != segment.data_hash:
                raise UsageError(
                    f"{self.run_id}: begun on data {earlier.data_hash[:9]}, this is {segment.data_hash[:9]}",
                    "give the same data, another --out, or --fresh",
                )
            if earlier.semantics != segment.semantics:
                raise UsageError(
                    f"{self.run_id} was begun by a resdeg whose training computes other numbers",
                    "finish it with that version, or give --fresh",
                )
        if before.segments and self.manifest:
            last = before.segments[-1]
            changed = [
                f"{name} {getattr(last, name)} -> {getattr(segment, name)}"
                for name in MAKES_BITS
                if getattr(last, name) != getattr(segment, name)
            ]
            if changed:
                self.notices.append(f"{self.run_id}: {', '.join(changed)}: same bits are not claimed")
        kept = before.segments if self.manifest else ()
        files.write(path, Environment(segments=(*kept, segment)).to_json().encode() + b"\n")

    def append(self, record: EvalRecord, timing: TimingRecord) -> None:
        """Add one record; it counts once `commit` has named it."""
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
        """Add one line of clocks."""
        files.append(self.store.folder / "timing.jsonl", timing.to_json().encode() + b"\n")

    def commit(self, tensors: bytes, step: int, recorded: int) -> None:
        """Make `step` the place to continue from; the generation before it stays whole.

        The tensors go to the slot of the older generation; the manifest's rename is the commit.
        """
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
        if (folder / "manifest.json").exists():
            files.move(folder / "manifest.json", folder / "manifest-previous.json")
        files.write(folder / "manifest.json", _sealed(manifest))
        self.manifest = manifest

    def end(self, summary: RunSummary) -> None:
        """Store how the run ended."""
        files.write(self.store.folder / "summary.json", summary.to_json().encode() + b"\n")

    def fail(self, traceback: str) -> None:
        files.write(self.store.folder / "error.txt", traceback.encode())


@contextlib.contextmanager
def open_run(store: RunStore, config: RunConfig) -> Iterator[RunSession]:
    """Own the run of `config` in `store`: lock it, compare its settings, recover its checkpoint.

    Raises:
        BusyError: another process owns it.
        StorageError: the disk refuses, or other settings stand under its name.
    """
    files.make_folder(store.folder)
    with files.locked(store.folder / "lock", _owner()):
        for folder in (store.folder, store.folder / "checkpoint"):
            files.remove_temporaries(folder)
        path = store.folder / "config.json"
        if not path.exists():
            files.write(path, config.model_dump_json(indent=1).encode() + b"\n")
        elif store.config().identity() != config.identity():
            raise StorageError(f"{path}: identity mismatch, its settings are not those of {config.run_id}")
        session = RunSession(store, config.run_id)
        _recover(session)
        yield session


def _owner() -> str:
    return f"pid {os.getpid()} on {socket.gethostname()} since {time.strftime('%Y-%m-%d %H:%M:%S')}"


# ---------------------------------------------------------------- recovery, always under the lock


def _recover(session: RunSession) -> None:
    """Continue from the newest generation that verifies; what is beyond it is cut and compared."""
    folder = session.store.folder
    found = _newest(folder, session.run_id, session.notices)
    metrics = files.read(folder / "metrics.jsonl") or b""
    if found is None:
        _quarantine(session, metrics)
    else:
        session.manifest, session.tensors = found
        kept = session.manifest.metrics_bytes
        session._metrics = metrics[:kept]
        session._ahead = metrics[kept : metrics.rfind(b"\n") + 1].splitlines(keepends=True)
        if len(metrics) > kept:
            files.truncate(folder / "metrics.jsonl", kept)
    timing = files.read(folder / "timing.jsonl") or b""
    if not timing.endswith(b"\n") and timing:
        files.truncate(folder / "timing.jsonl", timing.rfind(b"\n") + 1)


def _quarantine(session: RunSession, metrics: bytes) -> None:
    """No usable checkpoint: start over, but keep what was there."""
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
    elif metrics:  # killed in the first epoch, before its commit: the line will be computed again
        session._ahead = metrics[: metrics.rfind(b"\n") + 1].splitlines(keepends=True)
        files.truncate(folder / "metrics.jsonl", 0)


def _newest(folder: Path, run_id: str, notices: list[str]) -> tuple[Manifest, bytes] | None:
    for name in ("manifest.json", "manifest-previous.json"):
        content = files.read(folder / "checkpoint" / name)
        if content is None:
            continue
        manifest = _unsealed(content)
        if manifest is None or manifest.run_id != run_id:
            notices.append(f"{run_id}: {name} is damaged, trying the generation before")
            continue
        tensors = files.read(folder / "checkpoint" / manifest.file) or b""
        metrics = (files.read(folder / "metrics.jsonl") or b"")[: manifest.metrics_bytes]
        if hashlib.sha256(tensors).hexdigest() != manifest.sha256:
            damage: str = manifest.file
        elif hashlib.sha256(metrics).hexdigest() != manifest.metrics_sha256:
            damage = "metrics.jsonl"
        else:
            return manifest, tensors
        notices.append(
            f"{run_id}: generation {manifest.generation}: {damage} is damaged, trying the one before"
        )
    return None


def _sealed(manifest: Manifest) -> bytes:
    """The manifest beside its own SHA-256, so that a flipped bit in it is seen."""
    seal = hashlib.sha256(manifest.to_json().encode()).hexdigest()
    return json.dumps({"manifest": json.loads(manifest.to_json()), "sha256": seal}).encode() + b"\n"


def _unsealed(content: bytes) -> Manifest | None:
    try:
        manifest = Manifest.from_json(json.dumps(json.loads(content)["manifest"]), "manifest.json")
        return manifest if _sealed(manifest) == content else None
    except (ValueError, KeyError, TypeError, StorageError):
        return None
