"""Arrays that were read once and that every process memory-maps from then on."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
from pathlib import Path

import numpy as np
import platformdirs

from resdeg import files
from resdeg.config import expand_home
from resdeg.data.images import Dataset, Split
from resdeg.errors import StorageError

_PARTS = ("train.images", "train.labels", "test.images", "test.labels")


def cache_folder() -> Path:
    """Returns RESDEG_CACHE_DIR, or else the platform's folder for caches.

    Raises:
        StorageError: there is none, because this user has no home folder.
    """
    if given := os.environ.get("RESDEG_CACHE_DIR"):
        return expand_home(Path(given))
    with contextlib.suppress(RuntimeError):  # some releases of platformdirs raise it, others return the tilde
        if (folder := Path(platformdirs.user_cache_dir("resdeg"))).is_absolute():
            return folder
    raise StorageError(
        "there is no folder for the cache, because this user has no home folder",
        "set RESDEG_CACHE_DIR to a folder, or HOME",
    )


def store(folder: Path, data: Dataset) -> None:
    """Writes the arrays of `data` and, last, the file that names them and their hashes.

    Raises:
        StorageError: the disk refuses.
    """
    arrays = (data.train.images, data.train.labels, data.test.images, data.test.labels)
    meta: dict[str, object] = {"name": data.name, "classes": data.classes, "hash": data.hash}
    files.make_folder(folder)
    for part, array in zip(_PARTS, arrays, strict=True):
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        files.write(folder / f"{part}.npy", buffer.getvalue())
        meta[part] = hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
    files.write(folder / "meta.json", json.dumps(meta).encode())


def fetch(folder: Path) -> Dataset | None:
    """Maps the arrays in `folder` copy on write, so processes share them; None unless all hashes hold."""
    try:
        meta = json.loads((folder / "meta.json").read_bytes())
        arrays = {part: np.load(folder / f"{part}.npy", mmap_mode="c") for part in _PARTS}
        if any(hashlib.sha256(arrays[part].data).hexdigest() != meta[part] for part in _PARTS):
            return None
        train = Split(arrays["train.images"], arrays["train.labels"])
        test = Split(arrays["test.images"], arrays["test.labels"])
        return Dataset(meta["name"], meta["classes"], train, test, None, meta["hash"])
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None
