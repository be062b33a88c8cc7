"""CIFAR-10 and CIFAR-100: read in any official layout, verified, put in canonical order and cached."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from resdeg import files
from resdeg.config import expand_home
from resdeg.data import batches, cache, download
from resdeg.data.batches import Layout
from resdeg.data.cache import cache_folder
from resdeg.data.images import Bytes, Dataset, Shape, canonical, content_hash, records_of, split
from resdeg.data.official import CIFAR10_LAYOUTS, CIFAR100_LAYOUTS
from resdeg.errors import DataError, StorageError

if TYPE_CHECKING:
    from resdeg.data.forms import Copy

SIDE = 32
_CACHE_SCHEMA = 2


@dataclass(frozen=True)
class Distribution:
    """A data set as it is officially distributed; tests describe a small one.

    content: the data hash of the genuine set, if it is known; other images are refused.
    class_names: the classes by label, for copies that name them; () if they are known by number only.
    label_columns: the names of the labels in tables of others, the first of which is there counts.
    """

    name: str
    title: str
    classes: int
    layouts: tuple[Layout, ...]
    train: int = 50_000
    test: int = 10_000
    content: str | None = None
    class_names: tuple[str, ...] = ()
    label_columns: tuple[str, ...] = ("label", "labels")

    @property
    def shape(self) -> Shape:
        return Shape(self.classes, SIDE, self.train, self.test)


CIFAR10 = Distribution(
    name="cifar10",
    title="CIFAR-10",
    classes=10,
    content="d54fdbe975162000ba5ac3c9c96dadb4d7321e3a27848046f08db01a8e39f4a7",
    class_names=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    layouts=CIFAR10_LAYOUTS,
)
CIFAR100 = Distribution(
    name="cifar100",
    title="CIFAR-100",
    classes=100,
    label_columns=("fine_label", "fine_labels", "label"),
    layouts=CIFAR100_LAYOUTS,
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
    if data_dir is None and (_arrays_folder(distribution) / "meta.json").is_file():
        return Location(_arrays_folder(distribution), None)
    if location := _find_official(root, distribution):
        return location
    if data_dir is not None and (copy := _recognise_copy(root, distribution)):
        name = "" if distribution.name == CIFAR10.name else f" --data {distribution.name}"
        raise DataError(
            f"{root}: {copy.title}, which a sweep does not read itself",
            f"run `resdeg data import {shlex.quote(str(root))}{name}` once, then leave --data-dir out",
        )
    layouts = distribution.layouts
    if root.is_file():
        known = " or ".join(f"{layout.archive} ({layout.archive_bytes:,} bytes)" for layout in layouts)
        raise DataError(
            f"{root}: {root.stat().st_size:,} bytes, which is not {known}; the file is not used",
            "fetch the official archive again, or give an unpacked folder",
        )
    folders = " or ".join(f"{layout.folder}/ ({layout.names[0]} ...)" for layout in layouts)
    archives = " or ".join(layout.archive for layout in layouts)
    missing = "holds none of" if root.is_dir() else "is not there; expected one of"
    raise DataError(
        f"{distribution.title} not found: {root} {missing}: a folder {folders}; an archive {archives}",
        "give its path by --data-dir or RESDEG_DATA_DIR, fetch it with `resdeg data fetch`, "
        "or try --data hierarchy, which needs no file",
    )


def _find_official(root: Path, distribution: Distribution) -> Location | None:
    """Finds batches in or below a folder, or an archive in it; an archive that is given may have any name."""
    layouts = distribution.layouts
    if root.is_file():
        named = [layout for layout in layouts if layout.archive == root.name]
        sized = [layout for layout in layouts if layout.archive_bytes == root.stat().st_size]
        return Location(root, (named or sized)[0]) if named or sized else None
    for layout in layouts:
        keras = root / f"{layout.folder}-target" / layout.folder  # Keras 3 unpacks the archive so
        for folder in (root, root / layout.folder, keras):
            if any((folder / name).is_file() for name in layout.names):
                return Location(folder, layout)
    for layout in layouts:
        if (root / layout.archive).is_file():
            return Location(root / layout.archive, layout)
    return None


def _recognise_copy(root: Path, distribution: Distribution) -> Copy | None:
    """Recognises what `keep` can read besides the official layouts."""
    from resdeg.data import forms  # imports Pillow, which only an import of images needs

    return forms.recognise(
        root,
        distribution.shape,
        class_names=distribution.class_names,
        label_columns=distribution.label_columns,
    )


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
        dataset = replace(dataset, hash=dataset.hash_content())
    else:
        records = batches.read(
            location.path,
            location.layout,
            train=distribution.train,
            test=distribution.test,
            classes=distribution.classes,
        )
        dataset = _assemble(records, distribution)
    _check_genuine(dataset, location.path, distribution)
    return dataset


def _assemble(records: tuple[Bytes, Bytes], distribution: Distribution) -> Dataset:
    """Puts the records (N, 3073) of both splits in canonical order."""
    train, test = (canonical(part) for part in records)
    return Dataset(
        name=distribution.name,
        classes=distribution.classes,
        train=split(train, SIDE),
        test=split(test, SIDE),
        validation=None,
        hash=content_hash(train, test),
    )


def _check_genuine(dataset: Dataset, path: Path, distribution: Distribution) -> None:
    """Compares the data hash with the genuine one, if that is known."""
    if distribution.content not in (None, dataset.hash):
        raise DataError(
            f"{path}: its data hash is {dataset.hash[:12]}, that of {distribution.title} is "
            f"{str(distribution.content)[:12]}: some image or label was changed",
            "fetch the official data set again",
        )


def keep(
    path: Path, distribution: Distribution = CIFAR10, *, say: Callable[[str], None] = lambda text: None
) -> Dataset:
    """Verifies what is at `path` and makes it the data set of this user.

    Args:
        path: an official archive or folder, or a copy in another form, see `recognise`.
        say: receives the form that was recognised and the number of images, if it is a copy.

    Raises:
        DataError: see `load`; StorageError: the cache cannot be written.
    """
    root = expand_home(path)
    official = _find_official(root, distribution)
    copy = None if official else _recognise_copy(root, distribution)
    if copy is None:
        dataset = read(official or find(path, distribution), distribution)
    else:
        train, test = copy.read()
        say(f"{copy.title}, {len(train):,} + {len(test):,} images")
        dataset = _assemble((records_of(train), records_of(test)), distribution)
        _check_genuine(dataset, root, distribution)
    cache.store(_arrays_folder(distribution), dataset)
    return dataset


def get(
    distribution: Distribution = CIFAR10,
    mirrors: tuple[str, ...] = (),
    *,
    say: Callable[[str], None] = lambda text: None,
    progress: download.Progress = lambda done, total: None,
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
    room = (size.train + size.test) * 3 * SIDE**2
    archive = download.download(file, folder, say=say, progress=progress, beside=room)
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
