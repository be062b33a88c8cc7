"""Images of one's own: read by class, known by their hash, cached, and refused in words."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resdeg import files
from resdeg.config import DataConfig, FolderConfig, Settings, list_layers, resolve
from resdeg.data import describe_folder, load, name_images, shape, source
from resdeg.data.images import content_hash, records_of
from resdeg.errors import DataError, StorageError, UsageError
from tests.data.drawn import CLASSES, draw_folder

NOTHING = Path("nothing")


def config_of(data_dir: Path, **settings: object) -> DataConfig:
    return DataConfig(name="folder", folder=FolderConfig(**describe_folder(data_dir)), **settings)


def change_a_pixel(path: Path) -> None:
    """Changes one value of an image, and leaves size and time of its file as they were."""
    before = path.stat()
    with Image.open(path) as image:
        pixels = np.array(image)
    pixels.flat[0] ^= 1
    Image.fromarray(pixels).save(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Lists the image files that are read from now on."""
    reads, read = [], files.read

    def counted(path: Path) -> bytes | None:
        if path.suffix == ".png":
            reads.append(path)
        return read(path)

    monkeypatch.setattr(files, "read", counted)
    return reads


def test_every_image_is_read_with_the_class_of_its_folder(tmp_path: Path) -> None:
    root = draw_folder(tmp_path / "my pics", counts={"train": 5, "test": 3}, side=7)
    config = config_of(root)
    assert config.folder is not None
    assert config.folder.model_dump(exclude={"hash"}) == {
        "name": "my pics", "classes": 3, "side": 7, "train": 15, "test": 9,
    }  # fmt: skip
    for data_dir in (root, None):
        dataset = load(config, data_dir)
        assert dataset.hash == config.folder.hash == content_hash(
            records_of(dataset.train), records_of(dataset.test)
        )  # fmt: skip
        assert (dataset.name, dataset.classes, dataset.shape.side) == ("folder", 3, 7)
        for split, count in ((dataset.train, 5), (dataset.test, 3)):
            own = {
                (bytes(image), int(label)) for image, label in zip(split.images, split.labels, strict=True)
            }
            name = "train" if count == 5 else "test"
            drawn = {
                (np.asarray(Image.open(root / name / word / f"{number}.png")).tobytes(), label)
                for label, word in enumerate(CLASSES)
                for number in range(count)
            }
            assert own == drawn
    assert shape(config) == shape(config.model_copy(update={"name": "folder"}))
    assert (shape(config).train, shape(config).test, shape(config).classes) == (15, 9, 3)


def test_names_and_order_of_files_are_no_part_of_the_hash(tmp_path: Path) -> None:
    first = draw_folder(tmp_path / "a")
    second = draw_folder(tmp_path / "b")
    folder = second / "train" / "bee"
    (folder / "3.png").rename(folder / "zz.png")
    (folder / "inner").mkdir()
    (folder / "4.png").rename(folder / "inner" / "4.png")
    (second / "train" / ".DS_Store").write_bytes(b"x")
    assert describe_folder(first)["hash"] == describe_folder(second)["hash"]
    (first / "train" / "ant" / "0.png").rename(first / "train" / "bee" / "more.png")
    assert describe_folder(first)["hash"] != describe_folder(second)["hash"], "a label counts"


def test_grey_images_have_three_equal_channels(tmp_path: Path) -> None:
    dataset = load(config_of(draw_folder(tmp_path / "grey", grey=True)))
    assert dataset.train.images.shape[-1] == 3
    assert (dataset.train.images == dataset.train.images[..., :1]).all()


def test_a_validation_split_a_subset_and_noise_are_those_of_any_data_set(tmp_path: Path) -> None:
    root = draw_folder(tmp_path / "pics")
    config = config_of(root, validation=9, subset=12, label_noise=0.5)
    dataset, clean = load(config), load(config_of(root, validation=9, subset=12))
    assert (len(dataset.train), len(dataset.test)) == (12, 12)
    assert (dataset.train.labels != clean.train.labels).sum() == 6
    assert len({dataset.hash, clean.hash, load(config_of(root)).hash}) == 3
    assert name_images(config) == "12 training images of pics with 50 % of training labels changed"


# ---------------------------------------------------------------- the cache


