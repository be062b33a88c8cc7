"""CIFAR: one order and one hash from any layout, and nothing unverified."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from resdeg.data import cache, cifar
from resdeg.data.augment import Standardiser, augment
from resdeg.data.batch_plan import batch_plan
from resdeg.data.cifar import CIFAR10, find, keep, load
from resdeg.errors import DataError
from tests.data.small import (
    BINARY,
    PYTHON,
    SMALL,
    binary_files,
    official_batch,
    python_batch,
    python_files,
    records,
    small_100,
    tar,
    trusting,
    write_folder,
)


def shuffled(batches: list[np.ndarray]) -> list[np.ndarray]:
    """The same training images in other files and another order."""
    whole = np.concatenate(batches[:2])[np.random.default_rng(5).permutation(60)]
    return [*np.split(whole, 2), batches[2]]


def same(first, other) -> bool:
    return other.hash == first.hash and all(
        np.array_equal(getattr(getattr(first, split), part), getattr(getattr(other, split), part))
        for split in ("train", "test")
        for part in ("images", "labels")
    )


def test_every_layout_is_one_data_set(tmp_path: Path) -> None:
    batches = records()
    first = load(write_folder(tmp_path / "a", binary_files(batches)), SMALL)
    assert same(first, load(write_folder(tmp_path / "b", binary_files(shuffled(batches))), SMALL))
    for number, how in enumerate(
        [{"core": "core"}, {"core": "_core"}, {"protocol": 3}, {"protocol": 4}, {"protocol": 5}]
    ):
        folder = write_folder(tmp_path / f"p{number}", python_files(batches, **how))
        assert same(first, load(folder, SMALL)), how
    official = dict(zip(PYTHON.names, map(official_batch, batches), strict=True))
    for layout, content in ((BINARY, binary_files(batches)), (PYTHON, official)):
        archive = tar(content, layout.folder)
        (tmp_path / layout.archive).write_bytes(archive)
        assert same(first, load(tmp_path / layout.archive, trusting(archive, layout)))
    assert not same(first, load(write_folder(tmp_path / "c", binary_files(records(seed=1))), SMALL))


def test_both_layouts_of_cifar_100_have_the_fine_labels(tmp_path: Path) -> None:
    of, images = small_100()
    binary, python = of.layouts
    coarse = (images[:, :1] // 5).astype(np.uint8)
    wide = np.concatenate([coarse, images], axis=1)
    first = load(write_folder(tmp_path / "a", binary_files(np.split(wide, 2), binary)), of)
    batches = [
        python_batch(half, labels=None, fine_labels=half[:, 0].tolist(), coarse_labels=[0] * 100)
        for half in np.split(images, 2)
    ]
    second = load(write_folder(tmp_path / "b", dict(zip(python.names, batches, strict=True))), of)
    assert same(first, second)
    assert sorted(first.train.labels) == list(range(100))
    assert first.name == "cifar100"


def test_one_changed_pixel_is_another_hash_and_no_genuine_set(tmp_path: Path) -> None:
    content = binary_files(records())
    first = load(write_folder(tmp_path / "a", content), SMALL)
    data = bytearray(content["test_batch.bin"])
    data[100] ^= 1
    folder = write_folder(tmp_path / "b", {**content, "test_batch.bin": bytes(data)})
    assert load(folder, SMALL).hash != first.hash
    genuine = dataclasses.replace(SMALL, content=first.hash)
    assert load(tmp_path / "a", genuine).hash == first.hash
    for _ in range(2):  # from the files, and from a cache that another version filled
        with pytest.raises(DataError, match="some image or label was changed"):
            load(folder, genuine)


def test_pixels_are_channel_major_records(tmp_path: Path) -> None:
    data = load(write_folder(tmp_path / "a", binary_files(records())), SMALL)
    content = np.concatenate(records()[:2])
    digests = sorted(hashlib.sha256(row.tobytes()).digest() for row in content)
    record = next(row for row in content if hashlib.sha256(row.tobytes()).digest() == digests[0])
    assert data.train.labels[0] == record[0]
    assert data.train.images[0, 2, 3, 1] == record[1 + 1024 + 2 * 32 + 3]


def test_the_cache_is_used_and_never_trusted(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "a", binary_files(records()))
    first = load(folder, SMALL)
    cached = next((tmp_path / "cache" / "arrays").iterdir())
    assert isinstance(load(folder, SMALL).train.images, np.memmap)
    images = bytearray((cached / "train.images.npy").read_bytes())
    images[-1] ^= 1
    (cached / "train.images.npy").write_bytes(images)
    again = load(folder, SMALL)
    assert not isinstance(again.train.images, np.memmap), "the damaged cache was not believed"
    assert same(first, again)


def test_a_changed_source_is_read_again(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "a", binary_files(records()))
    first = load(folder, SMALL)
    for name, data in binary_files(records(seed=1)).items():
        (folder / name).write_bytes(data)
    assert load(folder, SMALL).hash != first.hash


def test_a_cache_that_cannot_be_written_costs_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("RESDEG_CACHE_DIR", str(tmp_path / "file"))
    folder = write_folder(tmp_path / "a", binary_files(records()))
    assert load(folder, SMALL).hash == load(folder, SMALL).hash


def test_what_was_kept_is_found_without_a_place(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "a", python_files(records()))
    with pytest.raises(DataError, match="not found"):
        load(None, SMALL)
    kept = keep(folder, SMALL)
    for path in folder.iterdir():
        path.unlink()
    assert same(kept, load(None, SMALL))
    home = tmp_path / "cache" / "arrays" / "cifar10"
    assert find(None, SMALL) == cifar.Location(home, None)
    assert cifar.read(find(None, SMALL), SMALL).hash == kept.hash, "hashed again from the arrays"
    meta = (home / "meta.json").read_text()
    (home / "meta.json").write_text(meta.replace(kept.hash, "0" * 64))
    assert load(None, SMALL).hash == "0" * 64, "the cache is believed about its hash"
    assert cifar.read(find(None, SMALL), SMALL).hash == kept.hash, "but not by verify"
    (home / "test.labels.npy").write_bytes(b"")
    with pytest.raises(DataError, match="damaged") as error:
        load(None, SMALL)
    assert "resdeg data fetch" in error.value.remedy


# ---------------------------------------------------------------- refusals


def damaged(name: str, change) -> dict[str, bytes]:
    content = binary_files(records())
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
        (
            {k: v for k, v in binary_files(records()).items() if k != "data_batch_1.bin"},
            "data_batch_1.bin is missing",
        ),
        (
            {**python_files(records()), "test_batch": python_batch(records()[2][:29])},
            "test_batch has 29 images and 29 labels, expected 30",
        ),
    ],
)
def test_a_folder_that_is_not_the_data_set_is_refused(
    tmp_path: Path, content: dict[str, bytes], told: str
) -> None:
    with pytest.raises(DataError, match=told):
        load(write_folder(tmp_path / "a", content), SMALL)


def test_an_archive_is_verified_before_it_is_read(tmp_path: Path) -> None:
    content = tar(binary_files(records()), BINARY.folder)
    of = trusting(content, BINARY)
    broken = bytearray(content)
    broken[len(broken) // 2] ^= 1
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(broken)
    with pytest.raises(DataError, match=r"SHA-256 is .* the file is not used"):
        load(tmp_path / "cifar-10-binary.tar.gz", of)
    (tmp_path / "renamed").write_bytes(content)
    assert load(tmp_path / "renamed", of).classes == 10, "an archive may have any name"
    (tmp_path / "other").write_bytes(content[:-1])
    with pytest.raises(DataError, match="bytes, which is not cifar-10-binary.tar.gz"):
        load(tmp_path / "other", of)


def test_where_it_is_looked_for(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "around" / BINARY.folder, binary_files(records()))
    assert find(tmp_path / "around", SMALL) == cifar.Location(folder, BINARY)
    for place in (tmp_path / "nowhere", None):
        with pytest.raises(DataError) as error:
            find(place, SMALL)
        assert "data_batch_1.bin" in error.value.what
        assert "--data hierarchy" in error.value.remedy


# ---------------------------------------------------------------- the real one


@pytest.mark.cifar
@pytest.mark.slow
def test_the_real_one(cifar_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts and channel statistics of CIFAR-10, whatever order the files are in."""
    load(cifar_folder)
    reads: list[cifar.Found] = []
    monkeypatch.setattr(cifar, "read", lambda source, *_: reads.append(source))
    data = load(cifar_folder)
    assert not reads, "the cache has it, so no batch file is parsed again"
    assert isinstance(data.train.images, np.memmap), "shared by every process that has it"
    assert data.hash == "d54fdbe975162000ba5ac3c9c96dadb4d7321e3a27848046f08db01a8e39f4a7"
    assert data.train.images.shape == (50_000, 32, 32, 3)
    assert np.bincount(data.test.labels).tolist() == [1_000] * 10
    pixels = data.train.images.reshape(-1, 3).astype(np.float64) / 255
    assert pixels.mean(axis=0) == pytest.approx([0.49139968, 0.48215841, 0.44653091], abs=1e-8)
    assert pixels.std(axis=0) == pytest.approx([0.24703223, 0.24348513, 0.26158784], abs=1e-8)


