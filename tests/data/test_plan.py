"""Batches as data: every image once an epoch, straddling, the same from any starting step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from resdeg.config import DataConfig, HierarchyConfig
from resdeg.data import hierarchy, load
from resdeg.data.augment import Standardiser, augment
from resdeg.data.batch_plan import batch_plan, epoch_plan, record_steps, snapshot_steps
from resdeg.data.images import Split, fixed_images


def test_an_epoch_is_a_permutation_with_crops_in_range() -> None:
    plan = epoch_plan(0, 3, images=1000, pad=4, flip=True)
    assert sorted(plan >> 9) == list(range(1000))
    for crop in (plan >> 5 & 15, plan >> 1 & 15):
        assert (crop.min(), crop.max()) == (0, 8)
    assert 400 < (plan & 1).sum() < 600


def test_batches_straddle_epochs_and_lose_nothing() -> None:
    seen = np.concatenate([batch_plan(1, step, batch=32, images=100, pad=4, flip=True) for step in range(25)])
    assert np.array_equal(
        seen, np.concatenate([epoch_plan(1, e, images=100, pad=4, flip=True) for e in range(8)])
    )


def test_streams_differ_by_seed_and_epoch_and_a_crop_does_not_depend_on_the_order() -> None:
    plans = [epoch_plan(seed, epoch, images=500, pad=4, flip=True) for seed in (0, 1) for epoch in (0, 1)]
    assert len({plan.tobytes() for plan in plans}) == 4
    assert np.array_equal(epoch_plan(0, 0, images=500, pad=0, flip=False) >> 9, plans[0] >> 9)


def test_without_augmentation_every_image_is_itself() -> None:
    plan = epoch_plan(0, 0, images=50, pad=0, flip=False)
    assert np.array_equal(plan, plan >> 9 << 9)


@given(st.integers(1, 300), st.integers(1, 64), st.integers(1, 200))
def test_records_close_epochs_as_the_recipe_says(images: int, batch: int, total: int) -> None:
    steps = record_steps(images, batch, total)
    assert steps[-1] == total
    assert steps == sorted(set(steps))
    assert all(s == total or -(-(s * batch // images) * images // batch) == s for s in steps)


def test_records_of_the_known_schedules() -> None:
    assert record_steps(50_000, 128, 1172) == [391, 782, 1172]
    assert record_steps(50_000, 128, 3906)[-2:] == [3516, 3906]
    assert len(record_steps(50_000, 128, 64_000)) == 164


def reference(
    image: np.ndarray, row: int, column: int, flip: int, mean: np.ndarray, std: np.ndarray
) -> np.ndarray:
    """The recipe on one image, written down plainly: standardise, pad with zeros, crop, flip."""
    side = image.shape[0]
    value = (image / 255 - mean) / std
    padded = np.pad(value, ((4, 4), (4, 4), (0, 0)))
    crop = padded[row : row + side, column : column + side]
    return (crop[:, ::-1] if flip else crop).transpose(2, 0, 1)


def test_augmentation_is_the_recipe() -> None:
    generator = np.random.default_rng(0)
    split = Split(generator.integers(0, 256, (40, 12, 12, 3), dtype=np.uint8), np.zeros(40, np.uint8))
    plan = batch_plan(7, 0, batch=40, images=40, pad=4, flip=True)
    standardise = Standardiser.from_split(split, torch.device("cpu"))
    got = augment(torch.from_numpy(split.images), torch.from_numpy(plan), standardise, 4)
    assert got.is_contiguous(memory_format=torch.channels_last)
    pixels = split.images / 255
    mean, std = pixels.mean(axis=0), pixels.std(axis=(0, 1, 2))
    for k, packed in enumerate(plan):
        crop = (packed >> 5 & 15, packed >> 1 & 15, packed & 1)
        expected = reference(split.images[packed >> 9], *crop, mean, std)
        np.testing.assert_allclose(got[k].numpy(), expected, atol=2e-6)


def test_standardised_training_images_have_mean_zero_and_deviation_one() -> None:
    split = Split(
        np.random.default_rng(0).integers(0, 200, (300, 8, 8, 3), dtype=np.uint8), np.zeros(300, np.uint8)
    )
    out = Standardiser.from_split(split, torch.device("cpu"))(torch.from_numpy(split.images))
    assert out.shape == (300, 3, 8, 8)
    assert out.mean(0).abs().max() < 1e-6
    assert torch.allclose(out.std((0, 2, 3), unbiased=False), torch.ones(3), atol=0.02)


SMALL = HierarchyConfig(levels=2, cell=2, symbols=6, synonyms=3, noise=0, train_images=200, test_images=50)


def test_hierarchy_is_seeded_balanced_and_pinned() -> None:
    config = DataConfig(name="hierarchy", hierarchy=SMALL)
    first, again = load(config), load(config)
    assert first.hash == again.hash == HASH
    assert np.bincount(first.train.labels).tolist() == [20] * 10
    other = DataConfig(name="hierarchy", hierarchy=SMALL.model_copy(update={"seed": 1}))
    assert load(other).hash != first.hash
    assert first.train.images.shape == (200, 8, 8, 3)
    assert not np.array_equal(first.train.images[:50], first.test.images)


HASH = "b1957e826e06c1d6f4b3676574bbf6e660509744e42ee5f0541a1fdc863cb2b7"


def test_without_noise_the_label_can_be_read_off_by_undoing_the_rules() -> None:
    config = DataConfig(name="hierarchy", hierarchy=SMALL)
    data = load(config)
    palette = hierarchy._stream(SMALL, "palette").integers(32, 224, (6, 3))
    cells = data.train.images[:, ::2, ::2].astype(int)  # one pixel of each cell
    symbols = (cells[..., None, :] == palette).all(-1).argmax(-1)
    for table in reversed(hierarchy._productions(SMALL)):
        undo = {tuple(t): above for above, tuples in enumerate(table) for t in tuples}
        n, side = symbols.shape[0], symbols.shape[1] // 2
        tiles = symbols.reshape(n, side, 2, side, 2).transpose(0, 1, 3, 2, 4).reshape(n, side, side, 4)
        symbols = np.array([[[undo[tuple(t)] for t in row] for row in image] for image in tiles])
    assert np.array_equal(symbols[:, 0, 0], data.train.labels)


def test_too_many_synonyms_are_refused() -> None:
    config = HierarchyConfig(symbols=2, synonyms=64)
    with pytest.raises(ValueError, match="fewer synonyms"):
        load(DataConfig(name="hierarchy", hierarchy=config))


def test_validation_is_one_split_for_all_seeds_and_no_image_is_in_both() -> None:
    config = DataConfig(name="hierarchy", validation=50, hierarchy=SMALL)
    data = load(config)
    assert data.validation is not None
    assert (len(data.train), len(data.validation)) == (150, 50)
    both = np.concatenate([data.train.images, data.validation.images]).reshape(200, -1)
    whole = load(DataConfig(name="hierarchy", hierarchy=SMALL)).train.images.reshape(200, -1)
    assert sorted(map(bytes, both)) == sorted(map(bytes, whole))
    with pytest.raises(ValueError, match="leaves no training image"):
        load(DataConfig(name="hierarchy", validation=200, hierarchy=SMALL))


def classes_of_the_fixed(config: DataConfig, place: Path | None = None) -> tuple[float, int]:
    """Chi-square of the classes among the fixed training images, and how many classes there are."""
    dataset = load(config, place)
    count = fixed_images(len(dataset.train), len(dataset.test))
    found = np.bincount(dataset.train.labels[:count], minlength=dataset.classes)
    assert found.sum() == count < len(dataset.train)
    expected = count / dataset.classes
    return float(((found - expected) ** 2 / expected).sum()), dataset.classes


def test_the_first_images_of_the_generated_data_are_random_in_class() -> None:
    """Drawn in turn, but sorted by hash: neither all of one class nor exactly as many of each."""
    chi_square, classes = classes_of_the_fixed(DataConfig(name="hierarchy"))
    assert classes == 10
    assert 0 < chi_square < 23.6  # 99.5 % of draws with nine degrees of freedom


@pytest.mark.slow
@pytest.mark.cifar
def test_the_first_images_of_cifar_are_random_in_class(cifar_folder: Path) -> None:
    chi_square, classes = classes_of_the_fixed(DataConfig(), cifar_folder)
    assert classes == 10
    assert 0 < chi_square < 23.6


@given(st.integers(1, 60), st.integers(0, 20))
def test_snapshots_are_spaced_evenly_and_leave_out_the_ends(epochs: int, count: int) -> None:
    closing = [8 * epoch for epoch in range(1, epochs + 1)]
    steps = snapshot_steps(closing, count)
    assert len(steps) == min(count, epochs - 1)
    assert set(steps) <= set(closing[:-1])
    gaps = np.diff([0, *steps, closing[-1]]) / 8
    assert max(gaps) - min(gaps) <= 1
