"""Parquet files as the Hugging Face hub has them: a column of PNG files and a column of labels."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from resdeg.data import image_files
from resdeg.data.images import Shape, Split, check_labels
from resdeg.errors import DataError

_IMAGE_COLUMNS = ("img", "image")
# They are the folder of a configuration, the folder around it, and the hub's cache of a repository.
_PATTERNS = (
    "*.parquet",
    "*/*.parquet",
    "*/*/*.parquet",
    "snapshots/*/*/*.parquet",
    "snapshots/*/*/*/*.parquet",
)
_SPLIT = re.compile(r"(?:^|[-_.])(train|test)(?:$|[-_.])")
_ROWS = 1_000  # are read at once
_AGAIN = "download it again, or use `resdeg data fetch`"

Files = dict[str, list[Path]]  # the files of each split, in whatever number of shards


def is_parquet(path: Path) -> bool:
    """Says whether `path` is a parquet file, or a folder that has some where the hub has them."""
    return path.suffix == ".parquet" if path.is_file() else any(_list_files(path))


def read(path: Path, shape: Shape, label_columns: tuple[str, ...]) -> tuple[Split, Split]:
    """Reads the training and the test split.

    Args:
        path: a folder, or one of the files, with which those beside it are read.
        label_columns: see `recognise`.

    Raises:
        DataError: pyarrow is not installed, a split is missing, or a file is not what it should be.
    """
    chosen = _choose_files(path)
    train = _read_split(chosen["train"], shape, label_columns, count=shape.train)
    return train, _read_split(chosen["test"], shape, label_columns, count=shape.test)


def _list_files(folder: Path) -> Iterable[Path]:
    for pattern in _PATTERNS:
        yield from (path for path in sorted(folder.glob(pattern)) if not path.name.startswith("."))


def _name_split(path: Path) -> tuple[Path, str] | None:
    """Returns the folder of the data set and the split of a file, by its name or by its folder's."""
    if match := _SPLIT.search(path.stem.lower()):
        return path.parent, match[1]
    if path.parent.name.lower() in ("train", "test"):
        return path.parent.parent, path.parent.name.lower()
    return None


def _choose_files(path: Path) -> Files:
    """Chooses the one group of files under `path`, or around it, that has both splits.

    Raises:
        DataError: there is no such group, or more than one.
    """
    root = path
    if path.is_file():
        named = _name_split(path.absolute())
        if named is None:
            raise DataError(
                f"{path}: its name does not say whether it is the training or the test split",
                "name the files train.parquet and test.parquet, in one folder",
            )
        root = named[0]
    groups: dict[Path, Files] = defaultdict(lambda: {"train": [], "test": []})
    for file in _list_files(root):
        if (named := _name_split(file)) and (root == path or named[0] == root):
            groups[named[0]][named[1]].append(file)
    whole = {
        tuple(file.resolve() for name in ("train", "test") for file in group[name]): (folder, group)
        for folder, group in groups.items()
        if group["train"] and group["test"]
    }
    if not whole:
        missing = "test" if any(group["train"] for group in groups.values()) else "train"
        raise DataError(
            f"{root}: has no parquet file of the split '{missing}'",
            f"put {missing}-00000-of-00001.parquet beside the other file",
        )
    if len(whole) > 1:
        folders = ", ".join(str(folder) for folder, _ in whole.values())
        raise DataError(f"{root}: has more than one data set: {folders}"[:600], "give one of these folders")
    return next(iter(whole.values()))[1]


def _read_split(paths: list[Path], shape: Shape, label_columns: tuple[str, ...], *, count: int) -> Split:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise DataError(f"{paths[0]}: pyarrow reads parquet files", "pip install pyarrow") from error
    try:
        return _read_tables(paths, shape, label_columns, count=count)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        reason = str(error).split("\n", maxsplit=1)[0][:200]
        raise DataError(f"{paths[0]}: is not a whole parquet file ({reason})", _AGAIN) from error


def _read_tables(paths: list[Path], shape: Shape, label_columns: tuple[str, ...], *, count: int) -> Split:
    import pyarrow.parquet

    tables = [pyarrow.parquet.ParquetFile(path) for path in paths]
    try:
        columns = [
            _choose_columns(table, path, label_columns) for table, path in zip(tables, paths, strict=True)
        ]
        rows = sum(table.metadata.num_rows for table in tables)
        if rows != count:  # a file that claims more rows is not read at all
            raise DataError(f"{paths[0]}: {rows:,} images, expected {count:,}", _AGAIN)
        labels = [_read_labels(table, label) for table, (_, label) in zip(tables, columns, strict=True)]
        checked = check_labels(np.concatenate(labels), str(paths[0]), count=count, classes=shape.classes)
        images = [
            image_files.decode(_read_cells(table, image), shape.side, where=str(path), formats=("PNG",))
            for table, path, (image, _) in zip(tables, paths, columns, strict=True)
        ]
    finally:
        for table in tables:
            table.close()
    return Split(np.concatenate(images), checked)


def _choose_columns(table: Any, path: Path, label_columns: tuple[str, ...]) -> tuple[str, str]:
    """Returns the names of the columns of images and labels, whose types are checked."""
    import pyarrow

    schema = table.schema_arrow
    image = next((name for name in _IMAGE_COLUMNS if name in schema.names), None)
    label = next((name for name in label_columns if name in schema.names), None)
    if image is None or label is None:
        raise DataError(
            f"{path}: has the columns {', '.join(schema.names)}; expected {' or '.join(_IMAGE_COLUMNS)}, and "
            f"{' or '.join(label_columns)}"[:600],
            "if it is another data set, name it by --data",
        )
    kind = schema.field(image).type
    if pyarrow.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        kind = kind.field("bytes").type
    if not (pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind)):
        raise DataError(
            f"{path}: the column {image} holds {kind}, expected the bytes of PNG files"[:600], _AGAIN
        )
    if not pyarrow.types.is_integer(kind := schema.field(label).type):
        raise DataError(f"{path}: the column {label} holds {kind}, expected whole numbers"[:600], _AGAIN)
    return image, label


def _read_labels(table: Any, column: str) -> Any:
    """Reads labels (N,); an empty cell becomes -1, which is no label."""
    return table.read(columns=[column]).column(0).fill_null(-1).to_numpy()


def _read_cells(table: Any, column: str) -> list[bytes]:
    """Reads the bytes of the files in a column; an empty cell becomes no bytes."""
    images: list[bytes] = []
    for batch in table.iter_batches(batch_size=_ROWS, columns=[column]):
        cells = batch.column(0)
        if hasattr(cells, "field"):
            cells = cells.field("bytes")
        images += [cell or b"" for cell in cells.to_pylist()]
    return images
