"""A small data set in every official layout, for tests of what reads them."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import pickle
import struct
import tarfile
from pathlib import Path

import numpy as np

from resdeg.data.batches import PIXELS, Layout
from resdeg.data.cifar import CIFAR10, CIFAR100, Distribution

Files = dict[str, bytes]
IMAGES = 30  # in each of three files
BINARY = dataclasses.replace(CIFAR10.layouts[0], train=("data_batch_1.bin", "data_batch_2.bin"))
PYTHON = dataclasses.replace(CIFAR10.layouts[1], train=("data_batch_1", "data_batch_2"))
SMALL = dataclasses.replace(CIFAR10, layouts=(BINARY, PYTHON), train=2 * IMAGES, test=IMAGES, content=None)


def records(seed: int = 0) -> list[np.ndarray]:
    """Three batches (30, 3073) with equal classes."""
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(3):
        batch = generator.integers(0, 256, (IMAGES, 1 + PIXELS), dtype=np.uint8)
        batch[:, 0] = generator.permutation(np.arange(IMAGES) % 10)
        found.append(batch)
    return found


def binary_files(batches: list[np.ndarray], layout: Layout = BINARY) -> Files:
    return {name: batch.tobytes() for name, batch in zip(layout.names, batches, strict=True)}


def python_batch(batch: np.ndarray, protocol: int = 2, core: str = "core", **changed: object) -> bytes:
    """One file as the official ones are: protocol 2, numpy under its old name."""
    content = {
        "batch_label": "a batch", "labels": batch[:, 0].tolist(), "data": np.ascontiguousarray(batch[:, 1:]),
        "filenames": [f"image_{k}.png" for k in range(len(batch))], **changed,
    }  # fmt: skip
    pickled = pickle.dumps(content, protocol)
    return (
        pickled.replace(b"numpy._core.multiarray", f"numpy.{core}.multiarray".encode())
        if protocol < 4
        else pickled
    )


def official_batch(batch: np.ndarray, label_key: str = "labels") -> bytes:
    """The same opcode by opcode as Python 2 wrote the official files: its strings are bytes."""

    def text(value: bytes) -> bytes:
        return (
            b"U" + bytes([len(value)]) + value
            if len(value) < 256
            else b"T" + struct.pack("<i", len(value)) + value
        )

    def integer(value: int) -> bytes:
        return b"K" + bytes([value]) if value < 256 else b"M" + struct.pack("<H", value)

    count = len(batch)
    minus_one = b"J\xff\xff\xff\xff"
    shape = integer(count) + integer(3072) + b"\x86"
    dtype = b"cnumpy\ndtype\nq\x07" + text(b"u1") + b"K\x00K\x01\x87R"
    dtype += b"(K\x03" + text(b"|") + b"NNN" + minus_one + minus_one + b"K\x00tb"
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\nq\x05cnumpy\nndarray\nq\x06K\x00\x85" + text(b"b") + b"\x87R"
    )
    array += b"(K\x01" + shape + dtype + b"\x89" + text(batch[:, 1:].tobytes()) + b"tb"
    names = b"]q\x08(" + b"".join(text(f"image_{k}.png".encode()) for k in range(count)) + b"e"
    labels = b"]q\x04(" + b"".join(integer(int(label)) for label in batch[:, 0]) + b"e"
    items = text(b"batch_label") + text(b"training batch 1 of 5") + text(label_key.encode()) + labels
    items += text(b"data") + array + text(b"filenames") + names
    return b"\x80\x02}q\x01(" + items + b"u."


def python_files(batches: list[np.ndarray], layout: Layout = PYTHON, **how: object) -> Files:
    return {name: python_batch(b, **how) for name, b in zip(layout.names, batches, strict=True)}


def write_folder(folder: Path, content: Files) -> Path:
    folder.mkdir(parents=True)
    for name, data in content.items():
        (folder / name).write_bytes(data)
    return folder


def tar(content: Files, folder: str, level: int = 1) -> bytes:
    """A tar.gz of `content` under `folder`/."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=level) as archive:
        for name, data in content.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def trusting(archive: bytes, layout: Layout, of: Distribution = SMALL, **more: object) -> Distribution:
    """`of` with the size and SHA-256 of `archive` as the official ones."""
    told = dataclasses.replace(
        layout, archive_bytes=len(archive), archive_sha256=hashlib.sha256(archive).hexdigest(), **more
    )
    others = [told if one.archive == layout.archive else one for one in of.layouts]
    return dataclasses.replace(of, layouts=tuple(others))


def small_100() -> tuple[Distribution, np.ndarray]:
    """CIFAR-100 with one image per class in each split, and its records (200, 3073)."""
    generator = np.random.default_rng(3)
    images = generator.integers(0, 256, (200, 1 + PIXELS), dtype=np.uint8)
    images[:, 0] = np.tile(generator.permutation(100), 2)
    return dataclasses.replace(CIFAR100, train=100, test=100), images
