"""Weights that a run keeps on its way: a file per step, named by the step and the SHA-256 of its bytes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from resdeg import files

FOLDER = "snapshots"
_NAME = re.compile(r"([0-9]{9})-([0-9a-f]{16})\.safetensors")


def keep(run: Path, step: int, tensors: bytes) -> None:
    """Store `tensors` as those of `step`; a whole file of the same bytes is left as it is."""
    folder = run / FOLDER
    path = folder / f"{step:09d}-{_digest(tensors)}.safetensors"
    if files.read(path) == tensors:
        return
    files.make_folder(folder)
    for other in folder.glob(f"{step:09d}-*"):  # of a training that was begun anew, with other bits
        files.remove(other)
    files.write(path, tensors)


def kept(run: Path, notices: list[str]) -> Iterator[tuple[int, bytes]]:
    """Step and tensors of each that is as it was written, steps rising; the others are named."""
    for path in sorted((run / FOLDER).glob("*")):
        if named := _NAME.fullmatch(path.name):
            tensors = files.read(path) or b""
            if _digest(tensors) == named[2]:
                yield int(named[1]), tensors
            else:
                notices.append(f"{run.name}: {FOLDER}/{path.name} is damaged")


def _digest(tensors: bytes) -> str:
    return hashlib.sha256(tensors).hexdigest()[:16]
