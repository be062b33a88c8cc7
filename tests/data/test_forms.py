"""Copies that lie around: each is taken if it is the genuine data set, and refused in words if not."""

from __future__ import annotations

import dataclasses
import io
import os
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from resdeg.data import cifar
from resdeg.data.cifar import CIFAR10, CIFAR100, Distribution, find, keep, load
from resdeg.data.images import canonical, content_hash
from resdeg.errors import DataError
from tests.data.copied import (
    NAMES,
    arrays_of,
    encode,
    images_of,
    pngs_of,
    write_arrays,
    write_by_class,
    write_kaggle,
    write_parquet,
    write_table,
)
from tests.data.small import SMALL, binary_files, official_batch, records, small_100, write_folder

FIRST, SECOND, TEST = records()
TRAIN = np.concatenate([FIRST, SECOND])
GENUINE = dataclasses.replace(SMALL, content=content_hash(canonical(TRAIN), canonical(TEST)))


def refuse(path: Path, message: str, distribution: Distribution = GENUINE) -> DataError:
    """Checks that the copy is refused, that nothing of it was stored, and returns the error."""
    with pytest.raises(DataError, match=message) as error:
        keep(path, distribution)
    assert error.value.remedy
    assert not (cifar.cache_folder() / "arrays").exists()
    return error.value


def check_taken(path: Path, title: str, distribution: Distribution = GENUINE) -> None:
    said: list[str] = []
    dataset = keep(path, distribution, say=said.append)
    assert said == [f"{title}, {distribution.train:,} + {distribution.test:,} images"]
    assert dataset.hash == distribution.content
    stored = load(None, distribution)
    assert stored.hash == dataset.hash, "a sweep finds it"
    assert np.array_equal(stored.train.images, dataset.train.images)


@pytest.fixture
def by_class(tmp_path: Path) -> Path:
    return write_by_class(tmp_path / "given", TRAIN, TEST)


@pytest.fixture
def kaggle(tmp_path: Path) -> Path:
    return write_kaggle(tmp_path / "given", TRAIN, TEST)


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    pytest.importorskip("pyarrow")
    return write_parquet(tmp_path / "given", TRAIN, TEST)


# ---------------------------------------------------------------- parquet

HUGGING_FACE = "Hugging Face parquet"


def test_the_hub_s_files_are_taken_from_wherever_they_lie(parquet: Path, tmp_path: Path) -> None:
    folder = parquet / "plain_text"
    for path in (parquet, folder, *folder.iterdir()):
        check_taken(path, HUGGING_FACE)
    cache = tmp_path / "hub" / "datasets--uoft-cs--cifar10"
    for revision in ("0b2714987f", "refs-pr-6"):
        snapshot = cache / "snapshots" / revision / "plain_text"
        snapshot.mkdir(parents=True)
        for file in folder.iterdir():
            blob = cache / "blobs" / file.stem[:4]
            blob.parent.mkdir(exist_ok=True)
            shutil.copy(file, blob)
            (snapshot / file.name).symlink_to(os.path.relpath(blob, snapshot))
    check_taken(cache, HUGGING_FACE)
    check_taken(next((cache / "snapshots").iterdir()), HUGGING_FACE)
    converted = tmp_path / "converted" / "plain_text"
    for split in ("train", "test"):
        (converted / split).mkdir(parents=True)
        shutil.copy(folder / f"{split}-00000-of-00001.parquet", converted / split / "0000.parquet")
    for path in (converted, converted.parent, converted / "test" / "0000.parquet"):
        check_taken(path, HUGGING_FACE)


