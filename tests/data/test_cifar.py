"""CIFAR-10: one order and one hash from any layout, and nothing unverified."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest

from resdeg.data import cifar
from resdeg.data.cifar import Layout, find, load
from resdeg.errors import DataError

SMALL = Layout(train=("data_batch_1.bin", "data_batch_2.bin"), records=30)


def batch_files(seed: int = 0) -> dict[str, bytes]:
    """Three files of 30 records with equal classes."""
    generator = np.random.default_rng(seed)
    content = {}
    for name in SMALL.train + SMALL.test:
        records = generator.integers(0, 256, (30, cifar.RECORD), dtype=np.uint8)
        records[:, 0] = generator.permutation(np.arange(30) % 10)
        content[name] = records.tobytes()
    return content


def write_folder(folder: Path, content: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True)
    for name, data in content.items():
        (folder / name).write_bytes(data)
    return folder


def shuffled(content: dict[str, bytes]) -> dict[str, bytes]:
    """The same training images in other files and another order."""
    whole = np.concatenate([np.frombuffer(content[n], np.uint8).reshape(30, -1) for n in SMALL.train])
    whole = whole[np.random.default_rng(5).permutation(60)]
    parts = {name: part.tobytes() for name, part in zip(SMALL.train, np.split(whole, 2), strict=True)}
    return {**content, **parts}


def write_archive(path: Path, content: dict[str, bytes]) -> Layout:
    """A tar.gz in the official layout, and the layout that trusts its hash."""
    with tarfile.open(path, "w:gz") as archive:
        for name, data in content.items():
            member = tarfile.TarInfo(f"{SMALL.folder}/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return dataclasses.replace(SMALL, archive_sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def test_folder_shuffled_folder_and_archive_are_one_data_set(tmp_path: Path) -> None:
    content = batch_files()
    first = load(write_folder(tmp_path / "a", content), SMALL)
    second = load(write_folder(tmp_path / "b", shuffled(content)), SMALL)
    layout = write_archive(tmp_path / "cifar-10-binary.tar.gz", content)
    third = load(tmp_path / "cifar-10-binary.tar.gz", layout)
    for other in (second, third):
        assert other.hash == first.hash
        assert np.array_equal(other.train.images, first.train.images)
        assert np.array_equal(other.test.labels, first.test.labels)


def test_one_changed_pixel_is_another_hash(tmp_path: Path) -> None:
    content = batch_files()
    first = load(write_folder(tmp_path / "a", content), SMALL)
    data = bytearray(content["test_batch.bin"])
    data[100] ^= 1
    second = load(write_folder(tmp_path / "b", {**content, "test_batch.bin": bytes(data)}), SMALL)
    assert second.hash != first.hash


def test_pixels_are_channel_major_records(tmp_path: Path) -> None:
    data = load(write_folder(tmp_path / "a", batch_files()), SMALL)
    content = np.concatenate([np.frombuffer(batch_files()[n], np.uint8).reshape(30, -1) for n in SMALL.train])
    digests = sorted(hashlib.sha256(row.tobytes()).digest() for row in content)
    record = next(row for row in content if hashlib.sha256(row.tobytes()).digest() == digests[0])
    assert data.train.labels[0] == record[0]
    assert data.train.images[0, 2, 3, 1] == record[1 + 1024 + 2 * 32 + 3]


def test_the_cache_is_used_and_never_trusted(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "a", batch_files())
    first = load(folder, SMALL)
    cached = next((tmp_path / "cache" / "arrays").iterdir())
    assert isinstance(load(folder, SMALL).train.images, np.memmap)
    images = bytearray((cached / "train.images.npy").read_bytes())
    images[-1] ^= 1
    (cached / "train.images.npy").write_bytes(images)
    again = load(folder, SMALL)
    assert not isinstance(again.train.images, np.memmap), "the damaged cache was not believed"
    assert again.hash == first.hash
    assert np.array_equal(again.train.images, first.train.images)


def test_a_changed_source_is_read_again(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "a", batch_files())
    first = load(folder, SMALL)
    for name, data in batch_files(seed=1).items():
        (folder / name).write_bytes(data)
    assert load(folder, SMALL).hash != first.hash


def test_a_cache_that_cannot_be_written_costs_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("RESDEG_CACHE_DIR", str(tmp_path / "file"))
    folder = write_folder(tmp_path / "a", batch_files())
    assert load(folder, SMALL).hash == load(folder, SMALL).hash


def damaged(name: str, change) -> dict[str, bytes]:
    content = batch_files()
    content[name] = change(content[name])
    return content


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (
            damaged("data_batch_2.bin", lambda b: b[:-1]),
            r"data_batch_2.bin has 92,189 bytes, expected 92,190",
        ),
        (damaged("data_batch_1.bin", lambda b: b""), "has 0 bytes"),
        (damaged("test_batch.bin", lambda b: b"\x0b" + b[1:]), "label 11"),
        (damaged("test_batch.bin", lambda b: bytes([(b[0] + 1) % 10]) + b[1:]), "should be equal"),
        ({k: v for k, v in batch_files().items() if k != "data_batch_1.bin"}, "data_batch_1.bin is missing"),
    ],
)
def test_a_folder_that_is_not_the_data_set_is_refused(
    tmp_path: Path, content: dict[str, bytes], told: str
) -> None:
    with pytest.raises(DataError, match=told):
        load(write_folder(tmp_path / "a", content), SMALL)


def test_an_archive_is_verified_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "cifar-10-binary.tar.gz"
    layout = write_archive(path, batch_files())
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="SHA-256 is .* the file is not used"):
        load(path, layout)


def test_an_archive_without_a_member_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cifar-10-binary.tar.gz"
    layout = write_archive(path, {k: v for k, v in batch_files().items() if k != "test_batch.bin"})
    with pytest.raises(DataError, match="has no .*test_batch.bin"):
        load(path, layout)


def test_where_it_is_looked_for(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "around" / SMALL.folder, batch_files())
    assert find(tmp_path / "around", SMALL) == folder
    for place in (tmp_path / "nowhere", None):
        with pytest.raises(DataError) as error:
            find(place, SMALL)
        assert "data_batch_1.bin" in error.value.what
        assert "--data hierarchy" in error.value.remedy


@pytest.mark.cifar
@pytest.mark.slow
def test_the_real_one(cifar_folder: Path) -> None:
    """Counts and channel statistics of CIFAR-10, whatever order the files are in."""
    load(cifar_folder)
    start = time.perf_counter()
    data = load(cifar_folder)
    assert time.perf_counter() - start < 1, "the cache loads in well under a second"
    assert data.hash == "d54fdbe975162000ba5ac3c9c96dadb4d7321e3a27848046f08db01a8e39f4a7"
    assert data.train.images.shape == (50_000, 32, 32, 3)
    assert np.bincount(data.test.labels).tolist() == [1_000] * 10
    pixels = data.train.images.reshape(-1, 3).astype(np.float64) / 255
    assert pixels.mean(axis=0) == pytest.approx([0.49139968, 0.48215841, 0.44653091], abs=1e-8)
    assert pixels.std(axis=0) == pytest.approx([0.24703223, 0.24348513, 0.26158784], abs=1e-8)
