"""Folders of images that a test draws."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("ant", "bee", "cow")


def draw(shape: tuple[int, ...], label: int, *, stream: np.random.Generator) -> Image.Image:
    """Draws noise that is brighter in a later class, so that a small network learns it quickly."""
    return Image.fromarray(stream.integers(0, 90, shape, dtype=np.uint8) + np.uint8(60 * (label % 3)))


def draw_folder(
    root: Path,
    *,
    side: int = 8,
    counts: Mapping[str, int] = {"train": 16, "test": 4},
    classes: tuple[str, ...] = CLASSES,
    grey: bool = False,
    seed: int = 0,
) -> Path:
    """Draws a folder of square images; `counts` are those of each class."""
    stream = np.random.default_rng(seed)
    shape = (side, side) if grey else (side, side, 3)
    for name, count in counts.items():
        for label, word in enumerate(classes):
            folder = root / name / word
            folder.mkdir(parents=True)
            for number in range(count):
                draw(shape, label, stream=stream).save(folder / f"{number}.png")
    return root
