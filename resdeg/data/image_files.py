"""Image files: listed by class, and decoded to arrays of bytes by Pillow."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from resdeg import files
from resdeg.data.images import Bytes
from resdeg.errors import DataError

FORMATS = ("PNG", "JPEG", "BMP", "PPM", "WEBP")  # No other decoder of Pillow is ever asked.
_SUFFIXES = frozenset([".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".pgm", ".webp"])
_LITTER = frozenset(["thumbs.db", "desktop.ini", "__macosx"])  # file managers leave it, as they do .DS_Store
_MODES = frozenset(["1", "L", "P", "RGB", "LA", "PA", "RGBA"])
_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_BIT_DEPTH = 24  # the index of the byte that says how many bits a channel has in a PNG file


def list_classes(folder: Path) -> dict[str, list[Path]]:
    """Lists the image files of each class, which is a folder in `folder`.

    Classes and files are in natural order (`2` comes before `10`), whatever order the disk has. A class may
    have folders inside. What file managers leave behind, hidden files, and files other than images beside
    the classes are passed over.

    Raises:
        DataError: there is no class, a class is empty, an image lies beside the classes, or a class holds
            something other than images.
    """
    classes = {}
    for entry in list_entries(folder):
        if entry.is_dir():
            classes[entry.name] = list(_walk_images(entry))
            if not classes[entry.name]:
                raise DataError(f"{entry}: the class has no image", "remove the folder, or fill it")
        elif is_image(entry):
            raise DataError(f"{entry}: the image is in no class", "move it into the folder of its class")
    if not classes:
        raise DataError(f"{folder}: has no folder of images", "give a folder that has one folder per class")
    return classes


def list_entries(folder: Path) -> list[Path]:
    """Lists what is in `folder` in natural order, without hidden files and what file managers leave behind.

    Raises:
        DataError: the folder cannot be read.
    """
    try:
        entries = list(folder.iterdir())
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror})", "check the path") from error
    shown = [e for e in entries if not e.name.startswith(".") and e.name.lower() not in _LITTER]
    return sorted(shown, key=lambda entry: natural_key(entry.name))


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Makes a key for sorting in which numbers count as numbers, and capitals do not count at first.

    >>> sorted(["10.png", "b", "2.png", "A"], key=natural_key)
    ['2.png', '10.png', 'A', 'b']
    """
    pieces = re.split(r"([0-9]+)", name)
    return [int(piece) if k % 2 else piece.casefold() for k, piece in enumerate(pieces)], name


def is_image(path: Path) -> bool:
    """Says whether the name is that of an image file."""
    return path.suffix.lower() in _SUFFIXES


def _walk_images(folder: Path) -> Iterator[Path]:
    for entry in list_entries(folder):
        if entry.is_dir():
            if entry.is_symlink():  # it may lead back to where the walk comes from
                raise DataError(
                    f"{entry}: is a link to a folder inside a class", "put the folder itself there"
                )
            yield from _walk_images(entry)
        elif is_image(entry):
            yield entry
        else:
            raise DataError(f"{entry}: is no image file", "move it out of the class's folder")


def decode(
    images: Sequence[Path | bytes],
    side: int | None = None,
    *,
    where: str = "",
    formats: tuple[str, ...] = FORMATS,
) -> Bytes:
    """Decodes image files, or their bytes, to an array (N, H, W, 3) uint8.

    Grey images and palettes become RGB. An alpha channel that is opaque everywhere is dropped. One that is
    not is refused, because what shines through would be our choice. Values are those of the file: neither
    colour profiles nor orientations are applied. No file stays open.

    Args:
        side: the height and width that every image must have; None takes those of the first image.
        where: the origin of the bytes, for messages; the number of the image follows it.
        formats: the formats of Pillow that may occur; the content decides, and not the file's name.

    Raises:
        DataError: a file is missing, broken, transparent, of more than 8 bits per channel, or of another
            size or format; the message names it.
    """
    shape, first = None if side is None else (side, side), ""
    decoded: Bytes | None = None
    for number, image in enumerate(images):
        name = str(image) if isinstance(image, Path) else f"{where}: image {number}"
        content = files.read(image) if isinstance(image, Path) else image
        if content is None:
            raise DataError(f"{name}: is not there", "check the path")
        pixels = _decode_image(content, name, shape, first=first, formats=formats)
        if decoded is None:
            shape, first = (pixels.shape[0], pixels.shape[1]), "" if side is not None else f" as in {name}"
            decoded = np.empty((len(images), *pixels.shape), np.uint8)
        decoded[number] = pixels
    if decoded is None:
        none = 0 if side is None else side
        decoded = np.empty((0, none, none, 3), np.uint8)
    return decoded


def _decode_image(
    content: bytes, name: str, shape: tuple[int, int] | None, *, first: str, formats: tuple[str, ...]
) -> Bytes:
    """Decodes one image (H, W, 3); its size is checked before any pixel is.

    Args:
        first: for the message, the image that has the expected size.
    """
    try:
        with Image.open(io.BytesIO(content), formats=formats) as image:
            if shape not in (None, (image.height, image.width)):
                height, width = shape
                raise DataError(
                    f"{name}: has {image.width} x {image.height} pixels, expected {width} x {height}{first}",
                    "every image must have the same size",
                )
            deep = content.startswith(_PNG) and content[_BIT_DEPTH] > 8
            if deep or image.mode not in _MODES:
                kind = "16 bits per channel" if deep else f"colours of Pillow's mode {image.mode}"
                raise DataError(f"{name}: has {kind}", "save it as RGB with 8 bits per channel")
            if (frames := getattr(image, "n_frames", 1)) > 1:
                raise DataError(f"{name}: has {frames} frames", "save the frame that you want")
            if image.mode == "RGB" and "transparency" not in image.info:
                return np.asarray(image)
            rgba = np.asarray(image.convert("RGBA"))
    except UnidentifiedImageError as error:
        what = f"is not an image of the format {' or '.join(formats)}"
        if content.startswith(_JPEG):
            what = "is a JPEG, which no longer has the exact pixels"
        raise DataError(f"{name}: {what}", "replace the file") from error
    except DataError:
        raise
    except Exception as error:  # a broken file makes decoders raise almost anything
        raise DataError(f"{name}: is broken ({error or type(error).__name__})", "replace the file") from error
    if (rgba[..., 3] != 255).any():
        raise DataError(f"{name}: is transparent in places", "save it without an alpha channel")
    return rgba[..., :3]