def test_shards_and_the_column_names_of_mirrors(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    write_parquet(tmp_path / "given", TRAIN, TEST, image="image")
    (tmp_path / "given" / "plain_text" / "train-00000-of-00001.parquet").unlink()
    for number, part in enumerate((FIRST, SECOND)):
        path = tmp_path / "given" / "plain_text" / f"train-{number:05}-of-00002-fe12.parquet"
        write_table(path, pngs_of(part), part[:, 0].astype(np.int64), image="image")
    check_taken(tmp_path / "given", HUGGING_FACE)


def test_the_fine_labels_are_those_of_cifar_100(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    distribution, images = small_100()
    train, test = np.split(images, 2)
    for name, part in (("train", train), ("test", test)):
        labels = part[:, 0].astype(np.int64)
        write_table(
            tmp_path / "given" / f"{name}.parquet", pngs_of(part), labels, label="fine_label",
            coarse_label=(labels // 5).tolist(),
        )  # fmt: skip
    genuine = dataclasses.replace(distribution, content=content_hash(canonical(train), canonical(test)))
    check_taken(tmp_path / "given", HUGGING_FACE, genuine)
    with pytest.raises(DataError, match="columns img, fine_label, coarse_label; expected img or") as error:
        keep(tmp_path / "given", GENUINE)
    assert error.value.remedy == "if it is another data set, name it by --data"


def rewrite_train(folder: Path, change: Callable[[dict[str, list]], None], **columns: str) -> None:
    """Writes the training file again with other images or labels."""
    given = {"images": pngs_of(TRAIN), "labels": TRAIN[:, 0].tolist()}
    change(given)
    write_table(folder / "plain_text" / "train-00000-of-00001.parquet", **given, **columns)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda g: g["labels"].__setitem__(7, 10), "image 7 has the label 10, expected 0 to 9"),
        (lambda g: g["labels"].__setitem__(7, -1), "image 7 has the label -1"),
        (lambda g: g["labels"].__setitem__(7, None), "image 7 has the label -1"),
        (lambda g: g.update(labels=[NAMES[k] for k in g["labels"]]), "label holds string, expected whole"),
        (lambda g: g.update(labels=[float(k) for k in g["labels"]]), "label holds double, expected whole"),
        (lambda g: [g["labels"].pop(), g["images"].pop()], "59 images, expected 60"),
        (lambda g: g["images"].__setitem__(9, g["images"][9][:900]), "parquet: image 9: is broken"),
        (lambda g: g["images"].__setitem__(9, None), "image 9: is not an image of the format PNG"),
        (lambda g: g["images"].__setitem__(9, encode(images_of(TRAIN)[9], "JPEG")), "image 9: is a JPEG"),
        (lambda g: g["images"].__setitem__(9, encode(images_of(TRAIN)[9][:31])), "32 x 31 pixels"),
        (lambda g: g["images"].reverse(), "that of CIFAR-10 is .*: some image or label was changed"),
    ],
)
def test_a_table_that_is_not_the_data_set(parquet: Path, change, message: str) -> None:
    rewrite_train(parquet, change)
    refuse(parquet, message)


def test_a_table_with_other_columns(parquet: Path) -> None:
    rewrite_train(parquet, lambda given: None, image="picture")
    refuse(parquet, "has the columns picture, label; expected img or image, and label")
    rewrite_train(parquet, lambda given: None, label="fine_label")
    refuse(parquet, "has the columns img, fine_label; expected img or image, and label")


def test_an_image_column_of_something_else(parquet: Path) -> None:
    import pyarrow.parquet

    table = pyarrow.table({"img": ["a.png"] * 60, "label": TRAIN[:, 0].astype(np.int64)})
    pyarrow.parquet.write_table(table, parquet / "plain_text" / "train-00000-of-00001.parquet")
    refuse(parquet, "the column img holds string, expected the bytes of PNG files")


