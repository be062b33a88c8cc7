"""The two generations of a checkpoint: the newest one counts whose bytes are as they were written."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from resdeg import files
from resdeg.errors import StorageError
from resdeg.records import Manifest


def newest(folder: Path, run_id: str, notices: list[str]) -> tuple[Manifest, bytes] | None:
    """Reads the newest generation in `folder` whose every hash holds, and its tensors.

    Each damaged generation adds a line to `notices`. The result is None if no generation is whole.
    """
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


def sealed(manifest: Manifest) -> bytes:
    """Writes the manifest as JSON together with its SHA-256, so that a flipped bit in it is seen."""
    seal = hashlib.sha256(manifest.to_json().encode()).hexdigest()
    return json.dumps({"manifest": json.loads(manifest.to_json()), "sha256": seal}).encode() + b"\n"


def _unsealed(content: bytes) -> Manifest | None:
    try:
        manifest = Manifest.from_json(json.dumps(json.loads(content)["manifest"]), "manifest.json")
        return manifest if sealed(manifest) == content else None
    except (ValueError, KeyError, TypeError, StorageError):
        return None
