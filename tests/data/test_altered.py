"""Label noise and subsets: which labels and images, the same for every seed, and a hash of their own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from resdeg.config import DataConfig, FolderConfig, HierarchyConfig
from resdeg.data import load, name_images, shape
from resdeg.data.altered import alter
from resdeg.data.images import Dataset, Split, content_hash, records_of
from resdeg.errors import UsageError

RULES = HierarchyConfig(levels=1, cell=4, symbols=6, synonyms=3, noise=9, train_images=500, test_images=40)
COUNTS = (900, 450, 150)  # images of each class of `unequal`


def altered(**settings: object) -> Dataset:
    return load(DataConfig(name="hierarchy", hierarchy=RULES, **settings))


CLEAN = altered()


def unequal() -> Dataset:
    """Images that can be told apart, of classes that are not equally large."""
    count = sum(COUNTS)
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(3, dtype=np.uint8), COUNTS))
    images = np.arange(count * 48, dtype=np.int64).astype(np.uint8).reshape(count, 4, 4, 3)
    images[:, 0, 0] = np.stack([np.arange(count) // 256, np.arange(count) % 256, labels], axis=1)
    part = Split(images, labels)
    return Dataset("unequal", 3, part, part.take(np.arange(20)), None, "")


def changed(dataset: Dataset) -> np.ndarray:
    return np.flatnonzero(dataset.train.labels != CLEAN.train.labels)


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 0.9, 1.0])
def test_exactly_that_share_of_the_labels_is_wrong_and_nothing_else_moves(share: float) -> None:
    noisy = altered(label_noise=share)
    assert len(changed(noisy)) == round(share * 500)
    assert noisy.train.labels.max() < 10
    assert np.array_equal(noisy.train.images, CLEAN.train.images)
    assert np.array_equal(noisy.test.labels, CLEAN.test.labels)
    assert np.array_equal(noisy.test.images, CLEAN.test.images)


def test_the_other_classes_are_equally_likely() -> None:
    """Each of 10 classes becomes each of the 9 others, 2,000 changes in all."""
    rules = RULES.model_copy(update={"train_images": 4_000})
    clean = load(DataConfig(name="hierarchy", hierarchy=rules)).train.labels.astype(int)
    noisy = load(DataConfig(name="hierarchy", hierarchy=rules, label_noise=0.5)).train.labels.astype(int)
    wrong = clean != noisy
    counts = np.bincount(((noisy - clean) % 10)[wrong], minlength=10)[1:]
    expected = 2_000 / 9
    assert ((counts - expected) ** 2 / expected).sum() < 22  # 99.5 % of draws with 8 degrees of freedom
    assert counts.min() > 0
    per_class = np.bincount(clean[wrong], minlength=10)
    assert per_class.min() > 150, "no class is spared"


def test_more_noise_changes_the_same_labels_in_the_same_way_and_others() -> None:
    less, more = altered(label_noise=0.1), altered(label_noise=0.3)
    assert {*changed(less)} < {*changed(more)}
    assert np.array_equal(less.train.labels[changed(less)], more.train.labels[changed(less)])


def test_noise_is_the_same_each_time_and_pinned() -> None:
    """Another stream would be other data under the run ids of published runs."""
    assert [changed(altered(label_noise=0.02))[:3].tolist(), altered(label_noise=0.2).hash[:12]] == PINNED


PINNED = [[41, 42, 87], "7b03c5c615ca"]


@pytest.mark.parametrize("count", [10, 50, 123, 499, 500])
def test_a_subset_has_as_many_images_of_each_class_and_lies_in_larger_ones(count: int) -> None:
    subset = altered(subset=count)
    assert len(subset.train) == count
    counts = np.bincount(subset.train.labels, minlength=10)
    assert counts.max() - counts.min() <= 1
    records, larger, whole = (
        [*map(bytes, records_of(part.train))] for part in (subset, altered(subset=(count + 500) // 2), CLEAN)
    )
    assert set(records) <= set(larger)
    assert records == [record for record in whole if record in {*records}], "the canonical order stays"
    assert np.array_equal(subset.test.images, CLEAN.test.images)


def test_a_subset_is_a_random_sample_within_a_class() -> None:
    """Its images are the first of their class by hash, wherever they were drawn."""
    subset = altered(subset=100)
    for label in range(10):
        members = records_of(CLEAN.train)[CLEAN.train.labels == label][:10]
        assert np.array_equal(records_of(subset.train)[subset.train.labels == label], members)


@pytest.mark.parametrize("count", [10, 100, 500, 1_499])
def test_classes_of_unequal_size_keep_their_shares(count: int) -> None:
    subset = alter(unequal(), DataConfig(subset=count))
    counts = np.bincount(subset.train.labels, minlength=3)
    assert counts.sum() == count
    for own, whole in zip(counts, COUNTS, strict=True):
        assert abs(own - count * whole / sum(COUNTS)) <= 1


def test_validation_is_held_out_first_and_stays_clean() -> None:
    whole = altered(validation=100)
    both = altered(validation=100, subset=200, label_noise=0.25)
    assert whole.validation is not None
    assert both.validation is not None
    assert np.array_equal(both.validation.images, whole.validation.images)
    assert np.array_equal(both.validation.labels, whole.validation.labels)
    clean = altered(validation=100, subset=200)
    assert np.array_equal(both.train.images, clean.train.images)
    assert (both.train.labels != clean.train.labels).sum() == 50, "of what is trained on"


def test_the_hash_covers_what_is_trained_on() -> None:
    versions = [
        CLEAN,
        altered(label_noise=0.2),
        altered(label_noise=0.4),
        altered(subset=100),
        altered(subset=101),
        altered(subset=100, label_noise=0.2),
        altered(validation=50, subset=100),
    ]
    assert len({dataset.hash for dataset in versions}) == len(versions)
    assert altered(validation=50).hash == CLEAN.hash, "as it was before there were subsets"
    for dataset in versions[:-1]:
        assert dataset.hash == content_hash(records_of(dataset.train), records_of(dataset.test))
    noisy = versions[1]
    wrong = replace(noisy.test, labels=(noisy.test.labels + 1) % 10)
    assert replace(noisy, test=wrong).hash_content() != noisy.hash


def test_the_hash_covers_validation_images_and_more_than_the_first_thousand() -> None:
    dataset = replace(unequal(), validation=unequal().test)
    labels = dataset.train.labels.copy()
    labels[-1] = (labels[-1] + 1) % 3
    relabelled = replace(dataset, train=replace(dataset.train, labels=labels))
    without = replace(dataset, validation=None)
    assert len({each.hash_content() for each in (dataset, relabelled, without)}) == 3


@pytest.mark.parametrize(
    "settings", [{}, {"validation": 60}, {"subset": 90}, {"validation": 60, "subset": 90}]
)
def test_the_shape_is_that_of_what_is_loaded(settings: dict[str, int]) -> None:
    config = DataConfig(name="hierarchy", hierarchy=RULES, label_noise=0.1, **settings)
    loaded = load(config)
    assert shape(config).train == len(loaded.train)
    assert shape(config).validation == (0 if loaded.validation is None else len(loaded.validation))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"subset": 501}, "data.subset=501 is more than the 500 training images\nleave it out"),
        ({"subset": 401, "validation": 100}, "more than the 400 training images, 100 of all being held out"),
        ({"subset": 9}, "data.subset=9 is less than an image for each of 10 classes\ngive 10 or more"),
        (
            {"label_noise": 0.0009},
            "data.label_noise=0.0009 changes no label of 500 training images\ngive 0",
        ),
        ({"label_noise": 0.01, "subset": 40}, "changes no label of 40 training images"),
    ],
)
def test_what_cannot_be_is_refused_before_and_while_it_is_read(settings: dict[str, int], says: str) -> None:
    config = DataConfig(name="hierarchy", hierarchy=RULES, **settings)
    for refuse in (shape, load):
        with pytest.raises(UsageError) as error:
            refuse(config)
        assert says in str(error.value)


OWN = FolderConfig(name="{pics} 1", classes=2, side=8, train=4, test=4, hash="0" * 64)


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (DataConfig(), "CIFAR-10"),
        (DataConfig(name="cifar100", label_noise=0.125), "CIFAR-100 with 12.5 % of training labels changed"),
        (DataConfig(subset=5_000), "5,000 training images of CIFAR-10"),
        (
            DataConfig(subset=5_000, label_noise=0.2),
            "5,000 training images of CIFAR-10 with 20 % of training labels changed",
        ),
        (DataConfig(name="hierarchy"), "generated images (hierarchy)"),
        (DataConfig(name="hierarchy", subset=70), "70 generated training images (hierarchy)"),
        (DataConfig(name="folder", folder=OWN), "images of {pics} 1"),
        (DataConfig(name="folder", folder=OWN, subset=3), "3 training images of {pics} 1"),
    ],
    ids=str,
)
def test_titles_say_what_the_images_are(config: DataConfig, name: str) -> None:
    assert name_images(config) == name


@pytest.mark.slow
def test_noise_on_the_real_cifar_leaves_its_images(cifar_folder: Path) -> None:
    clean = load(DataConfig(), cifar_folder)
    noisy = load(DataConfig(label_noise=0.2), cifar_folder)
    assert (noisy.train.labels != clean.train.labels).sum() == 10_000
    assert np.array_equal(noisy.train.images[::97], clean.train.images[::97])
    assert noisy.hash != clean.hash
    few = load(DataConfig(subset=5_000), cifar_folder)
    assert np.bincount(few.train.labels).tolist() == [500] * 10
