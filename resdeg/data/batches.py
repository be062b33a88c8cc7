"""Records from the official layouts: batch files of bytes or pickles, in a folder or an archive."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from resdeg import files
from resdeg.data.images import Bytes
from resdeg.data.unpickle import Refused, read_batch
from resdeg.errors import DataError

PIXELS = 3_072  # an image has 1,024 red, 1,024 green and 1,024 blue ones, row by row
_AGAIN = "fetch it again from an official source"
_MOST_MEMBERS = 100  # an official archive has nine


@dataclass(frozen=True)
class Layout:
    """One official form of a data set.

    labels: the number of bytes before a record's pixels in the binary layout; the last one is the label.
    unpacked: the bytes that a decompressed archive of this layout has at most.
    """

    kind: Literal["binary", "python"]
    folder: str
    archive: str
    archive_bytes: int
    archive_sha256: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    label_key: str = "labels"
    labels: int = 1
    urls: tuple[str, ...] = ()
    unpacked: int = 250_000_000

    @property
    def names(self) -> tuple[str, ...]:
        return self.train + self.test


def read(path: Path, layout: Layout, *, train: int, test: int, classes: int) -> tuple[Bytes, Bytes]:
    """Reads the training and test records (N, 3073) of a folder or archive, in the files' order.

    Args:
        train, test: the number of records that each split must have.

    Raises:
        DataError: something is missing, damaged, or not what the official files hold.
    """
    content = dict(_read_archive(path, layout) if path.is_file() else _read_folder(path, layout))
    splits = []
    for names, count in ((layout.train, train), (layout.test, test)):
        parts = []
        for name in names:
            where, expected = f"{path}: {name}", count // len(names)
            parts.append(_parse_records(content[name], where, layout, count=expected, classes=classes))
        records = np.concatenate(parts)
        counts = np.bincount(records[:, 0], minlength=classes)
        if len(set(counts)) != 1:
            raise DataError(
                f"{path}: the classes of {names[0]}... have {counts.tolist()} images; they should be equal",
                f"this is not the official data set; {_AGAIN}",
            )
        splits.append(records)
    return splits[0], splits[1]


def _read_folder(folder: Path, layout: Layout) -> Iterator[tuple[str, bytes]]:
    for name in layout.names:
        content = files.read(folder / name)
        if content is None:
            raise DataError(f"{folder}: {name} is missing", _AGAIN)
        yield name, content


def _read_archive(path: Path, layout: Layout) -> Iterator[tuple[str, bytes]]:
    """Reads the batch files of the archive in memory; it is verified first, and nothing is extracted."""
    content = files.read(path)
    assert content is not None, "the archive was there a moment ago"
    digest = hashlib.sha256(content).hexdigest()
    if digest != layout.archive_sha256:
        raise DataError(
            f"{path}: SHA-256 is {digest}, expected {layout.archive_sha256}; the file is not used",
            "fetch the official archive again, or give an unpacked folder",
        )
    missing = {f"{layout.folder}/{name}": name for name in layout.names}
    try:
        with tarfile.open(fileobj=io.BytesIO(_decompress(content, layout)), mode="r:") as archive:
            for number, member in enumerate(archive):
                if number >= _MOST_MEMBERS:
                    raise DataError(f"{path}: has more than {_MOST_MEMBERS} members", _AGAIN)
                name = member.name.removeprefix("./")
                if name in missing and member.type in (tarfile.REGTYPE, tarfile.AREGTYPE):
                    opened = archive.extractfile(member)
                    assert opened is not None, "a regular member opens"
                    yield missing.pop(name), opened.read()
    except (tarfile.TarError, zlib.error, ValueError, OSError, EOFError, RecursionError) as error:
        raise DataError(f"{path}: is not an archive ({type(error).__name__})", _AGAIN) from error
    if missing:
        raise DataError(f"{path}: has no {next(iter(missing))}", _AGAIN)


def _decompress(content: bytes, layout: Layout) -> bytes:
    """Decompresses the archive, but never more than the layout can have, so no bomb goes off."""
    decompressor = zlib.decompressobj(wbits=31)  # gzip, with its checksum
    plain = decompressor.decompress(content, layout.unpacked)
    if decompressor.unconsumed_tail:
        raise tarfile.ReadError("larger than any official archive")
    if not decompressor.eof:
        raise EOFError("the archive is cut")
    return plain


def _parse_records(content: bytes, where: str, layout: Layout, *, count: int, classes: int) -> Bytes:
    if layout.kind == "binary":
        width = layout.labels + PIXELS
        if len(content) != count * width:
            raise DataError(
                f"{where} has {len(content):,} bytes, expected {count * width:,}",
                f"the file is cut or from another data set; {_AGAIN}",
            )
        records = np.frombuffer(content, np.uint8).reshape(-1, width)[:, layout.labels - 1 :]
    else:
        try:
            pixels, labels = read_batch(content, layout.label_key)
        except Refused as error:
            raise DataError(f"{where}: {error}; refused, nothing of it was run", _AGAIN) from error
        if not len(pixels) == len(labels) == count:
            raise DataError(
                f"{where} has {len(pixels):,} images and {len(labels):,} labels, expected {count:,}", _AGAIN
            )
        records = np.concatenate([labels[:, None], pixels], axis=1)
    if (top := int(records[:, 0].max())) >= classes:
        raise DataError(f"{where} has label {top}, expected 0 to {classes - 1}", _AGAIN)
    return records
