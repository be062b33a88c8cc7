"""The data set `folder`: a user's own images, in train/ and test/, with a folder for each class in both.

They are known by their data hash. The arrays lie in the cache under it, so a sweep goes on wherever the
folder is by then, and a folder that is named again is read again only if one of its files changed.
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from resdeg import files
from resdeg.config import FOLDER, DataConfig, FolderConfig, Settings, expand_home
from resdeg.config.data_settings import LARGEST_SIDE, SMALLEST_SIDE
from resdeg.data import cache
from resdeg.data.batch_plan import MOST_IMAGES
from resdeg.data.cache import cache_folder
from resdeg.data.image_files import decode, list_classes
from resdeg.data.images import Dataset, Shape, Split, canonical, content_hash, records_of, split
from resdeg.errors import DataError, StorageError

_SPLITS = ("train", "test")
_LAYOUT = "give a folder with train/ and test/, and in both a folder of images for each class"
_MOST_CLASSES = 256  # a label is a byte


@dataclass(frozen=True)
class _Listing:
    """The image files of each split, by class, and a signature that changes whenever one of them does."""

    root: Path
    splits: dict[str, dict[str, list[Path]]]
    signature: str


def describe_folder(data_dir: Path) -> Settings:
    """Returns the table data.folder of the images in `data_dir`, which are read unless they are in the cache.

    Raises:
        DataError: they are no data set; the message says why, and what to do.
    """
    listing = _list_files(data_dir)
    table = _recall_table(listing)
    return (_read(listing)[1] if table is None else table).model_dump()


def shape(config: DataConfig) -> Shape:
    """Returns the sizes of the images and splits that `load` loads."""
    table = _table(config)
    return Shape(table.classes, table.side, table.train, table.test)


def find(config: DataConfig, data_dir: Path | None) -> None:
    """Checks, without a look at the images, that they can be at `data_dir`, or else in the cache.

    Raises:
        DataError: they cannot.
    """
    if data_dir is not None:
        _check_splits(expand_home(data_dir))
    elif not _is_cached(_table(config)):
        raise _missing(_table(config))


def load(config: DataConfig, data_dir: Path | None) -> Dataset:
    """Loads the images that `config` means, from the folder `data_dir`, or (None) from the cache.

    Raises:
        DataError: they are not there, or the folder now holds other images.
    """
    table = _table(config)
    listing = None if data_dir is None else _list_files(data_dir)
    # Where a folder is named its images count, whatever the cache has.
    known = table if listing is None else _recall_table(listing)
    dataset = None if known is None else cache.fetch(_arrays_folder(known))
    if dataset is None:
        if listing is None:
            raise _missing(table)
        dataset, _ = _read(listing)
    if dataset.hash != table.hash or dataset.shape != shape(config):
        raise DataError(
            f"{data_dir or table.name}: its data hash is {dataset.hash}, and that of the images of "
            f"{table.name} is {table.hash}: some image or label was changed, added or removed",
            "give the --data-dir of the images as they were; --data folder:DIR and another --out take these",
        )
    return dataset


def _table(config: DataConfig) -> FolderConfig:
    assert config.folder is not None, "config refuses this data set without it"
    return config.folder


def _missing(table: FolderConfig) -> DataError:
    return DataError(
        f"the images of {table.name}, data hash {table.hash[:12]}, are not in the cache ({cache_folder()})",
        "give --data-dir DIR, the folder that holds them",
    )


# ---------------------------------------------------------------- files


def _list_files(data_dir: Path) -> _Listing:
    root = expand_home(data_dir)
    _check_splits(root)
    splits = {name: list_classes(root / name) for name in _SPLITS}
    for first, second in (_SPLITS, _SPLITS[::-1]):
        if missing := [name for name in splits[first] if name not in splits[second]]:
            raise DataError(
                f"{root}: the class {missing[0]} is in {first}/ and not in {second}/",
                "give both splits the same classes",
            )
    classes = len(splits["train"])
    if not 2 <= classes <= _MOST_CLASSES:
        raise DataError(
            f"{root}: has {classes} class{'es' * (classes != 1)}, which must be 2 to {_MOST_CLASSES}", _LAYOUT
        )
    return _Listing(root, splits, _sign(root, splits))


def _check_splits(root: Path) -> None:
    if not root.is_dir():
        raise DataError(f"{root}: is not a folder" if root.exists() else f"{root}: is not there", _LAYOUT)
    for name in _SPLITS:
        if not (root / name).is_dir():
            val = root / "val"
            rename = f"rename {val} to {root / name}, if its images are to test the networks"
            has_val = name == "test" and val.is_dir()
            raise DataError(f"{root}: has no {name}/", rename if has_val else _LAYOUT)


def _sign(root: Path, splits: dict[str, dict[str, list[Path]]]) -> str:
    """Makes a name that changes with every file that is changed, added or removed, but not with `root`."""
    digest = hashlib.sha256()
    for classes in splits.values():
        for paths in classes.values():
            for path in paths:
                with contextlib.suppress(OSError):  # whoever reads the file says what is wrong with it
                    stat = path.stat()
                    # Programs that copy a file can set back its time, but not that of its last change.
                    facts = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev]
                    digest.update(f"{path.relative_to(root)}\0{facts}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()[:16]


def _read(listing: _Listing) -> tuple[Dataset, FolderConfig]:
    """Decodes every image, and stores arrays and table in the cache."""
    paths = [path for classes in listing.splits.values() for each in classes.values() for path in each]
    side = _check_size(paths[0])
    if len(paths) > MOST_IMAGES:
        raise DataError(f"{listing.root}: {len(paths):,} images are more than {MOST_IMAGES:,}", _LAYOUT)
    pixels, parts, start = decode(paths), [], 0
    for classes in listing.splits.values():
        counts = [len(each) for each in classes.values()]
        labels = np.repeat(np.arange(len(counts), dtype=np.uint8), counts)
        parts.append(canonical(records_of(Split(pixels[start : start + len(labels)], labels))))
        start += len(labels)
    train, test = (split(part, side) for part in parts)
    dataset = Dataset(FOLDER, len(counts), train, test, None, content_hash(*parts))
    table = FolderConfig(
        name=_name(listing.root),
        classes=len(counts),
        side=side,
        train=len(train),
        test=len(test),
        hash=dataset.hash,
    )
    with contextlib.suppress(StorageError):  # without a cache every process decodes the images
        cache.store(_arrays_folder(table), dataset)
        files.make_folder(_table_path(listing).parent)
        files.write(_table_path(listing), table.model_dump_json().encode())
    return dataset, table


def _check_size(path: Path) -> int:
    """Returns the side of the image at `path`, which the others must have as well."""
    height, width = map(int, decode([path]).shape[1:3])
    if height != width:
        raise DataError(
            f"{path}: has {width} x {height} pixels, and images must be square", "crop or pad all of them"
        )
    if not SMALLEST_SIDE <= height <= LARGEST_SIDE:
        raise DataError(
            f"{path}: has {width} x {height} pixels, and a side must have {SMALLEST_SIDE} to {LARGEST_SIDE}",
            "scale all of them, e.g. to 32 x 32",
        )
    return height


def _name(root: Path) -> str:
    """Returns the last name of the folder for titles, as far as it can be printed."""
    name = root.name if root.name not in ("", "..") else root.resolve().name
    name = "".join(letter for letter in name if letter.isprintable())
    return name[:60] or "images"


# ---------------------------------------------------------------- the cache


def _arrays_folder(table: FolderConfig) -> Path:
    return cache_folder() / "arrays" / f"{FOLDER}-{table.hash[:16]}"


def _table_path(listing: _Listing) -> Path:
    return cache_folder() / "folders" / f"{listing.signature}.json"


def _recall_table(listing: _Listing) -> FolderConfig | None:
    """Recalls what the files were when they were last read; None if they have changed, or are not cached."""
    with contextlib.suppress(ValidationError, StorageError):
        table = FolderConfig.model_validate_json(files.read(_table_path(listing)) or b"")
        if _is_cached(table):
            return table.model_copy(update={"name": _name(listing.root)})  # it may have been renamed
    return None


def _is_cached(table: FolderConfig) -> bool:
    return (_arrays_folder(table) / "meta.json").is_file()