def test_images_are_decoded_once_and_mapped_from_then_on(tmp_path: Path, monkeypatch) -> None:
    root = draw_folder(tmp_path / "pics")
    reads = count_reads(monkeypatch)
    config = config_of(root)
    assert len({*reads}) == 60, "every file"
    reads.clear()
    for data_dir in (root, None):
        dataset = load(config_of(root), data_dir)
        assert isinstance(dataset.train.images.base, np.memmap) or isinstance(dataset.train.images, np.memmap)
    moved = root.rename(tmp_path / "moved")
    assert describe_folder(moved) == config.folder.model_dump() | {"name": "moved"}
    source(config.name).check(config, None)
    shutil.rmtree(moved)
    assert load(config).hash == config.folder.hash, "the folder itself is not needed any more"
    assert not reads


@pytest.mark.parametrize(
    "change",
    [
        lambda root: change_a_pixel(root / "train" / "ant" / "3.png"),
        lambda root: change_a_pixel(root / "test" / "cow" / "0.png"),
        lambda root: shutil.copy(root / "train" / "ant" / "3.png", root / "train" / "ant" / "99.png"),
        lambda root: (root / "train" / "ant" / "3.png").unlink(),
        lambda root: (root / "train" / "ant" / "3.png").rename(root / "train" / "bee" / "99.png"),
    ],
    ids=["a pixel", "a test pixel", "one more", "one less", "another label"],
)
def test_a_change_is_noticed_and_refused_with_both_hashes(
    change: Callable[[Path], object], tmp_path: Path
) -> None:
    root = draw_folder(tmp_path / "pics")
    config = config_of(root)
    change(root)
    now = describe_folder(root)["hash"]
    assert now != config.folder.hash
    with pytest.raises(DataError) as error:
        load(config, root)
    assert now in error.value.what
    assert config.folder.hash in error.value.what
    assert "--data-dir" in error.value.remedy
    assert load(config).hash == config.folder.hash, "the images as they were are in the cache"


def test_sizes_written_by_hand_are_refused(tmp_path: Path) -> None:
    config = config_of(draw_folder(tmp_path / "pics"))
    table = config.folder.model_copy(update={"train": config.folder.train - 1})
    with pytest.raises(DataError, match="data hash"):
        load(config.model_copy(update={"folder": table}))


def test_without_the_cache_the_folder_has_to_be_named(tmp_path: Path, monkeypatch) -> None:
    root = draw_folder(tmp_path / "pics")
    config = config_of(root)
    monkeypatch.setenv("RESDEG_CACHE_DIR", str(tmp_path / "other"))
    for ask in (load, source(config.name).check):
        with pytest.raises(DataError) as error:
            ask(config, None)
        assert config.folder.hash[:12] in error.value.what
        assert "--data-dir DIR" in error.value.remedy
    assert load(config, root).hash == config.folder.hash
    assert load(config, None).hash == config.folder.hash, "it is in this cache now"


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path: Path, monkeypatch) -> None:
    root = draw_folder(tmp_path / "pics")

    def refuse(path: Path, content: bytes) -> None:
        raise StorageError("full")

    monkeypatch.setattr(files, "write", refuse)
    assert load(config_of(root), root).hash == describe_folder(root)["hash"]


@pytest.mark.parametrize("damage", [b"", b"{}", b"not json"])
def test_a_damaged_cache_is_read_anew(damage: bytes, tmp_path: Path) -> None:
    root = draw_folder(tmp_path / "pics")
    config = config_of(root)
    for path in (tmp_path / "cache" / "folders").iterdir():
        path.write_bytes(damage)
    assert describe_folder(root) == config.folder.model_dump()
    for path in (tmp_path / "cache" / "arrays").rglob("train.images.npy"):
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(DataError, match="not in the cache"):
        load(config)
    assert load(config, root).hash == config.folder.hash
    shutil.rmtree(tmp_path / "cache" / "arrays")
    describe_folder(root)
    assert load(config).hash == config.folder.hash, "the arrays are there again before a sweep begins"


def test_arrays_of_other_images_under_this_name_are_refused(tmp_path: Path) -> None:
    config, other = (config_of(draw_folder(tmp_path / name, seed=seed)) for seed, name in enumerate("ab"))
    arrays = tmp_path / "cache" / "arrays"
    mine = arrays / f"folder-{config.folder.hash[:16]}"
    shutil.rmtree(mine)
    shutil.copytree(arrays / f"folder-{other.folder.hash[:16]}", mine)
    with pytest.raises(DataError, match=other.folder.hash):
        load(config)


# ---------------------------------------------------------------- what is refused


