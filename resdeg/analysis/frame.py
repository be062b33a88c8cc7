"""The runs of a sweep as data frames: one row per run, one row per record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import pandas as pd

from resdeg.analysis.curve import compute_curve
from resdeg.analysis.diagnostics import load_diagnostics
from resdeg.analysis.metrics import OPTIONAL, RUN_METRICS
from resdeg.analysis.reader import (
    Provenance,
    collect_provenance,
    describe_differences,
    describe_unplanned,
    identify_run,
    list_runs,
    read_runs,
)
from resdeg.config import FAMILIES, RunConfig, SweepConfig
from resdeg.errors import UsageError
from resdeg.records import ENDED, EvalRecord
from resdeg.store import RunStore, SweepStore

RUN_COLUMNS = [
    "run_id", "family", "depth", "seed", "status", "reason", "parameters", "multiply_adds",
    "step", "steps", "epochs", *RUN_METRICS, "seconds",
]  # fmt: skip


@dataclass(frozen=True)
class SweepFrame:
    """The tables of the sweep in `folder`.

    Depth 2 is one network in both families: it is trained once and has a row in each family of the grid.

    Args:
        runs: RUN_COLUMNS, a row per run. metrics: a row per run and record.
        problems: a line for each run that could not be read and is left out.
        provenance: what the other runs were computed with.
        evaluation: what the test and clean training numbers were computed with, "running" statistics
            (`model.eval()`) or those of each "image".
        arm: the name of the arm; empty for the grid.
        arms: the arms of the grid that have a record, each a sweep of its own. The tables of the grid do not
            contain their runs.
        label: the name that stands for the folder's; see `name_apart`.
        unplanned: see `describe_unplanned`.
        set_aside: how many runs `--fresh` and `collect` have moved out of the way.
    """

    folder: Path
    config: SweepConfig
    runs: pd.DataFrame
    metrics: pd.DataFrame
    problems: list[str]
    provenance: Provenance = field(default_factory=dict)
    evaluation: str = "running"
    arm: str = ""
    arms: dict[str, SweepFrame] = field(default_factory=dict)
    label: str = ""
    unplanned: str = ""
    set_aside: int = 0

    @property
    def name(self) -> str:
        if self.label:
            return f"{self.label}, {self.arm}" if self.arm else self.label
        own = self.folder.resolve().name
        if self.config.adopted is not None and "adopted" not in own:
            own += " (adopted)"
        return f"{own}, {self.arm}" if self.arm else own

    def with_arms(self, table: Callable[[SweepFrame], pd.DataFrame]) -> pd.DataFrame:
        """Returns `table` of this sweep and, below, of its arms, with a column `arm` where there are arms."""
        if not self.arms:
            return table(self)
        tables = [table(sweep).assign(arm=sweep.arm) for sweep in (self, *self.arms.values())]
        return pd.concat(tables, ignore_index=True)

    @property
    def mixed(self) -> list[str]:
        """A line for each property in which the runs differ though their settings do not."""
        return describe_differences(self.provenance)

    @property
    def notes(self) -> list[str]:
        """What a reader of the sweep's figures should know of its runs."""
        notes = [*self.mixed, *([self.unplanned] if self.unplanned else [])]
        if self.set_aside:
            notes.append(f"copies of runs that were set aside and count for nothing: {self.set_aside}")
        return notes

    @cached_property
    def diagnostics(self) -> tuple[pd.DataFrame, list[str]]:
        """What `load_diagnostics` returns for the folder, read once."""
        return load_diagnostics(self.folder)

    @cached_property
    def curve(self) -> pd.DataFrame:
        """CURVE_COLUMNS, mean and interval over seeds: a row per family, depth and metric."""
        return compute_curve(self.runs)

    @property
    def evaluations(self) -> list[str]:
        """The evaluations that were recorded, the one that the networks were trained under first."""
        return ["image", "running"] if "image_test_accuracy" in self.metrics else [self.evaluation]

    def evaluated(self, by: str) -> SweepFrame:
        """Returns the same sweep with the numbers of that evaluation instead of the others.

        Raises:
            UsageError: it was not recorded.
        """
        if by not in self.evaluations:
            raise UsageError(
                f"{self.name}: evaluation '{by}' was not recorded",
                f"known: {', '.join(self.evaluations)}; 'image' comes with --set model.norm=instance",
            )
        if by == self.evaluation:
            return self
        arms = {
            name: arm.evaluated(by if by in arm.evaluations else arm.evaluations[0])
            for name, arm in self.arms.items()
        }
        return replace(
            self, runs=_by_image(self.runs), metrics=_by_image(self.metrics), evaluation=by, arms=arms
        )


