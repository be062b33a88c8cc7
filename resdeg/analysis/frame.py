"""The runs of a sweep as data frames: one row per run, one row per record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import pandas as pd

from resdeg.analysis.curve import curve
from resdeg.analysis.diagnosed import load_diagnostics
from resdeg.analysis.provenance import Provenance, differences, provenance
from resdeg.analysis.wanted import key_of, wanted_runs
from resdeg.config import FAMILIES, RunConfig, SweepConfig
from resdeg.errors import StorageError, UsageError
from resdeg.records import EvalRecord
from resdeg.store import RunStore, SweepStore

RUN_COLUMNS = [
    "run_id", "family", "depth", "seed", "status", "reason", "parameters", "multiply_adds",
    "step", "steps", "epochs", "test_accuracy", "test_loss", "train_accuracy", "train_loss",
    "running_train_accuracy", "running_train_loss", "validation_accuracy", "validation_loss",
    "image_test_accuracy", "image_test_loss", "image_train_accuracy", "image_train_loss",
    "image_validation_accuracy", "image_validation_loss",
    "recomputed_train_accuracy", "recomputed_train_loss", "seconds",
]  # fmt: skip
NOT_EVERYWHERE = ("image_", "recomputed_", "clean_train_")  # of some nets alone, or of later schemas


@dataclass(frozen=True)
class SweepFrame:
    """What is known of the sweep in `folder`. `runs`: RUN_COLUMNS; `metrics`: a row per run and record.

    Depth 2 is one net in both families: trained once, here a row in each family of the grid.
    `problems` says of each run that could not be read why it is left out, `provenance` what the others were
    computed with, `mixed` in what of it they differ. `evaluation` is what the
    test and clean training numbers are of: "running" statistics (`model.eval()`), or each "image"'s own.
    `arms`: the interventions beside the grid that have a record, each a sweep of its own with `arm` its name;
    no frame of this one has their runs.
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

    @property
    def name(self) -> str:
        own = self.folder.resolve().name
        if self.config.adopted is not None and "adopted" not in own:
            own += " (adopted)"
        return f"{own}, {self.arm}" if self.arm else own

    def with_arms(self, table: Callable[[SweepFrame], pd.DataFrame]) -> pd.DataFrame:
        """`table` of this sweep and, below, of its arms, in a column `arm`; as it is where there is none."""
        if not self.arms:
            return table(self)
        each = [table(sweep).assign(arm=sweep.arm) for sweep in (self, *self.arms.values())]
        return pd.concat(each, ignore_index=True)

    @property
    def mixed(self) -> list[str]:
        """In what the runs differ though their settings do not."""
        return differences(self.provenance)

    @cached_property
    def diagnostics(self) -> tuple[pd.DataFrame, list[str]]:
        """What `load_diagnostics` gives for the folder, read once."""
        return load_diagnostics(self.folder)

    @property
    def curve(self) -> pd.DataFrame:
        """Mean and interval over seeds: a row per family, depth and metric."""
        return curve(self.runs)

    @property
    def evaluations(self) -> list[str]:
        """The evaluations that were recorded, the one that the nets were trained under first."""
        return ["image", "running"] if "image_test_accuracy" in self.metrics else [self.evaluation]

    def evaluated(self, by: str) -> SweepFrame:
        """The same sweep with the numbers of that evaluation in the place of the others.

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
    """`table` without the columns NOT_EVERYWHERE that no run of the sweep has."""
    return table.drop(
        columns=[n for n in table if str(n).startswith(NOT_EVERYWHERE) and table[n].isna().all()]
    )


def _by_image(table: pd.DataFrame) -> pd.DataFrame:
    own = {name: name.removeprefix("image_") for name in table.columns if name.startswith("image_")}
    return table.drop(columns=list(own.values()), errors="ignore").rename(columns=own)


def load_sweep(folder: Path | str) -> SweepFrame:
    """Read the records in `folder`: the grid of its sweep.toml, other runs of the same settings, its arms.

    Raises:
        UsageError: there is no sweep, or none of the grid's runs has left a record.
    """
    store = SweepStore(Path(folder))
    config, wanted, problems = wanted_runs(store)
    found = provenance(store.run(run.run_id) for run in wanted)

    def frame(name: str, grid: SweepConfig) -> SweepFrame:
        own = [run for run in wanted if run.settings_id == grid.settings_id]
        return SweepFrame(store.folder, grid, *_tables(store, grid, own, problems), problems, found, arm=name)

    sweep = frame("", config)
    if not _has_records(sweep):
        raise UsageError(f"{folder}: no run has a record yet", "let `resdeg sweep` finish an epoch first")
    arms = {name: frame(name, grid) for name, grid in config.arm_sweeps.items()}
    return replace(sweep, arms={name: arm for name, arm in arms.items() if _has_records(arm)})


def _has_records(sweep: SweepFrame) -> bool:
    return bool(len(sweep.metrics) or sweep.runs["status"].isin(["finished", "diverged"]).any())


def _tables(
    store: SweepStore, config: SweepConfig, wanted: list[RunConfig], problems: list[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`runs` and `metrics` of a SweepFrame; what cannot be read is added to `problems`."""
    runs: list[dict[str, object]] = []
    metrics: list[dict[str, object]] = []
    known = set(problems)  # a run may be of several arms
    for run in wanted:
        try:
            row, lines = _read(store.run(run.run_id), run)
        except StorageError as error:
            if error.what not in known:
                problems.append(error.what)
            continue
        for family in FAMILIES if run.depth == 2 else (run.family,):
            if family in config.families:
                runs.append({**row, "family": family})
                metrics.extend({**key_of(run), "family": family, **line} for line in lines)
    frame = pd.DataFrame(runs, columns=RUN_COLUMNS).sort_values(
        ["family", "depth", "seed"], ignore_index=True
    )
    columns = ["run_id", "family", "depth", "seed", *EvalRecord.model_fields]
    return _present(frame), _present(pd.DataFrame(metrics, columns=columns))


def _read(store: RunStore, run: RunConfig) -> tuple[dict[str, object], list[dict[str, object]]]:
    summary, records = store.summary(), store.metrics()
    row: dict[str, object] = {**key_of(run), "status": store.state()}
    if summary is not None:
        row |= {name: value for name, value in summary if name in RUN_COLUMNS and name not in row}
    row["epochs"] = records[-1].epoch if records else 0
    if summary is None or summary.status != "finished":
        row |= _last(records)
    return row, [record.model_dump() for record in records]


def _last(records: list[EvalRecord]) -> dict[str, object]:
    """Where an unfinished run stands; its clean training numbers are not known."""
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
