"""What a step costs on this machine, measured once at two depths and stored in the cache.

Blocks repeat, so parameters and multiply-adds are exact lines in the number of blocks, and seconds and
memory nearly so. With a calibration at hand a plan is priced without torch.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Callable, Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from resdeg import __version__, data, files
from resdeg.config import Family, RunConfig, SweepConfig
from resdeg.data.cache import cache_folder
from resdeg.errors import StorageError

SCHEMA = 1
MOST_STORED = 200


class Facts(BaseModel):
    """Counts and measured seconds per step by run id; the data's hash where it was read.

    multiply_adds, step_seconds: for a step of average length, where a run trains two networks.
    worker_bytes: the most memory that a worker for the deepest net held while it was measured.
    """

    model_config = ConfigDict(frozen=True)

    device: str
    parameters: dict[str, int]
    multiply_adds: dict[str, int]
    step_seconds: dict[str, float]
    worker_bytes: int
    data_hash: str | None

    def joined(self, other: Facts) -> Facts:
        """Returns the facts of two grids of one sweep together."""
        return Facts(
            device=self.device,
            parameters=self.parameters | other.parameters,
            multiply_adds=self.multiply_adds | other.multiply_adds,
            step_seconds=self.step_seconds | other.step_seconds,
            worker_bytes=max(self.worker_bytes, other.worker_bytes),
            data_hash=self.data_hash,
        )


class Counts(BaseModel):
    """What a net has, and what it computes for one image."""

    model_config = ConfigDict(frozen=True)

    parameters: int
    multiply_adds: int


class Calibration(BaseModel):
    """What nets with two numbers of blocks have and cost; `stem` is the net without blocks.

    seconds: for one training step; bytes: the most that the process held until then.
    """

    model_config = ConfigDict(frozen=True)

    device: str
    blocks: tuple[int, int]
    stem: Counts
    stem_seconds: float
    counts: dict[Family, tuple[Counts, Counts]]
    seconds: tuple[float, float]
    bytes: tuple[int, int]

    def counts_of(self, family: Family, depth: int) -> Counts:
        blocks = blocks_in(depth)
        if not blocks:
            return self.stem
        low, high = self.counts[family]
        span, steps = self.blocks[1] - self.blocks[0], blocks - self.blocks[0]

        def line(a: int, b: int) -> int:
            return a + (b - a) * steps // span

        return Counts(
            parameters=line(low.parameters, high.parameters),
            multiply_adds=line(low.multiply_adds, high.multiply_adds),
        )

    def seconds_of(self, depth: int) -> float:
        """Returns the seconds of one training step."""
        if depth == 2:
            return self.stem_seconds
        slope = (self.seconds[1] - self.seconds[0]) / (self.blocks[1] - self.blocks[0])
        return max(self.stem_seconds, self.seconds[0] + slope * (blocks_in(depth) - self.blocks[0]))

    def covers(self, config: SweepConfig) -> bool:
        """Says whether both its families and its deepest net were measured."""
        return set(config.families) <= set(self.counts) and blocks_in(max(config.depths)) <= self.blocks[1]

    def corrected(self, ratio: float) -> Calibration:
        """Returns the same after a sweep took `ratio` times the forecast, load and neighbours included."""
        low, high = self.seconds
        return self.model_copy(
            update={"stem_seconds": self.stem_seconds * ratio, "seconds": (low * ratio, high * ratio)}
        )

    def facts(self, config: SweepConfig, data_hash: str | None = None) -> Facts:
        """Prices every run of the grid, without its arms."""
        runs = config.grid()
        counts = {run.run_id: self.counts_of(run.family, run.depth) for run in runs}
        slope = (self.bytes[1] - self.bytes[0]) / (self.blocks[1] - self.blocks[0])
        held = self.bytes[0] + slope * (blocks_in(max(config.depths)) - self.blocks[0])

        def multiply_adds(run: RunConfig) -> float:
            return average_over_phases(run, lambda depth: self.counts_of(run.family, depth).multiply_adds)

        return Facts(
            device=self.device,
            parameters={run_id: count.parameters for run_id, count in counts.items()},
            multiply_adds={run.run_id: round(multiply_adds(run)) for run in runs},
            step_seconds={run.run_id: average_over_phases(run, self.seconds_of) for run in runs},
            worker_bytes=round(max(held, self.bytes[0])),
            data_hash=data_hash,
        )


def blocks_in(depth: int) -> int:
    """Counts the blocks of a net: each has two convolutions, besides stem and classifier."""
    return (depth - 2) // 2


def average_over_phases(run: RunConfig, at_depth: Callable[[int], float]) -> float:
    """Averages a number over the steps of a run, which a constructed net begins as a shallower one."""
    own, constructed = at_depth(run.depth), run.constructed
    if constructed is None:
        return own
    return constructed.share * at_depth(constructed.from_depth) + (1 - constructed.share) * own


def facts_of_runs(
    config: SweepConfig, calibrations: Iterable[Calibration], data_hash: str | None = None
) -> Facts:
    """Prices every run of `config` and its arms, by a calibration of each of `config.grids`."""
    pairs = zip(calibrations, config.grids, strict=True)
    return functools.reduce(Facts.joined, (known.facts(grid, data_hash) for known, grid in pairs))


def recall_all(config: SweepConfig) -> list[Calibration] | None:
    """Recalls the calibration of each of `config.grids`; None where one is missing."""
    recalled = [recall(grid) for grid in config.grids]
    known = [calibration for calibration in recalled if calibration is not None]
    return known if len(known) == len(recalled) else None


def recall(config: SweepConfig) -> Calibration | None:
    """Recalls what was measured for such nets on this machine with these versions; None where nothing was.

    Shallower nets do not count: a line through two depths that a neighbour disturbed, drawn on to four times
    the deeper one, is wrong in shape (docs/log.md).
    """
    stored = _read_cache().get(_key(config))
    try:
        calibration = Calibration.model_validate(stored, strict=False) if stored else None
    except ValidationError:
        return None
    return calibration if calibration and calibration.covers(config) else None


def remember(config: SweepConfig, calibration: Calibration) -> None:
    """Stores `calibration` for the next plan; an unwritable cache costs a measurement each time."""
    _store(_key(config), calibration.model_dump(mode="json"))


def _store(key: str, value: object) -> None:
    every = {**_read_cache(), key: value}
    newest = dict(list(every.items())[-MOST_STORED:])
    try:
        files.make_folder(_path().parent)
        files.write(_path(), json.dumps(newest).encode())
    except StorageError:
        return


def correct(config: SweepConfig, ratio: float) -> None:
    """Corrects the calibration by a sweep that took `ratio` times what was foreseen."""
    corrected = set[str]()
    for grid in config.grids:
        known = recall(grid)
        if known is not None and _key(grid) not in corrected:
            corrected.add(_key(grid))
            remember(grid, known.corrected(min(max(ratio, 0.2), 5.0)))


def remember_group(precision: str, group: int) -> None:
    """Stores how many runs side by side the bench found best on this machine's GPU."""
    _store(_group_key(precision), group)


def recall_group(precision: str) -> int | None:
    """Recalls what `remember_group` stored; None where nothing was."""
    group = _read_cache().get(_group_key(precision))
    return group if isinstance(group, int) else None


def _group_key(precision: str) -> str:
    return f"group {platform.node()} {precision}"


def _path() -> Path:
    return cache_folder() / "calibration.json"


def _read_cache() -> dict[str, object]:
    try:
        stored = json.loads(files.read(_path()) or b"{}")
    except (ValueError, StorageError):
        return {}
    return stored if isinstance(stored, dict) else {}


def _key(config: SweepConfig) -> str:
    training, shape = config.training, data.shape(config.data)
    facts = [
        SCHEMA, __version__, importlib.metadata.version("torch"), platform.node(), os.cpu_count(),
        config.execution.device, config.execution.graph is True, config.model.model_dump(mode="json"),
        training.precision, training.threads, training.fused, training.fast_math, training.batch_size,
        shape.side, shape.classes,
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
