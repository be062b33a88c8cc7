"""Copies of one run in several folders: how far each is, in what two differ, and how one is taken over."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from resdeg import files
from resdeg.errors import StorageError
from resdeg.records import RunSummary
from resdeg.store.folders import RunStore
from resdeg.store.generations import newest

_LOCKS = ("lock", "lock-owner", "lease")


@dataclass(frozen=True)
class RunCopy:
    """What has to be equal in all copies of a run; clocks and the machines that worked on it may differ.

    Args:
        config: the bytes of config.json.
        lines: the whole lines of metrics.jsonl.
        summary: how the run ended; None as long as it goes on.
        training: the data hash and the semantics of each process that worked on it.
    """

    store: RunStore
    config: bytes
    lines: Sequence[bytes]
    summary: RunSummary | None
    training: frozenset[tuple[str, int]]

    @classmethod
    def read(cls, run: RunStore) -> RunCopy:
        """Reads a run that has begun.

        Raises:
            StorageError: its settings, its summary or its environment cannot be read.
        """
        run.config()
        segments = run.environment().segments
        return cls(
            store=run,
            config=files.read(run.folder / "config.json") or b"",
            lines=run.lines("metrics.jsonl"),
            summary=run.summary() if run.ended() else None,
            training=frozenset((segment.data_hash, segment.semantics) for segment in segments),
        )

    @cached_property
    def progress(self) -> tuple[bool, int, int]:
        """How far the training is: whether it has ended, its records, the step of its checkpoint."""
        checkpoint = None if self.summary else self.store.checkpoint()
        return self.summary is not None, len(self.lines), 0 if checkpoint is None else checkpoint[0].step

    @cached_property
    def extras(self) -> tuple[bool, int, int]:
        """What there is besides the training: weights, measured numbers, snapshots."""
        snapshots = sum(1 for _ in self.store.snapshots([]))
        return self.store.checkpoint() is not None, len(self.store.lines("diagnostics.jsonl")), snapshots


def find_difference(copy: RunCopy, other: RunCopy) -> str | None:
    """Names the file, and the line or field, in which two copies of a run contradict each other.

    A run that has not ended agrees with one that is further ahead if its records are the first ones there.
    """
    number = _find_line(copy.config.splitlines(), other.config.splitlines())
    if number is not None or copy.config != other.config:
        return f"config.json, line {1 if number is None else number}"
    if (number := _find_line(copy.lines, other.lines)) is not None:
        return f"metrics.jsonl, line {number}"
    behind, ahead = sorted((copy, other), key=lambda each: len(each.lines))
    if behind.summary is not None and len(behind.lines) < len(ahead.lines):
        return f"metrics.jsonl, line {len(behind.lines) + 1}"
    if copy.summary is not None and other.summary is not None:
        for (name, value), (_, others) in zip(copy.summary, other.summary, strict=True):
            if value != others and not name.endswith("seconds"):
                return f"summary.json, {name}"
    if copy.training and other.training and copy.training != other.training:
        return "environment.json, data_hash or semantics"
    return None


def _find_line(lines: Sequence[bytes], others: Sequence[bytes]) -> int | None:
    """Returns the number, from 1, of the first line that both have and that differs."""
    pairs = enumerate(zip(lines, others, strict=False), start=1)
    return next((number for number, (line, other) in pairs if line != other), None)


def check_run(run: RunStore) -> None:
    """Refuses a run that is not whole: every record is read, and every hash of its weights is compared.

    Raises:
        StorageError: a file is damaged, or not that of this run.
    """
    run_id = run.config().run_id
    summary, records = run.summary(), run.metrics()
    run.environment(), run.origin(), run.timing(), run.diagnostics()  # refuse what they cannot read
    notices: list[str] = []
    generation = newest(run.folder, run_id, notices)
    for _ in run.snapshots(notices):
        pass
    if notices:
        raise StorageError(f"{run.folder}: {notices[0].partition(', trying')[0].removeprefix(f'{run_id}: ')}")
    if summary is None or not run.ended():
        return
    metrics = run.folder / "metrics.jsonl"
    if generation is not None and generation[0].metrics_bytes != len(files.read(metrics) or b""):
        raise StorageError(f"{metrics}: damaged, its length is not the one that the checkpoint names")
    if summary.status == "finished":
        last = (records[-1].step, records[-1].test_accuracy) if records else None
        if last != (summary.step, summary.test_accuracy):
            raise StorageError(f"{metrics}: damaged, its end is not the one that summary.json names")


def list_files(run: RunStore) -> list[Path]:
    """Lists the files of a run below its folder, without locks and what killed writers left.

    Raises:
        StorageError: there is a link or another special file, or a folder cannot be read.
    """
    return [path.relative_to(run.folder) for path in _walk(run.folder)]


def _walk(folder: Path) -> Iterator[Path]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise StorageError(f"cannot read {folder}: {error.strerror}") from error
    for entry in entries:
        if entry.name in _LOCKS or entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path))
        elif entry.is_file(follow_symlinks=False):
            yield Path(entry.path)
        else:
            raise StorageError(f"{entry.path}: is a link or another special file, which is not followed")


def copy_files(run: RunStore, names: Sequence[Path], target: RunStore) -> None:
    """Copies files of a run, see `list_files`, to the new folder of `target`, on the disk itself.

    Raises:
        StorageError: a file cannot be read, or the disk refuses.
    """
    folders = {(target.folder / name).parent for name in names}
    for folder in sorted(folders):
        files.make_folder(folder)
    for name in names:
        files.copy_new(run.folder / name, target.folder / name)
    for folder in folders:
        files.sync_folder(folder)