def test_files_that_are_cut_missing_or_of_two_sets(parquet: Path, tmp_path: Path) -> None:
    train, test = sorted((parquet / "plain_text").iterdir(), reverse=True)
    content = train.read_bytes()
    for cut in (
        content[:-1],
        content[: len(content) // 2],
        b"",
        b"PAR1",
        content[:4] + bytes(400) + content[-8:],
    ):
        train.write_bytes(cut)
        refuse(parquet, "train.*is not a whole parquet file")
    damaged = bytearray(content)
    damaged[40:400] = bytes(360)
    train.write_bytes(damaged)
    refuse(parquet, "train")
    train.write_bytes(content)
    shutil.copytree(parquet / "plain_text", parquet / "again")
    refuse(parquet, "more than one data set: .*again.*plain_text")
    shutil.rmtree(parquet / "again")
    test.rename(tmp_path / "blob")
    test.symlink_to(tmp_path / "nowhere")
    refuse(parquet, "test.*is not a whole parquet file .*No such file")
    test.unlink()
    refuse(parquet, "no parquet file of the split 'test'")
    train.rename(train.with_name("data.parquet"))
    refuse(train.with_name("data.parquet"), "does not say whether it is the training or the test split")


def test_without_pyarrow_one_line_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("train.parquet", "test.parquet"):
        (tmp_path / name).write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert refuse(tmp_path, r"train\.parquet: pyarrow reads parquet files").remedy == "pip install pyarrow"


# ---------------------------------------------------------------- arrays

KERAS = "Keras arrays (.npz)"
ARRAYS = arrays_of(TRAIN, TEST)


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a,
        lambda a: a.ravel() if a.ndim == 2 else a,
        lambda a: a.transpose(0, 3, 1, 2) if a.ndim == 4 else a.astype(np.int64),
        lambda a: np.asfortranarray(a),
        lambda a: a.astype(np.float32) if a.ndim == 4 else a,
        lambda a: a.astype(np.float32) / 255 if a.ndim == 4 else a,
        lambda a: a / 255 if a.ndim == 4 else a.astype(">i4"),
    ],
)
def test_the_arrays_of_keras(tmp_path: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    arrays = {name: change(array) for name, array in ARRAYS.items()}
    check_taken(write_arrays(tmp_path / "cifar10.npz", arrays), KERAS)
    np.savez_compressed(tmp_path / "packed.NPZ", **{name.upper(): array for name, array in arrays.items()})
    check_taken((tmp_path / "packed.NPZ.npz").rename(tmp_path / "packed.NPZ"), KERAS)


class Canary:
    """A pickle that leaves a file where it is loaded."""

    def __reduce__(self):
        return (Path("ran").touch, ())


def objects() -> np.ndarray:
    array = np.empty((60, 1), object)
    array[:] = [[Canary()]] * 60
    return array


def changed_pixel() -> np.ndarray:
    images = ARRAYS["x_train"].copy()
    images[17, 3, 4, 1] ^= 1
    return images


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y_train": objects()}, "y_train is a pickle of objects; it is refused, and nothing in it was run"),
        ({"x_train": objects()}, "x_train is a pickle of objects"),
        ({"x_train": changed_pixel()}, "some image or label was changed"),
        ({"x_train": ARRAYS["x_train"][..., ::-1]}, "some image or label was changed"),
        ({"y_train": ARRAYS["y_train"][::-1]}, "some image or label was changed"),
        ({"x_train": ARRAYS["x_train"] / 255 - 0.5}, "x_train: image 0 has the value .* neither a byte"),
        ({"x_train": ARRAYS["x_train"] * np.nan}, "image 0 has the value nan"),
        ({"x_train": ARRAYS["x_train"] + np.inf}, "image 0 has the value inf"),
        ({"x_train": ARRAYS["x_train"].astype(np.int16) + 1}, "has the value 256"),
        ({"x_train": ARRAYS["x_train"][:58], "y_train": ARRAYS["y_train"][:58]}, r"shape \(58, 1\)"),
        ({"x_train": ARRAYS["x_train"].reshape(60, -1)}, r"x_train has the shape \(60, 3072\)"),
        ({"y_train": np.eye(10)[ARRAYS["y_train"].ravel()]}, r"shape \(60, 10\) and the type float64"),
        ({"y_test": ARRAYS["y_test"] + 1}, "y_test: image .* has the label 10, expected 0 to 9"),
        ({"y_test": ARRAYS["y_test"] * 0}, "the class 0 has 30, expected 3"),
        ({"x_test": None}, "has no array x_test; it has x_train, y_test, y_train"),
        ({"y_test": np.zeros(30, [("a", "u1")])}, "the type .*'a'"),
    ],
)
def test_arrays_that_are_not_the_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, np.ndarray | None], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    arrays = {name: array for name, array in {**ARRAYS, **change}.items() if array is not None}
    refuse(write_arrays(tmp_path / "given.npz", arrays), message)
    assert not (tmp_path / "ran").exists()


def test_the_canary_runs_where_pickles_are_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = write_arrays(tmp_path / "given.npz", {**ARRAYS, "y_train": objects()})
    np.load(path, allow_pickle=True)["y_train"]
    assert (tmp_path / "ran").exists()


def test_an_archive_of_arrays_that_is_damaged(tmp_path: Path) -> None:
    path = write_arrays(tmp_path / "given.npz", ARRAYS)
    content = path.read_bytes()
    flipped = bytearray(content)
    flipped[5_000] ^= 1
    for damaged in (content[:-30], content[:1_000], b"", b"\x93NUMPY\x01\x00", bytes(flipped)):
        path.write_bytes(damaged)
        refuse(path, "is not a whole .npz file")
    buffer = io.BytesIO()
    np.save(buffer, ARRAYS["y_train"])
    header = buffer.getvalue().replace(b"(60, 1), }", b"(60, 1), (")  # numpy raises a TokenError here
    with zipfile.ZipFile(path, "w") as archive:
        for name in ARRAYS:
            archive.writestr(f"{name}.npy", header)
    refuse(path, "is not a whole .npz file")


# ---------------------------------------------------------------- PNG files

BY_CLASS = "PNGs by class"


