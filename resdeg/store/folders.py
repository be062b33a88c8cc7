"""The folders of a sweep and of its runs, and how their records are read."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import ValidationError

from resdeg import files, locks
from resdeg.config import RunConfig, SweepConfig, read_toml, validate
from resdeg.config.grammar import MOST_RUNS
from resdeg.errors import StorageError, UsageError
from resdeg.records import (
    ENDED,
    DiagnosticRecord,
    Environment,
    EvalRecord,
    Manifest,
    Origin,
    Record,
    RunSummary,
    Share,
    Status,
    TimingRecord,
)
from resdeg.store import snapshots
from resdeg.store.generations import newest
from resdeg.store.lease import is_leased_elsewhere, leased

NO_CHECKPOINT = (
    "no usable checkpoint (published sweeps keep only their records, and `resdeg prune` frees checkpoints)"
)
_RECORDS = ("summary.json", "metrics.jsonl")
RunState = Status | Literal["running", "interrupted", "missing"]
R = TypeVar("R", bound=Record)


@functools.lru_cache(maxsize=MOST_RUNS)  # commands go through all runs in turn, which a smaller one forgets
def _parse_config(content: bytes) -> RunConfig:
    """Reads settings once: a command asks for a run's several times, and their id is a hash of them all."""
    return RunConfig.model_validate_json(content)


@dataclass(frozen=True)
class SweepStore:
    """The folder results/<sweep>/ with the grid, the runs, and the figures and pages made from them."""

    folder: Path

    def run(self, run_id: str) -> RunStore:
        return RunStore(self.folder / "runs" / run_id)

    def names(self) -> list[str]:
        """Lists what lies in runs/, sorted, whatever it is; hidden files are the system's and passed over."""
        with contextlib.suppress(OSError):
            return sorted(name for name in os.listdir(self.folder / "runs") if not name.startswith("."))
        return []

    def run_ids(self, *, without: Container[str] = ()) -> list[str]:
        """Lists the runs that have begun here, sorted: a copy or a damaged folder is none of them.

        Args:
            without: names that are passed over unread.
        """
        return [name for name in self.names() if name not in without and self._holds_run(name)]

    def _holds_run(self, name: str) -> bool:
        try:
            return self.run(name).has_begun()
        except StorageError:
            return False

    def has_records(self) -> bool:
        """Says whether a run has begun here, even if it was set aside or damaged later."""
        begun = any(os.path.lexists(self.run(name).folder / "config.json") for name in self.names())
        return begun or (self.folder / "set-aside").exists()

    @property
    def plan(self) -> Path:
        return self.folder / "sweep.toml"

    @property
    def share_note(self) -> Path:
        return self.folder / "shard.json"

    def share(self) -> Share | None:
        """Reads which share of the plan is trained here; None if it is all of it.

        Raises:
            StorageError: the note is damaged.
        """
        content = files.read(self.share_note)
        return None if content is None else Share.from_json(content, str(self.share_note))

    def is_sweep(self) -> bool:
        """Says whether a sweep has begun in the folder: it has a plan and runs."""
        return os.path.isfile(self.plan) and os.path.isdir(self.folder / "runs")  # noqa: PTH112, PTH113

    def planned(self) -> SweepConfig | None:
        """Reads the plan; None if there is none that can be read."""
        try:
            return validate(SweepConfig, {str(self.plan): read_toml(self.plan)})
        except UsageError:
            return None

    @contextlib.contextmanager
    def owned(self, wait: Callable[[str], None] | None = None) -> Iterator[None]:
        """Makes this process the only one that schedules here; `wait` as in `locks.locked`.

        Raises:
            BusyError: another process schedules here; StorageError: the folder cannot be written.
        """
        files.make_folder(self.folder / "runs")
        with locks.locked(self.folder / "lock", wait), leased(self.folder, needed=False, wait=wait):
            files.remove_temporaries(self.folder)
            yield

    def measured(self) -> contextlib.AbstractContextManager[None]:
        """Makes this process the only one that measures the networks here.

        Raises:
            BusyError: another process measures them; StorageError: the folder cannot be written.
        """
        return locks.locked(self.folder / "diagnose.lock")

    def set_aside(self, run_id: str) -> Path:
        """Moves a run to set-aside/, so that the next run of its name starts anew; returns its new folder."""
        number = 1
        while (aside := self.folder / "set-aside" / f"{run_id}.{number}").exists():
            number += 1
        files.make_folder(aside.parent)
        files.move(self.run(run_id).folder, aside)
        return aside


