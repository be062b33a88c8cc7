"""The data set `hierarchy`: images drawn from a seeded random hierarchy of production rules.

It follows the Random Hierarchy Model (Cagnetta et al. 2024, "How Deep Neural Networks Learn Compositional
Data"): a class expands over L levels into 2x2 tuples of symbols, each symbol by a random choice among m
synonymous productions. No two symbols share a production, so undoing one level after another gives the
label: depth is supposed to matter for this task.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from resdeg.config import DataConfig, HierarchyConfig
from resdeg.data.images import Bytes, Dataset, Shape, canonical, content_hash, split
from resdeg.errors import UsageError
from resdeg.randomness import derive

Ints = npt.NDArray[np.int64]


def _settings(config: DataConfig) -> HierarchyConfig:
    assert config.hierarchy is not None, "config fills it in for this data set"
    return config.hierarchy


def shape(config: DataConfig) -> Shape:
    """Returns the sizes of the images and splits that `load` makes."""
    rules = _settings(config)
    side = rules.cell * 2**rules.levels
    return Shape(rules.classes, side, rules.train_images, rules.test_images)


def load(config: DataConfig) -> Dataset:
    """Draws training and test images independently from the same rules.

    Raises:
        UsageError: there are not enough tuples of symbols for the productions.
    """
    rules, size = _settings(config), shape(config)
    tables = _productions(rules)
    palette = _stream(rules, "palette").integers(32, 224, (rules.symbols, 3))
    parts = [
        canonical(_draw(rules, tables, palette, name=name, count=count))
        for name, count in (("train", size.train), ("test", size.test))
    ]
    train, test = (split(part, size.side) for part in parts)
    return Dataset("hierarchy", rules.classes, train, test, None, content_hash(*parts))


def _stream(rules: HierarchyConfig, purpose: str) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=derive(rules.seed, f"hierarchy/{purpose}")))


def _productions(rules: HierarchyConfig) -> list[Ints]:
    """Draws for each level (symbols above, synonyms, 4): 2x2 tuples of symbols, none used twice."""
    tables = []
    for level in range(rules.levels):
        above = rules.classes if level == 0 else rules.symbols
        needed, possible = above * rules.synonyms, rules.symbols**4
        if needed > possible:
            raise UsageError(
                f"data.hierarchy: {needed} distinct productions need more than {possible} 2x2 tuples",
                "give more symbols or fewer synonyms",
            )
        codes = _stream(rules, f"rules/{level}").choice(possible, needed, replace=False)
        tuples = codes[:, None] // rules.symbols ** np.arange(4) % rules.symbols
        tables.append(tuples.reshape(above, rules.synonyms, 4))
    return tables


def _draw(rules: HierarchyConfig, tables: list[Ints], palette: Ints, *, name: str, count: int) -> Bytes:
    """Draws (count, 1 + 3·side²) records with balanced labels and independent productions and noise."""
    stream = _stream(rules, name)
    labels = np.arange(count) % rules.classes
    grid = labels.reshape(-1, 1, 1)  # (N, s, s) symbols, one level finer each time
    for table in tables:
        chosen = table[grid, stream.integers(rules.synonyms, size=grid.shape)]  # (N, s, s, 4)
        n, side = grid.shape[:2]
        tiles = chosen.reshape(n, side, side, 2, 2).transpose(0, 1, 3, 2, 4)
        grid = tiles.reshape(n, 2 * side, 2 * side)
    cells = grid.repeat(rules.cell, axis=1).repeat(rules.cell, axis=2)
    pixels = palette[cells].transpose(0, 3, 1, 2)  # (N, 3, side, side)
    # The noise is of integers, not normals, because every build of numpy draws the same ones.
    noise = stream.integers(-rules.noise, rules.noise + 1, pixels.shape, dtype=np.int16)
    pixels = np.clip(pixels + noise, 0, 255).astype(np.uint8)
    return np.concatenate([labels[:, None].astype(np.uint8), pixels.reshape(count, -1)], axis=1)