def test_classes_by_name_in_any_letters_or_by_number(tmp_path: Path) -> None:
    tutorial = ("plane", "car", *NAMES[2:])
    for number, names in enumerate([NAMES, [n.upper() for n in NAMES], "0123456789", tutorial]):
        check_taken(write_by_class(tmp_path / str(number), TRAIN, TEST, names=names), BY_CLASS)
    (tmp_path / "0" / "train").rename(tmp_path / "0" / "Train")
    (tmp_path / "0" / "labels.txt").write_text("litter")
    (tmp_path / "0" / "Train" / ".DS_Store").write_text("litter")
    check_taken(tmp_path / "0", BY_CLASS)


def test_cifar_100_by_number(tmp_path: Path) -> None:
    distribution, images = small_100()
    folder = write_by_class(tmp_path / "given", *np.split(images, 2), names=[str(k) for k in range(100)])
    parts = [canonical(part) for part in np.split(images, 2)]
    check_taken(folder, BY_CLASS, dataclasses.replace(distribution, content=content_hash(*parts)))
    (folder / "test" / "17").rename(folder / "test" / "apple")
    with pytest.raises(DataError, match="apple: is no class; expected 0 to 99"):
        keep(folder, distribution)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: shutil.rmtree(f / "test"), "has no folder test"),
        (lambda f: shutil.rmtree(f / "train"), "has no folder train"),
        (lambda f: shutil.rmtree(f / "train" / "cat"), r"train: the class 3 \(cat\) is missing"),
        (
            lambda f: shutil.copytree(f / "test" / "cat", f / "test" / "boat"),
            "boat: is no class; expected air",
        ),
        (lambda f: shutil.copytree(f / "test" / "cat", f / "test" / "Cat"), "is a class for the second time"),
        (lambda f: (f / "test" / "3").mkdir(), "3: the class has no image"),
        (
            lambda f: [path.unlink() for path in sorted((f / "train" / "dog").iterdir())[:2]],
            r"train: 58 images, expected 60; the class 5 \(dog\) has 4, expected 6",
        ),
        (
            lambda f: next((f / "train" / "dog").iterdir()).rename(f / "train" / "cat" / "x.png"),
            r"60 images, expected 60; the class 3 \(cat\) has 7, expected 6",
        ),
        (lambda f: first(f).write_bytes(first(f).read_bytes()[:-50]), r"train.airplane.\d+\.png: is broken"),
        (lambda f: first(f).write_bytes(b"no image"), r"\.png: is not an image of the format PNG"),
        (lambda f: first(f).write_bytes(encode(images_of(TRAIN)[0], "JPEG")), "is a JPEG, which no longer"),
        (lambda f: first(f).write_bytes(encode(np.zeros((32, 32), np.uint16))), "has 16 bits per channel"),
        (lambda f: first(f).write_bytes(encode(np.zeros((64, 64, 3), np.uint8))), "has 64 x 64 pixels"),
        (lambda f: first(f).write_bytes(encode(np.zeros((32, 32), np.uint8))), "some image or label"),
        (lambda f: first(f).rename(f / "train" / "1.png"), r"1\.png: the image is in no class"),
    ],
)
def test_folders_that_are_not_the_data_set(by_class: Path, change, message: str) -> None:
    change(by_class)
    refuse(by_class, message)


def first(folder: Path) -> Path:
    return min((folder / "train" / "airplane").iterdir())


def test_one_changed_pixel_or_two_images_exchanged(by_class: Path) -> None:
    cat, dog = (next((by_class / "train" / name).iterdir()) for name in ("cat", "dog"))
    contents = cat.read_bytes(), dog.read_bytes()
    cat.write_bytes(contents[1])
    dog.write_bytes(contents[0])
    refuse(by_class, "some image or label was changed")
    cat.write_bytes(contents[0])
    dog.write_bytes(contents[1])
    check_taken(by_class, BY_CLASS)


def test_kaggle_s_numbers_with_genuine_test_images(kaggle: Path) -> None:
    check_taken(kaggle, "Kaggle's PNGs")