def _present(table: pd.DataFrame) -> pd.DataFrame:
    """Returns `table` without the OPTIONAL columns that no run of the sweep has."""
    return table.drop(
        columns=[name for name in table if str(name).startswith(OPTIONAL) and table[name].isna().all()]
    )


def _by_image(table: pd.DataFrame) -> pd.DataFrame:
    own = {name: name.removeprefix("image_") for name in table.columns if name.startswith("image_")}
    return table.drop(columns=list(own.values()), errors="ignore").rename(columns=own)


def load_sweep(folder: Path | str) -> SweepFrame:
    """Reads the records in `folder`: the grid of its sweep.toml, other runs of the same settings, its arms.

    The plan is that of sweep.toml and what was registered: no run leaves it after a look at results.

    Raises:
        UsageError: there is no sweep, or none of the grid's runs has left a record.
    """
    store = SweepStore(Path(folder))
    config, runs, problems = list_runs(store)
    known = {run.run_id for run in (*config.runs(), *runs)}  # `problems` says what is wrong with the others
    config = config.with_registered()
    runs += [run for run in config.runs() if run.run_id not in known]
    provenance = collect_provenance(store.run(run.run_id) for run in runs)

    def frame(arm: str, grid: SweepConfig) -> SweepFrame:
        own = [run for run in runs if run.settings_id == grid.settings_id]
        return SweepFrame(
            store.folder,
            grid,
            *_tables(store, grid, runs=own, problems=problems),
            problems,
            provenance,
            arm=arm,
        )

    sweep = frame("", config)
    if not _has_records(sweep):
        raise UsageError(f"{folder}: no run has a record yet", "let `resdeg sweep` finish an epoch first")
    arms = {name: frame(name, grid) for name, grid in config.arm_sweeps.items()}
    return replace(
        sweep,
        arms={name: arm for name, arm in arms.items() if _has_records(arm)},
        unplanned=describe_unplanned(config, runs),
        set_aside=sum(1 for _ in store.folder.glob("set-aside/*")),
    )


def keep_planned(sweep: SweepFrame) -> SweepFrame:
    """Returns a grid, or an arm, without runs that its plan does not name; arms of it stay as they are."""
    plan = sweep.config

    def keep(table: pd.DataFrame) -> pd.DataFrame:
        planned = table["depth"].isin(plan.depths) & table["seed"].isin(plan.seeds)
        return table[planned & table["family"].isin(plan.families)]

    return replace(sweep, runs=keep(sweep.runs), metrics=keep(sweep.metrics))


def _has_records(sweep: SweepFrame) -> bool:
    return bool(len(sweep.metrics) or sweep.runs["status"].isin(ENDED).any())


def _tables(
    store: SweepStore, config: SweepConfig, *, runs: list[RunConfig], problems: list[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns `runs` and `metrics` of a SweepFrame; what cannot be read is added to `problems`."""
    rows: list[dict[str, object]] = []
    metrics: list[dict[str, object]] = []
    for run, (row, lines) in read_runs(store, runs, read=_read, problems=problems):
        for family in FAMILIES if run.depth == 2 else (run.family,):
            if family in config.families:
                rows.append({**row, "family": family})
                metrics.extend({**identify_run(run), "family": family, **line} for line in lines)
    frame = pd.DataFrame(rows, columns=RUN_COLUMNS).sort_values(
        ["family", "depth", "seed"], ignore_index=True
    )
    columns = ["run_id", "family", "depth", "seed", *EvalRecord.model_fields]
    return _present(frame), _present(pd.DataFrame(metrics, columns=columns))


def _read(store: RunStore, run: RunConfig) -> tuple[dict[str, object], list[dict[str, object]]]:
    summary, records = store.summary(), store.metrics()
    row: dict[str, object] = {**identify_run(run), "status": store.state()}
    if summary is not None:
        row |= {name: value for name, value in summary if name in RUN_COLUMNS and name not in row}
    row["epochs"] = records[-1].epoch if records else 0
    if summary is None or summary.status != "finished":
        row |= _last(records)
    return row, [record.model_dump() for record in records]


def _last(records: list[EvalRecord]) -> dict[str, object]:
    """Returns the numbers of an unfinished run so far; its clean training numbers are not known."""
    if not records:
        return {}
    last = records[-1]
    return {
        "step": last.step,
        "test_accuracy": last.test_accuracy,
        "test_loss": last.test_loss,
        "running_train_accuracy": last.train_accuracy,
        "running_train_loss": last.train_loss,
        "image_test_accuracy": last.image_test_accuracy,
        "image_test_loss": last.image_test_loss,
    }
