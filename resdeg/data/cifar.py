"""CIFAR-10 in the official binary layout: found, checked, put in canonical order, cached.

A record is 3,073 bytes: a label, then 1,024 red, 1,024 green and 1,024 blue pixels, row by row.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import platformdirs

from resdeg import files
from resdeg.data.images import Bytes, Dataset, Shape, Split, canonical, content_hash, split
from resdeg.errors import DataError, StorageError

SIDE, RECORD = 32, 3_073
CACHE_SCHEMA = 1


@dataclass(frozen=True)
class Layout:
    """What the official distribution holds; tests describe a small one."""

    folder: str = "cifar-10-batches-bin"
    archive: str = "cifar-10-binary.tar.gz"
    archive_sha256: str = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
    train: tuple[str, ...] = tuple(f"data_batch_{k}.bin" for k in range(1, 6))
    test: tuple[str, ...] = ("test_batch.bin",)
    records: int = 10_000  # per file
    classes: int = 10


CIFAR10 = Layout()
SHAPE = Shape(classes=10, side=SIDE, train=50_000, test=10_000)


def cache_folder() -> Path:
    """RESDEG_CACHE_DIR, else where the platform keeps caches."""
    return Path(os.environ.get("RESDEG_CACHE_DIR") or platformdirs.user_cache_dir("resdeg"))


def find(place: Path | None, layout: Layout = CIFAR10) -> Path:
    """The archive, or the folder that holds the batch files.

    Args:
        place: that archive or folder, or the folder around it; it never falls through to another.
            None looks in the cache.

    Raises:
        DataError: neither is there.
    """
    root = cache_folder() if place is None else place.expanduser()
    if root.is_file():
        return root
    for folder in (root, root / layout.folder):
        if any((folder / name).exists() for name in layout.train + layout.test):
            return folder
    if (root / layout.archive).is_file():
        return root / layout.archive
    missing = "has neither" if root.is_dir() else "is not there; wanted is"
    raise DataError(
        f"CIFAR-10 not found: {root} {missing} a folder {layout.folder}/ "
        f"({layout.train[0]} ... {layout.test[0]}) or {layout.archive}",
        "give its place by --data-dir or RESDEG_DATA_DIR, or try --data hierarchy, which needs no file",
    )


def check_place(place: Path | None) -> None:
    find(place)


def load(place: Path | None = None, layout: Layout = CIFAR10) -> Dataset:
    """The data set from `place`, through a cache of memory-mapped arrays.

    Raises:
        DataError: not found, or sizes, labels, class counts or the archive's SHA-256 are wrong.
    """
    found = find(place, layout)
    cache = cache_folder() / "arrays" / _signature(found, layout)
    cached = _from_cache(cache)
    if cached is None:
        train, test = _read(found, layout)
        cached = Dataset(
            name="cifar10",
            classes=layout.classes,
            train=split(train, SIDE),
            test=split(test, SIDE),
            validation=None,
            hash=content_hash(train, test),
        )
        _to_cache(cache, cached)
    return cached


# ---------------------------------------------------------------- reading


def _read(found: Path, layout: Layout) -> tuple[Bytes, Bytes]:
    batches = _from_archive(found, layout) if found.is_file() else _from_folder(found, layout)
    content = dict(batches)
    train, test = (
        np.concatenate([_records(content[name], f"{found}: {name}", layout) for name in names])
        for names in (layout.train, layout.test)
    )
    for records, names in ((train, layout.train), (test, layout.test)):
        counts = np.bincount(records[:, 0], minlength=layout.classes)
        if len(set(counts)) != 1:
            raise DataError(
                f"{found}: the classes of {names[0]}... have {counts.tolist()} images; they should be equal",
                "this is not the official data set; fetch it again",
            )
    return canonical(train), canonical(test)


def _from_folder(folder: Path, layout: Layout) -> Iterator[tuple[str, bytes]]:
    for name in layout.train + layout.test:
        content = files.read(folder / name)
        if content is None:
            raise DataError(f"{folder}: {name} is missing", "fetch the folder again")
        yield name, content


def _from_archive(path: Path, layout: Layout) -> Iterator[tuple[str, bytes]]:
    """The batch files out of the archive, in memory: verified first, nothing extracted."""
    content = files.read(path)
    assert content is not None, "find() saw it"
    found = hashlib.sha256(content).hexdigest()
    if found != layout.archive_sha256:
        raise DataError(
            f"{path}: SHA-256 is {found}, expected {layout.archive_sha256}; the file is not used",
            "fetch the official archive again, or give an unpacked folder",
        )
    wanted = {f"{layout.folder}/{name}": name for name in layout.train + layout.test}
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        for member in archive:
            if member.name in wanted and member.isreg():
                opened = archive.extractfile(member)
                assert opened is not None, "a regular member opens"
                yield wanted.pop(member.name), opened.read(layout.records * RECORD + 1)
    if wanted:
        raise DataError(f"{path}: has no {next(iter(wanted))}", "fetch the official archive again")


def _records(content: bytes, where: str, layout: Layout) -> Bytes:
    expected = layout.records * RECORD
    if len(content) != expected:
        raise DataError(
            f"{where} has {len(content):,} bytes, expected {expected:,}",
            "the file is cut or not CIFAR-10; fetch it again",
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, RECORD)
    if (top := int(records[:, 0].max())) >= layout.classes:
        raise DataError(f"{where} has label {top}, expected 0 to {layout.classes - 1}", "fetch it again")
    return records


# ---------------------------------------------------------------- the cache


def _signature(found: Path, layout: Layout) -> str:
    """Changes whenever a source file does: paths, sizes, times and inodes."""
    names = [found] if found.is_file() else [found / name for name in layout.train + layout.test]
    facts: list[object] = [CACHE_SCHEMA, layout.classes, layout.records]
    for path in names:
        if path.exists():
            stat = path.stat()
            facts.append([str(path.resolve()), stat.st_size, stat.st_mtime_ns, stat.st_ino])
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


_PARTS = ("train.images", "train.labels", "test.images", "test.labels")


def _to_cache(folder: Path, data: Dataset) -> None:
    arrays = (data.train.images, data.train.labels, data.test.images, data.test.labels)
    meta: dict[str, object] = {"name": data.name, "classes": data.classes, "hash": data.hash}
    try:
        files.make_folder(folder)
        for part, array in zip(_PARTS, arrays, strict=True):
            buffer = io.BytesIO()
            np.save(buffer, array, allow_pickle=False)
            files.write(folder / f"{part}.npy", buffer.getvalue())
            meta[part] = hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
        files.write(folder / "meta.json", json.dumps(meta).encode())  # last: what is named is there
    except StorageError:
        pass  # a read-only cache costs a second at each start, nothing else


def _from_cache(folder: Path) -> Dataset | None:
    """The cached arrays, memory-mapped copy on write, so shared; None unless every hash holds."""
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