def test_kaggle_s_own_test_images_prove_nothing(kaggle: Path) -> None:
    (kaggle / "testLabels.csv").unlink()
    error = refuse(kaggle, "Kaggle's test images cannot be proven genuine: it changed them slightly")
    assert "290,000 others, and gives no labels" in error.what
    assert "resdeg data fetch" in error.remedy
    assert error.exit_code == 4


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\n17,", "\n1017,", "train/17.png|train/1017.png: is not there"),
        ("\n18,", "\n17,", "line 19 is '17,.*', expected a new id and a class"),
        ("\n17,", "\nx,", "line 18 is 'x,.*', expected a new id"),
        ("\n60,cat", "", None),
        ("id,label\n", "", "its first line is not id,label"),
        (",cat", ",tiger", "is '[0-9]+,tiger', expected a new id and a class"),
        (",cat", ",dog", r"60 images, expected 60; the class 3 \(cat\) has 0, expected 6"),
        (",cat", "", "expected a new id and a class"),
    ],
)
def test_tables_that_are_not_kaggle_s(kaggle: Path, old: str, new: str, message: str | None) -> None:
    table = kaggle / "trainLabels.csv"
    text = table.read_text()
    if message is None:
        lines = text.splitlines()
        text, message = (
            "\n".join(lines[:17] + lines[18:]),
            "59 labels, expected 60; 17 is the first id that is missing",
        )
    table.write_text(text.replace(old, new))
    refuse(kaggle, message)


def test_a_table_of_other_bytes_or_without_its_folder(kaggle: Path) -> None:
    table = kaggle / "trainLabels.csv"
    content = table.read_bytes()
    table.write_bytes(b"\xff\xfe" + content)
    refuse(kaggle, "is no CSV file")
    table.write_bytes(b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n"))
    check_taken(kaggle, "Kaggle's PNGs")
    shutil.rmtree(kaggle / "train")
    with pytest.raises(DataError, match="has no folder train"):
        keep(kaggle, GENUINE)


# ---------------------------------------------------------------- where copies are looked for


def test_a_sweep_says_that_a_copy_is_to_be_imported_first(by_class: Path, tmp_path: Path) -> None:
    arrays = write_arrays(tmp_path / "my cifar.npz", ARRAYS)
    for path, shown in ((by_class, str(by_class)), (arrays, f"'{arrays}'")):
        with pytest.raises(DataError, match="which a sweep does not read itself") as error:
            find(path, GENUINE)
        assert error.value.remedy.startswith(f"run `resdeg data import {shown}` once")
    with pytest.raises(DataError) as error:
        find(by_class, CIFAR100)
    assert f"import {by_class} --data cifar100`" in error.value.remedy


def test_batches_win_over_a_copy_beside_them(by_class: Path) -> None:
    write_folder(by_class / "cifar-10-batches-bin", binary_files([FIRST, SECOND, TEST]))
    said: list[str] = []
    assert keep(by_class, GENUINE, say=said.append).hash == GENUINE.content
    assert not said


def test_what_keras_unpacked_is_found(tmp_path: Path) -> None:
    """Keras 2 unpacks beside the archive, and Keras 3 into a folder of the archive's name."""
    layout = SMALL.layouts[1]
    content = dict(zip(layout.names, map(official_batch, (FIRST, SECOND, TEST)), strict=True))
    for number, inside in enumerate(("", f"{layout.folder}-target/")):
        folder = write_folder(tmp_path / str(number) / f"{inside}{layout.folder}", content)
        assert find(tmp_path / str(number), SMALL) == cifar.Location(folder, layout)


# ---------------------------------------------------------------- the real one


@pytest.fixture(scope="module")
def real_records() -> tuple[np.ndarray, np.ndarray]:
    given = os.environ.get("RESDEG_DATA_DIR")
    if not given:
        pytest.skip("needs the real CIFAR-10: set RESDEG_DATA_DIR")
    location = find(Path(given))
    assert location.layout is not None
    train, test = cifar.batches.read(location.path, location.layout, train=50_000, test=10_000, classes=10)
    return train, test


@pytest.mark.cifar
def test_the_names_are_in_the_order_of_the_labels(cifar_folder: Path) -> None:
    location = find(cifar_folder)
    assert location.layout is not None
    if not (names := location.path / "batches.meta.txt").is_file():
        pytest.skip("only the binary layout names its classes in a text")
    assert tuple(names.read_text().split()) == CIFAR10.class_names


@pytest.mark.cifar
@pytest.mark.slow
@pytest.mark.parametrize(
    ("write", "title"),
    [
        (write_parquet, HUGGING_FACE),
        (lambda path, *parts: write_arrays(path.with_suffix(".npz"), arrays_of(*parts)), KERAS),
    ],
)
def test_the_real_one_is_proven_by_its_hash(real_records, tmp_path: Path, write, title: str) -> None:
    if title == HUGGING_FACE:
        pytest.importorskip("pyarrow")
    check_taken(write(tmp_path / "given", *real_records), title, CIFAR10)