def spoil(root: Path, kind: str) -> None:
    train, test = root / "train", root / "test"
    image = train / "ant" / "2.png"
    with Image.open(image) as opened:
        pixels = np.array(opened)
    match kind:
        case "no train":
            shutil.rmtree(train)
        case "no test":
            shutil.rmtree(test)
        case "val for test":
            test.rename(root / "val")
        case "class in train":
            shutil.rmtree(test / "cow")
        case "class in test":
            shutil.rmtree(train / "cow")
        case "one class":
            for folder in (train / "ant", train / "bee", test / "ant", test / "bee"):
                shutil.rmtree(folder)
        case "empty class":
            shutil.rmtree(test / "bee")
            (test / "bee").mkdir()
        case "other size":
            Image.fromarray(pixels[:4, :4]).save(image)
        case "broken":
            image.write_bytes(image.read_bytes()[:60])
        case "no image":
            (train / "ant" / "notes.txt").write_text("x")
        case "in no class":
            image.rename(train / "2.png")


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("no train", ["has no train/", "train/ and test/, and in both a folder of images for each class"]),
        ("no test", ["has no test/", "train/ and test/"]),
        ("val for test", ["has no test/", "rename", "val to"]),
        ("class in train", ["the class cow is in train/ and not in test/", "the same classes"]),
        ("class in test", ["the class cow is in test/ and not in train/"]),
        ("one class", ["has 1 class, which must be 2 to 256"]),
        ("empty class", ["test/bee: the class has no image"]),
        ("other size", ["train/ant/2.png: has 4 x 4 pixels, expected 8 x 8", "as in", "train/ant/0.png"]),
        ("broken", ["train/ant/2.png: is"]),
        ("no image", ["notes.txt: is no image file"]),
        ("in no class", ["train/2.png: the image is in no class"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_data_set_is_refused_in_words(kind: str, says: list[str], tmp_path: Path) -> None:
    root = draw_folder(tmp_path / "pics")
    spoil(root, kind)
    with pytest.raises(DataError) as error:
        describe_folder(root)
    for words in says:
        assert words in str(error.value)
    assert error.value.remedy
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("size", "says"),
    [
        ((8, 6), "has 6 x 8 pixels, and images must be square\ncrop or pad"),
        ((3, 3), "has 3 x 3 pixels, and a side must have 4 to 512\nscale"),
        ((513, 513), "has 513 x 513 pixels, and a side must have 4 to 512"),
    ],
)
def test_a_size_that_no_network_takes_is_refused(size: tuple[int, int], says: str, tmp_path: Path) -> None:
    for name in ("train", "test"):
        for word in "ab":
            (tmp_path / "pics" / name / word).mkdir(parents=True)
            Image.new("RGB", size[::-1]).save(tmp_path / "pics" / name / word / "0.png")
    with pytest.raises(DataError) as error:
        describe_folder(tmp_path / "pics")
    assert says in str(error.value)


@pytest.mark.parametrize("side", [4, 5, 512])
def test_the_smallest_odd_and_the_largest_sides_are_taken(side: int, tmp_path: Path) -> None:
    root = draw_folder(tmp_path / "pics", side=side, counts={"train": 1, "test": 1})
    assert describe_folder(root)["side"] == side


def test_more_classes_than_a_byte_has_values_are_refused(tmp_path: Path) -> None:
    classes = tuple(f"{number:03}" for number in range(257))
    root = draw_folder(tmp_path / "pics", classes=classes, side=4, counts={"train": 1, "test": 1})
    with pytest.raises(DataError, match="has 257 classes, which must be 2 to 256"):
        describe_folder(root)
    for name in ("train", "test"):
        shutil.rmtree(root / name / "000")
    assert describe_folder(root)["classes"] == 256
    assert load(config_of(root)).train.labels.max() == 255


def test_what_is_not_there_or_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for name, says in (("nothing", "is not there"), ("file", "is not a folder")):
        with pytest.raises(DataError, match=says):
            describe_folder(tmp_path / name)


# ---------------------------------------------------------------- the settings


def described(data_dir: Path) -> Settings:
    """A table as `describe_folder` returns it, whose name is the path."""
    return {"name": str(data_dir), "classes": 2, "side": 8, "train": 40, "test": 9, "hash": "a" * 64}


def settle(
    *,
    file: str = "",
    environment: dict[str, str] | None = None,
    assignments: tuple[str, ...] = (),
    folder: Path,
    **flags: object,
) -> tuple[DataConfig, str | None]:
    path = None
    if file:
        path = folder / "plan.toml"
        path.write_text(file)
    config = resolve(path, environment or {}, assignments, flags, describe=described)
    return config.data, config.execution.data_dir


CIFAR = {"RESDEG_DATA_DIR": "cifar"}
TABLE = '[data]\nname = "folder"\n[data.folder]\n' + "".join(
    f"{key} = {json.dumps(value)}\n" for key, value in described(Path("file")).items()
)


@pytest.mark.parametrize(
    ("given", "name", "data_dir"),
    [
        ({"data": {"name": "folder:pics"}}, "pics", "pics"),
        ({"data": {"name": "folder:pics"}, "environment": CIFAR}, "pics", "pics"),
        ({"assignments": ("data.name=folder:a:b",)}, "a:b", "a:b"),
        ({"file": '[data]\nname = "folder:pics"'}, "pics", "pics"),
        ({"file": '[data]\nname = "folder:pics"', "execution": {"data_dir": "new"}}, "new", "new"),
        ({"file": '[data]\nname = "folder:a"', "data": {"name": "folder:b"}}, "b", "b"),
        ({"file": '[data]\nname = "cifar100"\n[execution]\ndata_dir = "c"', "data": {"name": "folder:b"}},
         "b", "b"),
        ({"file": TABLE, "environment": CIFAR}, "file", None),
        ({"file": TABLE, "execution": {"data_dir": "new"}}, "file", "new"),
        ({"file": TABLE, "data": {"name": "folder:pics"}}, "pics", "pics"),
        ({"file": '[data]\nname = "folder:pics"', "data": {"name": "cifar10"}, "environment": CIFAR},
         None, "cifar"),
    ],
)  # fmt: skip
def test_the_highest_layer_says_which_images(given, name: str | None, data_dir: str | None, tmp_path) -> None:
    settings, chosen = settle(folder=tmp_path, **given)
    assert (None if settings.folder is None else settings.folder.name) == name
    assert settings.name == ("folder" if name else "cifar10")
    assert chosen == data_dir


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"data": {"name": "folder"}}, "no folder is named\ngive --data folder:DIR"),
        ({"data": {"name": "folder:"}}, "names no folder\ngive --data folder:DIR"),
        ({"data": {"folder": described(NOTHING)}}, "data.folder is set, but data.name is not 'folder'"),
        ({"data": {"name": "folder:a"}, "execution": {"data_dir": "b"}}, "in a and in b\ngive one"),
        ({"data": {"name": "folder", "folder": described(NOTHING) | {"hash": "x"}}}, "data.folder.hash"),
    ],
)
def test_settings_that_name_no_images_are_refused(flags, says: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        settle(folder=tmp_path, **flags)
    assert says in str(error.value)


def test_images_that_do_not_count_are_not_read(tmp_path: Path) -> None:
    def refuse(data_dir: Path) -> Settings:
        raise AssertionError(data_dir)

    path = tmp_path / "plan.toml"
    path.write_text('[data]\nname = "folder:pics"')
    assert resolve(path, {}, ["data.name=cifar100"], {}, describe=refuse).data.name == "cifar100"
    assert "RESDEG_DATA_DIR" in list_layers(path, CIFAR, ["data.name=cifar100"], {}, describe=refuse)


def test_only_the_hash_of_the_images_is_part_of_the_identity(tmp_path: Path) -> None:
    """A folder may be renamed; other images are other runs."""

    def run_id(**changes: object) -> str:
        table = described(NOTHING) | changes
        config = resolve(None, {}, [], {"depths": 8, "data": {"name": "folder", "folder": table}})
        return config.runs()[0].run_id

    assert run_id() == run_id(name="renamed")
    assert run_id() != run_id(hash="b" * 64)
    first = resolve(None, {}, [], {"data": {"name": "folder", "folder": described(NOTHING)}}).runs()[0]
    assert first.identity["data.folder.hash"] == "a" * 64
    assert "data.folder.hash" not in resolve(None, {}, [], {}).runs()[0].identity


def test_the_label_of_a_line_tells_data_sets_apart() -> None:
    table = FolderConfig(**described(Path("pics")))
    assert DataConfig().label == "cifar10"
    assert DataConfig(subset=5_000, label_noise=0.2).label == "cifar10, subset 5,000, label noise 0.2"
    assert DataConfig(name="folder", folder=table).label == "folder pics"
