"""Weights that a run stores on its way: a file per step, named by the step and the SHA-256 of its bytes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from resdeg import files

FOLDER = "snapshots"
_NAME = re.compile(r"([0-9]{9})-([0-9a-f]{16})\.safetensors")


def write_snapshot(run: Path, step: int, tensors: bytes) -> None:
    """Stores `tensors` as those of `step`; a whole file of the same bytes is left as it is."""
    folder = run / FOLDER
    path = folder / f"{step:09d}-{_digest(tensors)}.safetensors"
    if files.read(path) == tensors:
        return
    files.make_folder(folder)
    for other in folder.glob(f"{step:09d}-*"):  # a training that was begun anew may have other bits
        files.remove(other)
    files.write(path, tensors)


def list_snapshots(run: Path) -> list[Path]:
    """Lists the files of the snapshots of a run, steps rising; files with other names are passed over."""
    return [path for path in sorted((run / FOLDER).glob("*")) if _NAME.fullmatch(path.name)]


def read_snapshots(run: Path, notices: list[str]) -> Iterator[tuple[int, bytes]]:
    """Reads the step and the tensors of each whole snapshot, steps rising; `notices` names the others."""
    for path in list_snapshots(run):
        step, digest = path.stem.split("-")
        tensors = files.read(path) or b""
        if _digest(tensors) == digest:
            yield int(step), tensors
        else:
            notices.append(f"{run.name}: {FOLDER}/{path.name} is damaged")


def _digest(tensors: bytes) -> str:
    return hashlib.sha256(tensors).hexdigest()[:16]
