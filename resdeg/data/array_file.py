"""A file of Keras' arrays as `numpy.savez` writes it. Nothing pickled in it is loaded."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from resdeg.data.images import Bytes, Shape, Split, check_labels
from resdeg.errors import DataError

_KEYS = ("x_train", "y_train", "x_test", "y_test")
_BLOCK = 1_000  # images that are converted at once, so that float64 needs no second gigabyte
_EXACT = 1e-3  # float32 is nearer than that to every byte, and the middle between bytes is at 0.5


def is_archive(path: Path) -> bool:
    """Says whether `path` is a file that `numpy.savez` may have written."""
    return path.is_file() and path.suffix.lower() == ".npz"


def read(path: Path, shape: Shape) -> tuple[Split, Split]:
    """Reads the training and the test split.

    Images are (N, H, W, 3) or (N, 3, H, W), bytes as any type of number, or floats from 0 to 1 that are
    exactly a byte divided by 255. Labels are whole numbers (N,) or (N, 1).

    Raises:
        DataError: an array is missing, damaged, pickled, or not what it should be.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = {Path(name).stem.lower(): name for name in archive.namelist() if name.endswith(".npy")}
            if missing := [key for key in _KEYS if key not in names]:
                raise DataError(
                    f"{path}: has no array {missing[0]}; it has {', '.join(sorted(names)) or 'none'}"[:600],
                    f"save it with numpy.savez under the names {', '.join(_KEYS)}",
                )
            parts = []
            for split, count in (("train", shape.train), ("test", shape.test)):
                where = f"{path}: y_{split}"
                given = _read_array(
                    archive, names[f"y_{split}"], where, shapes=((count,), (count, 1)), kinds="iu"
                )
                labels = check_labels(given.reshape(-1), where, count=count, classes=shape.classes)
                where, side = f"{path}: x_{split}", shape.side
                shapes = ((count, side, side, 3), (count, 3, side, side))
                images = _read_array(archive, names[f"x_{split}"], where, shapes=shapes, kinds="iuf")
                parts.append(Split(_to_bytes(images, where), labels))
            return parts[0], parts[1]
    except DataError:
        raise
    except Exception as error:  # a damaged file makes zipfile and numpy raise almost anything
        reason = str(error)[:200] or type(error).__name__
        raise DataError(
            f"{path}: is not a whole .npz file ({reason})", "save it again with numpy.savez"
        ) from error


def _read_array(
    archive: zipfile.ZipFile, name: str, where: str, *, shapes: tuple[tuple[int, ...], ...], kinds: str
) -> npt.NDArray[Any]:
    """Reads one array. Its header is checked before memory is taken, and nothing pickled is loaded."""
    with archive.open(name) as member:
        version = npy.read_magic(member)
        if version not in ((1, 0), (2, 0)):
            raise DataError(f"{where} has fields, expected plain numbers", "save the array of numbers alone")
        read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read_header(member)
    if dtype.hasobject:
        raise DataError(
            f"{where} is a pickle of objects; it is refused, and nothing in it was run",
            "save it as an array of numbers",
        )
    if shape not in shapes or dtype.kind not in kinds:
        expected = " or ".join(map(str, shapes))
        numbers = "numbers" if "f" in kinds else "whole numbers"
        raise DataError(
            f"{where} has the shape {shape} and the type {dtype}, expected {numbers} {expected}",
            "save all images and their labels as Keras returns them",
        )
    with archive.open(name) as member:
        array: npt.NDArray[Any] = npy.read_array(member, allow_pickle=False)
    return array


def _to_bytes(images: npt.NDArray[Any], where: str) -> Bytes:
    """Converts to (N, H, W, 3) uint8 without rounding anything that is not exactly a byte."""
    if images.shape[-1] != 3:
        images = images.transpose(0, 2, 3, 1)
    if images.dtype == np.uint8:
        return np.ascontiguousarray(images)
    scale = 255 if images.dtype.kind == "f" and images.max() <= 1 else 1
    converted = np.empty(images.shape, np.uint8)
    for start in range(0, len(images), _BLOCK):
        values = images[start : start + _BLOCK].astype(np.float64) * scale
        nearest = np.rint(values)
        with np.errstate(invalid="ignore"):  # infinite values are refused without a warning
            exact = (np.abs(values - nearest) <= _EXACT) & (nearest >= 0) & (nearest <= 255)
        if not exact.all():
            index = tuple(int(i) for i in np.argwhere(~exact)[0])
            value = images[start : start + _BLOCK][index]
            raise DataError(
                f"{where}: image {start + index[0]} has the value {value:g}, which is neither a byte "
                "nor a byte divided by 255",
                "save the images before they are standardised",
            )
        converted[start : start + _BLOCK] = nearest
    return converted
