"""Records out of the official layouts: batch files of bytes or pickles, in a folder or an archive."""

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

PIXELS = 3_072
RECORD = 1 + PIXELS  # a label, then 1,024 red, 1,024 green and 1,024 blue pixels, row by row
_AGAIN = "fetch it again from an official place"
_MOST_MEMBERS = 100  # of an archive that has nine


@dataclass(frozen=True)
class Layout:
    """One official form of a data set.

    labels: bytes before a record's pixels in the binary layout, the last of them the label.
    unpacked: no archive of this layout is larger than this when it is decompressed.
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


def read(found: Path, layout: Layout, train: int, test: int, classes: int) -> tuple[Bytes, Bytes]:
    """Training and test records (N, 3073) of the folder or archive `found`, in the files' order.

    Raises:
        DataError: something is missing, damaged, or not what the official files hold.
    """
    content = dict(_from_archive(found, layout) if found.is_file() else _from_folder(found, layout))
    splits = []
    for names, count in ((layout.train, train), (layout.test, test)):
        parts = []
        for name in names:
            parts.append(_records(content[name], f"{found}: {name}", layout, count // len(names), classes))
        records = np.concatenate(parts)
        counts = np.bincount(records[:, 0], minlength=classes)
        if len(set(counts)) != 1:
            raise DataError(
                f"{found}: the classes of {names[0]}... have {counts.tolist()} images; they should be equal",
                f"this is not the official data set; {_AGAIN}",
            )
        splits.append(records)
    return splits[0], splits[1]


def _from_folder(folder: Path, layout: Layout) -> Iterator[tuple[str, bytes]]:
    for name in layout.names:
        content = files.read(folder / name)
        if content is None:
            raise DataError(f"{folder}: {name} is missing", _AGAIN)
        yield name, content


def _from_archive(path: Path, layout: Layout) -> Iterator[tuple[str, bytes]]:
    """The batch files out of the archive, in memory: verified first, nothing extracted."""
    content = files.read(path)
    assert content is not None, "it was found"
    found = hashlib.sha256(content).hexdigest()
    if found != layout.archive_sha256:
        raise DataError(
            f"{path}: SHA-256 is {found}, expected {layout.archive_sha256}; the file is not used",
            "fetch the official archive again, or give an unpacked folder",
        )
    wanted = {f"{layout.folder}/{name}": name for name in layout.names}
    try:
        with tarfile.open(fileobj=io.BytesIO(_unpacked(content, layout)), mode="r:") as archive:
            for number, member in enumerate(archive):
                if number >= _MOST_MEMBERS:
                    raise DataError(f"{path}: has more than {_MOST_MEMBERS} members", _AGAIN)
                name = member.name.removeprefix("./")
                if name in wanted and member.type in (tarfile.REGTYPE, tarfile.AREGTYPE):
                    opened = archive.extractfile(member)
                    assert opened is not None, "a regular member opens"
                    yield wanted.pop(name), opened.read()
    except (tarfile.TarError, zlib.error, ValueError, OSError, EOFError, RecursionError) as error:
        raise DataError(f"{path}: is not an archive ({type(error).__name__})", _AGAIN) from error
    if wanted:
        raise DataError(f"{path}: has no {next(iter(wanted))}", _AGAIN)


def _unpacked(content: bytes, layout: Layout) -> bytes:
    """The decompressed archive, never more of it than the layout can be: no bomb goes off."""
    decompressor = zlib.decompressobj(wbits=31)  # gzip, with its checksum
    plain = decompressor.decompress(content, layout.unpacked)
    if decompressor.unconsumed_tail:
        raise tarfile.ReadError("larger than any official archive")
    if not decompressor.eof:
        raise EOFError("the archive is cut")
    return plain


def _records(content: bytes, where: str, layout: Layout, count: int, classes: int) -> Bytes:
    if layout.kind == "binary":
        width = layout.labels + PIXELS
        if len(content) != count * width:
            raise DataError(
                f"{where} has {len(content):,} bytes, expected {count * width:,}",
                f"the file is cut or of another data set; {_AGAIN}",
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