@dataclass(frozen=True)
class RunStore:
    """The folder results/<sweep>/runs/<run_id>/ with the records of a training. Reading needs no lock."""

    folder: Path

    @property
    def _name(self) -> str:
        return self.folder.absolute().name  # not resolved, because a link to a run is a copy of it

    def config(self) -> RunConfig:
        """Reads the settings that the run was started with.

        Raises:
            StorageError: the settings are missing or damaged, or those of another run than the folder's name
                says, as in a copy.
        """
        return self._parse_settings(files.read(self.folder / "config.json"))

    def _parse_settings(self, content: bytes | None) -> RunConfig:
        path = self.folder / "config.json"
        try:
            if content is None:
                raise ValueError("missing")
            config = _parse_config(content)
        except (ValueError, ValidationError) as error:
            raise StorageError(f"{path}: damaged or missing") from error
        self._check_owner(path, config.run_id)
        return config

    def has_begun(self) -> bool:
        """Says whether the folder holds a run.

        Raises:
            StorageError: its settings cannot be read or are those of another run, or it has records without
                settings.
        """
        content = files.read(self.folder / "config.json")
        if content is None and not any(os.path.lexists(self.folder / name) for name in _RECORDS):
            return False
        self._parse_settings(content)
        return True

    def summary(self) -> RunSummary | None:
        """Reads how the run ended; None if it has not ended.

        Raises:
            StorageError: the summary is damaged, or that of another run.
        """
        summary = self._read_record(RunSummary, "summary.json")
        if summary is not None:
            self._check_owner(self.folder / "summary.json", summary.run_id)
        return summary

    def environment(self) -> Environment:
        """Reads the segments of the run, one per process that worked on it."""
        return self._read_record(Environment, "environment.json") or Environment()

    def origin(self) -> Origin | None:
        """Reads where adopted weights came from; None if the run was trained here."""
        return self._read_record(Origin, "origin.json")

    def metrics(self) -> list[EvalRecord]:
        """Reads the records of whole epochs in order; an unfinished last line is passed over."""
        return self._read_records(EvalRecord, "metrics.jsonl")

    def timing(self) -> list[TimingRecord]:
        """Reads the clocks of each record; if a step was done twice, its last clocks count."""
        records = self._read_records(TimingRecord, "timing.jsonl")
        return list({record.step: record for record in records}.values())

    def diagnostics(self) -> list[DiagnosticRecord]:
        """Reads what `resdeg diagnose` measured, kind after kind; the list is empty before it did."""
        return self._read_records(DiagnosticRecord, "diagnostics.jsonl")

    def state(self) -> RunState:
        """Decides the state of the run; it is 'running' while its lock is held, which ends with a crash.

        Raises:
            StorageError: as `has_begun` and `summary`.
        """
        if self.is_running():
            return "running"
        if not self.has_begun():
            return "missing"
        summary = self.summary()
        return "interrupted" if summary is None else summary.status

    def is_running(self) -> bool:
        """Says whether a process holds the lock of the run."""
        return locks.is_locked(self.folder / "lock") or is_leased_elsewhere(self.folder)

    def count_bytes(self) -> int:
        """Counts the bytes of the run on disk."""
        return sum(path.lstat().st_size for path in self.folder.rglob("*") if path.is_file())

    def ended(self) -> bool:
        """Says whether the run has finished or diverged, so that nothing is left to train."""
        summary = self.summary()
        return summary is not None and summary.status in ENDED

    def checkpoint(self, notices: list[str] | None = None) -> tuple[Manifest, bytes] | None:
        """Reads the newest whole generation and its tensors; `notices` names those that are damaged."""
        return newest(self.folder, self._name, [] if notices is None else notices)

    def snapshots(self, notices: list[str]) -> Iterator[tuple[int, bytes]]:
        """Reads the step and the tensors of each whole snapshot, steps rising; `notices` names the others."""
        return snapshots.read_snapshots(self.folder, notices)

    def _check_owner(self, path: Path, run_id: str) -> None:
        """Refuses a file of another run: folders are copied and renamed, and what they hold is not."""
        if run_id != self._name:
            raise StorageError(
                f"{path}: identity mismatch, it belongs to {run_id} and its folder is called {self._name}"
            )

    def _read_record(self, kind: type[R], name: str) -> R | None:
        content = files.read(self.folder / name)
        return None if content is None else kind.from_json(content, str(self.folder / name))

    def lines(self, name: str) -> list[bytes]:
        """Reads the whole lines of a file, because a crash may have torn the last one."""
        content = files.read(self.folder / name) or b""
        return content[: content.rfind(b"\n") + 1].splitlines()

    def _read_records(self, kind: type[R], name: str) -> list[R]:
        where = self.folder / name
        lines = enumerate(self.lines(name), start=1)
        return [kind.from_json(line, f"{where}:{number}") for number, line in lines]
