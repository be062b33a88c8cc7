"""CIFAR as PNG files: in a folder per class, or in Kaggle's numbers with a table of labels."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from resdeg import files
from resdeg.data import image_files
from resdeg.data.images import Bytes, Shape, Split, check_labels
from resdeg.errors import DataError

_SYNONYMS = {"plane": "airplane", "car": "automobile"}  # PyTorch's tutorial on CIFAR-10 calls them so
_TABLES = {"train": "trainLabels.csv", "test": "testLabels.csv"}  # Kaggle has the first one only


def is_by_class(path: Path) -> bool:
    """Says whether the folder has a folder `train` or `test` that holds folders or images."""
    folders = [_find_folder(path, name) for name in ("train", "test")] if path.is_dir() else []
    entries = [entry for folder in folders if folder for entry in image_files.list_entries(folder)]
    return any(image_files.is_image(entry) or entry.is_dir() for entry in entries)


def is_kaggle(path: Path) -> bool:
    """Says whether the folder has Kaggle's table of training labels."""
    return (path / _TABLES["train"]).is_file()


def _find_folder(folder: Path, name: str) -> Path | None:
    """Finds a folder by its name in any letter case."""
    entries = image_files.list_entries(folder)
    return next((entry for entry in entries if entry.name.lower() == name and entry.is_dir()), None)


def read_by_class(root: Path, shape: Shape, class_names: tuple[str, ...]) -> tuple[Split, Split]:
    """Reads `train/<class>/*.png` and `test/<class>/*.png`.

    Classes have their names, in any letter case, or their numbers.

    Raises:
        DataError: a split or a class is missing, a folder is no class, or an image is not what it should be.
    """
    listed = []
    for name, count in (("train", shape.train), ("test", shape.test)):
        folder = _find_folder(root, name)
        if folder is None:
            raise DataError(f"{root}: has no folder {name}", "both splits are needed: train and test")
        by_label = _match_classes(image_files.list_classes(folder), folder, shape.classes, names=class_names)
        labels = np.repeat(np.arange(shape.classes), [len(by_label[k]) for k in range(shape.classes)])
        paths = [path for label in range(shape.classes) for path in by_label[label]]
        checked = check_labels(labels, str(folder), count=count, classes=shape.classes, names=class_names)
        listed.append((paths, checked))
    train, test = (Split(_decode(paths, shape.side), labels) for paths, labels in listed)
    return train, test


def _match_classes(
    classes: dict[str, list[Path]], folder: Path, count: int, *, names: tuple[str, ...]
) -> dict[int, list[Path]]:
    """Returns the files of each label, of which none is missing."""
    known = {name: label for label, name in enumerate(names)}
    known |= {short: known[name] for short, name in _SYNONYMS.items() if name in known}
    known |= {str(label): label for label in range(count)}
    expected = f"{', '.join(names)}, or 0 to {count - 1}" if names else f"0 to {count - 1}"
    by_label: dict[int, list[Path]] = {}
    for name, paths in classes.items():
        label = known.get(name.lower())
        if label is None or label in by_label:
            why = "is no class" if label is None else "is a class for the second time"
            raise DataError(
                f"{folder / name}: {why}; expected {expected}"[:600], "rename or remove the folder"
            )
        by_label[label] = paths
    if missing := [label for label in range(count) if label not in by_label]:
        title = f"{missing[0]} ({names[missing[0]]})" if names else str(missing[0])
        raise DataError(f"{folder}: the class {title} is missing", f"expected folders {expected}"[:600])
    return by_label


def read_kaggle(root: Path, shape: Shape, class_names: tuple[str, ...]) -> tuple[Split, Split]:
    """Reads `train/<id>.png` with `trainLabels.csv`, and a test split in the same form.

    Raises:
        DataError: there are no labels for a test split, as in what Kaggle itself gives, or the tables or
            images are not what they should be.
    """
    if not (root / _TABLES["test"]).is_file():
        raise DataError(
            f"{root}: Kaggle's test images cannot be proven genuine: it changed them slightly, hid them "
            "among 290,000 others, and gives no labels for them",
            "use `resdeg data fetch`, or add the genuine test images as test/<id>.png and testLabels.csv",
        )
    listed = []
    for split, count in (("train", shape.train), ("test", shape.test)):
        table, folder = root / _TABLES[split], _find_folder(root, split)
        if folder is None:
            raise DataError(f"{root}: has no folder {split}", f"unpack Kaggle's {split}.7z there")
        by_id = _read_table(table, class_names)
        if len(by_id) != count:
            absent = next((number for number in range(1, count + 1) if number not in by_id), None)
            more = "" if absent is None else f"; {absent} is the first id that is missing"
            raise DataError(
                f"{table}: {len(by_id):,} labels, expected {count:,}{more}", "take Kaggle's own file"
            )
        labels = np.array(list(by_id.values()))
        checked = check_labels(labels, str(table), count=count, classes=shape.classes, names=class_names)
        listed.append(([folder / f"{number}.png" for number in by_id], checked))
    train, test = (Split(_decode(paths, shape.side), labels) for paths, labels in listed)
    return train, test


def _read_table(table: Path, class_names: tuple[str, ...]) -> dict[int, int]:
    """Reads the label of each id from a CSV file with the columns id and label."""
    content = files.read(table)
    assert content is not None, "the file was there a moment ago"
    known = {name: label for label, name in enumerate(class_names)}
    by_id: dict[int, int] = {}
    try:
        rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"))))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{table}: is no CSV file ({error})", "take Kaggle's own file") from error
    if not rows or [name.strip().lower() for name in rows[0]] != ["id", "label"]:
        raise DataError(f"{table}: its first line is not id,label", "take Kaggle's own file")
    for line, row in enumerate(rows[1:], start=2):
        number, label = row if len(row) == 2 else ("", "")
        clean = label.strip().lower()
        if not (number.isascii() and number.isdigit()) or clean not in known or int(number) in by_id:
            shown = ",".join(row)[:80]
            raise DataError(
                f"{table}: line {line} is '{shown}', expected a new id and a class", "mend the line"
            )
        by_id[int(number)] = known[clean]
    return by_id


def _decode(paths: Sequence[Path], side: int) -> Bytes:
    return image_files.decode(paths, side, formats=("PNG",))
