"""The folders of a sweep and of its runs, as they are read."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import ValidationError

from resdeg import files
from resdeg.config import RunConfig
from resdeg.errors import StorageError
from resdeg.records import (
    ENDED,
    DiagnosticRecord,
    Environment,
    EvalRecord,
    Manifest,
    Origin,
    Record,
    RunSummary,
    Status,
    TimingRecord,
)
from resdeg.store import snapshots
from resdeg.store.generations import newest

RunState = Status | Literal["running", "interrupted", "missing"]
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

    def has_records(self) -> bool:
        """Whether some run has begun here, those that were set aside among them."""
        return bool(self.run_ids()) or (self.folder / "set-aside").exists()

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
        with files.locked(self.folder / "lock", wait):
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

    def origin(self) -> Origin | None:
        """Where the weights came from; None of a run that was trained here."""
        return self._one(Origin, "origin.json")

    def metrics(self) -> list[EvalRecord]:
        """The records of whole epochs, in order; an unfinished last line is passed over."""
        return self._lines(EvalRecord, "metrics.jsonl")

    def timing(self) -> list[TimingRecord]:
        """The clock of each record; a step that was done twice counts as it went last."""
        return list({record.step: record for record in self._lines(TimingRecord, "timing.jsonl")}.values())

    def diagnostics(self) -> list[DiagnosticRecord]:
        """What `resdeg diagnose` measured, kind after kind; empty where it did not."""
        return self._lines(DiagnosticRecord, "diagnostics.jsonl")

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
        return newest(self.folder, self.folder.name, [])

    def snapshots(self, notices: list[str]) -> Iterator[tuple[int, bytes]]:
        """Step and tensors of each snapshot that is whole, steps rising; a damaged one is named."""
        return snapshots.kept(self.folder, notices)

    def _one(self, kind: type[R], name: str) -> R | None:
        content = files.read(self.folder / name)
        return None if content is None else kind.from_json(content, str(self.folder / name))

    def lines(self, name: str) -> list[bytes]:
        """Those of a file that are whole: a crash may have torn the last one."""
        content = files.read(self.folder / name) or b""
        return content[: content.rfind(b"\n") + 1].splitlines()

    def _lines(self, kind: type[R], name: str) -> list[R]:
        where = self.folder / name
        lines = enumerate(self.lines(name), start=1)
        return [kind.from_json(line, f"{where}:{number}") for number, line in lines]