@pytest.mark.cifar
@pytest.mark.slow
def test_the_real_one_in_every_layout(cifar_folder: Path, tmp_path: Path) -> None:
    """Both folders and both archives, built from the real images: one hash, one set of batches."""
    binary, python = CIFAR10.layouts
    source = find(cifar_folder).path
    content = {name: (source / name).read_bytes() for name in binary.names}
    batches = [np.frombuffer(data, np.uint8).reshape(-1, 3073) for data in content.values()]
    pickled = dict(zip(python.names, map(official_batch, batches), strict=True))
    places = [(write_folder(tmp_path / python.folder, pickled), CIFAR10), (cifar_folder, CIFAR10)]
    for layout, inside in ((binary, content), (python, pickled)):
        archive = tar(inside, layout.folder)
        (tmp_path / layout.archive).write_bytes(archive)
        places.append((tmp_path / layout.archive, trusting(archive, layout, CIFAR10)))
    found = set()
    for place, of in places:
        data = load(place, of)
        images, labels = torch.from_numpy(data.train.images), data.train.labels
        digest = hashlib.sha256(data.hash.encode())
        standardise = Standardiser.from_split(data.train, torch.device("cpu"))
        for step in (0, 200, 391):
            plan = batch_plan(0, step, batch=128, images=50_000, pad=4, flip=True)
            batch = augment(images, torch.from_numpy(plan), standardise, 4)
            digest.update(batch.contiguous().numpy().tobytes())
            digest.update(labels[plan >> 9].tobytes())
        found.add(digest.hexdigest())
        assert data.hash == CIFAR10.content
    assert len(found) == 1
    assert len(list((cache.cache_folder() / "arrays").iterdir())) == 4, "each was read from its own files"
