"""A data set as it lies around: as parquet, as a file of arrays, and as PNG files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from resdeg.data.cifar import CIFAR10

NAMES = CIFAR10.class_names


def images_of(records: np.ndarray) -> np.ndarray:
    """Images (N, 32, 32, 3) of records (N, 3073)."""
    return np.ascontiguousarray(records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))


def encode(image: np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **({"compress_level": 0} if kind == "PNG" else {}), **options)
    return buffer.getvalue()


def pngs_of(records: np.ndarray) -> list[bytes]:
    return [encode(image) for image in images_of(records)]


def write_table(
    path: Path,
    images: Sequence[bytes | None],
    labels: Sequence[object],
    image: str = "img",
    label: str = "label",
    **more: list[object],
) -> Path:
    """One parquet file, as `datasets` writes it: a struct of bytes and path, and whole numbers."""
    import pyarrow
    import pyarrow.parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [{"bytes": png, "path": None} for png in images]
    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    columns = {image: pyarrow.array(cells, kind), label: pyarrow.array(labels), **more}
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return path


def write_parquet(folder: Path, train: np.ndarray, test: np.ndarray, **columns: str) -> Path:
    """The two files of the hub's repository, in the folder of their configuration."""
    for name, part in (("train", train), ("test", test)):
        path = folder / "plain_text" / f"{name}-00000-of-00001.parquet"
        write_table(path, pngs_of(part), part[:, 0].astype(np.int64), **columns)
    return folder


def arrays_of(train: np.ndarray, test: np.ndarray) -> dict[str, np.ndarray]:
    """What Keras returns."""
    return {
        "x_train": images_of(train), "y_train": train[:, :1],
        "x_test": images_of(test), "y_test": test[:, :1],
    }  # fmt: skip


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    np.savez(path, **arrays)
    return path


def write_by_class(folder: Path, train: np.ndarray, test: np.ndarray, names: Sequence[str] = NAMES) -> Path:
    for split, part in (("train", train), ("test", test)):
        for label in np.unique(part[:, 0]):
            (folder / split / names[label]).mkdir(parents=True)
        for number, (png, label) in enumerate(zip(pngs_of(part), part[:, 0], strict=True)):
            (folder / split / names[label] / f"{number:04}.png").write_bytes(png)
    return folder


def write_kaggle(folder: Path, train: np.ndarray, test: np.ndarray) -> Path:
    """Kaggle's training files, and a test split in the same form, which Kaggle does not have."""
    for split, part in (("train", train), ("test", test)):
        (folder / split).mkdir(parents=True)
        for number, png in enumerate(pngs_of(part), start=1):
            (folder / split / f"{number}.png").write_bytes(png)
        lines = [f"{number},{NAMES[label]}" for number, label in enumerate(part[:, 0], start=1)]
        (folder / f"{split}Labels.csv").write_text("\n".join(["id,label", *lines, ""]))
    return folder
