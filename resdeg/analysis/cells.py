"""The numbers of a sweep as claims read them: a row per seed, a column per depth."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd

from resdeg.analysis.frame import SweepFrame
from resdeg.analysis.trained import untrainable
from resdeg.config import Family

FULL_SCHEDULE = 64_000 * 128  # images of the paper's training (He et al. 2015, Sec. 4.2)


@dataclass(frozen=True)
class Needs:
    """What a sweep would have to hold for a claim to be asked."""

    what: str


@dataclass(frozen=True)
class Cells:
    """A sweep without its untrainable networks, which are at chance in training and not degraded.

    grid: the cells beside which these are an arm; None for a sweep's own.
    """

    sweep: SweepFrame
    left_out: tuple[tuple[Family, int], ...]
    grid: Cells | None = None

    @classmethod
    def of(cls, sweep: SweepFrame) -> Cells:
        return cls(sweep, tuple(untrainable(sweep)))

    @property
    def schedule(self) -> Literal["full", "short"]:
        """Whether the training was as long as the paper's."""
        images = self.sweep.runs["steps"].max() * self.sweep.config.training.batch_size
        return "full" if images >= FULL_SCHEDULE else "short"

    @property
    def of_stargan(self) -> bool:
        """Whether the networks are made of the notes' unit."""
        model = self.sweep.config.model
        return (model.block, model.norm) == ("stargan", "instance")

    @property
    def of_relu(self) -> bool:
        """Whether relu is the nonlinearity everywhere."""
        model = self.sweep.config.model
        return model.activation == "relu" and model.inner_activation in (None, "relu")

    @property
    def of_he(self) -> bool:
        """Whether the networks start from He's values and are trained from there."""
        return self.sweep.config.model.init == "he" and self.sweep.config.constructed is None

    @property
    def dirac(self) -> float:
        """a of a · Dirac + (1 - a) · He at the start of blocks."""
        return self.sweep.config.model.dirac or 0.0

    def training_metrics(self, family: Family) -> list[str]:
        """Clean training accuracy, and the one with recomputed statistics where every network has it."""
        runs = self._finished(family)
        recomputed = "recomputed_train_accuracy"
        whole = recomputed in runs and len(runs) > 0 and bool(runs[recomputed].notna().all())
        return ["train_accuracy", recomputed] if whole else ["train_accuracy"]

    def table(self, family: Family, metric: str, least: int) -> pd.DataFrame | Needs:
        """Seeds by depths of `metric`: the seeds that are finished at every depth that has any.

        Args:
            least: how many depths the question takes.
        """
        return _whole(self._pivot(family, metric), least, f"{family} networks")

    def gap(self, metric: str, least: int) -> pd.DataFrame | Needs:
        """Seeds by depths of residual minus plain, where both are there; not at depth 2, which is one net."""
        residual, plain = self._pivot("residual", metric), self._pivot("plain", metric)
        return _whole(
            (residual - plain).drop(columns=[2], errors="ignore"), least, "both families beyond depth 2"
        )

    def minus(self, other: Cells, family: Family, metric: str, least: int) -> pd.DataFrame | Needs:
        """Seeds by depths of `metric` here minus there, where both are; depth 2 has no block."""
        difference = self._pivot(family, metric) - other._pivot(family, metric)
        return _whole(
            difference.drop(columns=[2], errors="ignore"),
            least,
            f"{family} networks in both arms beyond depth 2",
        )

    def accuracies(self, family: Family) -> pd.DataFrame:
        """Seeds by depths of test accuracy, missing where a run is not finished."""
        return self._pivot(family, "test_accuracy")

    def losses(self, metric: str) -> pd.DataFrame:
        """Seeds by depths of a training loss of plain networks, missing where it is not known."""
        return self._pivot("plain", metric)

    def arms_that_change(self, *settings: str) -> dict[str, Cells]:
        """The arms whose networks differ from the grid's in some of these settings and in no other."""
        changes = {name: set(self.sweep.config.changes(name)) for name in self.sweep.arms}
        return {name: self.arms[name] for name, own in changes.items() if own and own <= {*settings}}

    @cached_property
    def arms(self) -> dict[str, Cells]:
        """The cells of each arm that has a record."""
        return {name: replace(Cells.of(arm), grid=self) for name, arm in self.sweep.arms.items()}

    def branches(self, family: Family, state: str) -> pd.DataFrame:
        """Seeds by depths of log2 of the median ||F(x)|| / ||x|| over the blocks of a network.

        Of blocks that keep their shape, of networks that are finished; see `resdeg diagnose`.
        """
        of = self.measured(family, "identity", state)
        median = of[of["name"] == "branch"].groupby(["seed", "depth"])["value"].median()
        table: pd.DataFrame = np.log2(median[median > 0]).unstack("depth").sort_index(axis="columns")
        return table

    def measured(self, family: Family, kind: str, state: str) -> pd.DataFrame:
        """DIAGNOSTIC_COLUMNS of finished networks of this grid alone; what is damaged is not in it."""
        found, _ = (self.grid or self).sweep.diagnostics
        of = found[(found["arm"] == self.sweep.arm) & (found["kind"] == kind) & (found["state"] == state)]
        return of[(of["family"] == family) & of["run_id"].isin(self._finished(family)["run_id"])]

    def _finished(self, family: Family) -> pd.DataFrame:
        runs = self.sweep.runs
        kept = runs[(runs["family"] == family) & (runs["status"] == "finished")]
        out = [depth for of, depth in self.left_out if of == family]
        return kept[~kept["depth"].isin(out)]

    def _pivot(self, family: Family, metric: str) -> pd.DataFrame:
        runs = self._finished(family).reindex(columns=["seed", "depth", metric])
        return runs.pivot(index="seed", columns="depth", values=metric).astype(float)


def without_holes(table: pd.DataFrame, how: Literal["any", "all"] = "any") -> pd.DataFrame:
    """The columns that hold a number, and of those the rows in which `any` is missing left out, or `all`."""
    if not np.isnan(table.to_numpy(dtype=float)).any():
        return table  # as most are; to drop nothing costs as much as a whole effect
    return table.dropna(axis="columns", how="all").dropna(axis="index", how=how)


def _whole(table: pd.DataFrame, least: int, of: str) -> pd.DataFrame | Needs:
    table = without_holes(table)
    depths = list(table.columns)
    if len(depths) < least:
        known = f"there is {', '.join(map(str, depths))}" if depths else "there is none"
        return Needs(f"{_COUNTED[least]} depths of {of} that trained; {known}")
    if table.empty:
        return Needs(f"a seed that is finished at every depth of {of}")
    return table


_COUNTED = {2: "two", 3: "three"}
