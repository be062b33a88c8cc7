"""The measures of `resdeg diagnose`: a row per record, and a summary of each network's blocks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf
from pathlib import Path

import pandas as pd

from resdeg.analysis.reader import identify_run, list_runs, read_runs
from resdeg.config import FAMILIES, RunConfig
from resdeg.records import DiagnosticRecord, State
from resdeg.store import RunStore, SweepStore

DIAGNOSTIC_COLUMNS = [
    "run_id", "arm", "family", "depth", "seed",
    "kind", "state", "name", "layer", "block", "stage", "value", "images", "note",
]  # fmt: skip
LATE = ("branch", "distance", "cka", "linear_residual")


# ---------------------------------------------------------------- the table


def load_diagnostics(folder: Path | str) -> tuple[pd.DataFrame, list[str]]:
    """Reads the diagnostics of the sweep in `folder`.

    `arm` is "" in the grid itself; a run that is in several arms has a row in each. `state` is "initial",
    "final" or a step; layer, block and stage are missing where they do not apply, and so is a value that was
    not finite. Depth 2 is one network in both families: it has a row in each of the grid.

    Returns:
        DIAGNOSTIC_COLUMNS, a row per record, empty where nothing was measured; and a line for each run that
        cannot be read, which hides no other run.

    Raises:
        UsageError: there is no sweep.
    """
    store = SweepStore(Path(folder))
    config, runs, problems = list_runs(store)
    rows: list[dict[str, object]] = []
    grids = [
        (arm, grid.settings_id, grid.families) for arm, grid in {"": config, **config.arm_sweeps}.items()
    ]

    def read(store: RunStore, _: RunConfig) -> list[dict[str, object]]:
        return list(map(_row, store.diagnostics()))

    for run, records in read_runs(store, runs, read=read, problems=problems):
        for arm, settings_id, families in grids:
            for family in FAMILIES if run.depth == 2 else (run.family,):
                if settings_id == run.settings_id and family in families:
                    key = {**identify_run(run), "arm": arm, "family": family}
                    rows += [{**key, **record} for record in records]
    frame = pd.DataFrame(rows, columns=DIAGNOSTIC_COLUMNS)
    numbers = dict.fromkeys(("layer", "block", "stage"), "Int64")
    return frame.astype({**numbers, "value": "float64", "state": "object"}), problems


def _row(record: DiagnosticRecord) -> dict[str, object]:
    return {name: value for name, value in record if name in DIAGNOSTIC_COLUMNS}


def rank_state(state: State) -> float:
    """Returns where a state stands in the order of training.

    >>> sorted(["final", 391, "initial", 40], key=rank_state)
    ['initial', 40, 391, 'final']
    """
    return {"initial": -inf, "final": inf}[state] if isinstance(state, str) else state


def follow_training(frame: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Returns the median over blocks of each number, for finished networks that were measured at snapshots.

    Args:
        frame: DIAGNOSTIC_COLUMNS; runs: RUN_COLUMNS of the same sweep, whose last step is the final state's.

    Returns:
        The frame's columns but layer and block, and `step`: 0 at initial values; `stage` is 1 everywhere.
    """
    on_the_way = frame.loc[frame["state"].map(lambda state: not isinstance(state, str)), "run_id"]
    finished = frame.loc[frame["state"] == "final", "run_id"]
    rows = frame[frame["run_id"].isin({*on_the_way} & {*finished}) & frame["block"].notna()]
    keys = ["run_id", "arm", "family", "depth", "seed", "kind", "state", "name"]
    groups = rows.groupby(keys, sort=False)
    table = groups.agg(value=("value", "median"), images=("images", "max")).reset_index()
    last = table["run_id"].map(runs.drop_duplicates("run_id").set_index("run_id")["step"])
    step = table["state"].where(table["state"] != "initial", 0).where(table["state"] != "final", last)
    return table.assign(step=step.astype("Int64"), stage=1)


def digest(frame: pd.DataFrame) -> pd.DataFrame:
    """Returns the first, median and last value over layers or blocks: a row per run, kind, name and state.

    The columns are run_id, kind, name, state, places, images, first, median and last. A value that is missing
    stays missing; the median is over those that are there.
    """
    rows: list[dict[str, object]] = []
    # A run stands in the frame once for each of its arms, and depth 2 for each family.
    unique = frame.drop_duplicates([name for name in frame.columns if name not in ("arm", "family")])
    keys = ["run_id", "kind", "name", "state"]
    for key, group in unique.groupby(keys, sort=False):
        value = group["value"]
        spread = {"first": value.iloc[0], "median": value.median(), "last": value.iloc[-1]}
        images = group["images"].max()
        rows.append(dict(zip(keys, key, strict=True)) | {"places": len(value), "images": images} | spread)
    return pd.DataFrame(rows)


# ---------------------------------------------------------------- the blocks of each trained network


@dataclass(frozen=True)
class Lost:
    """Accuracy lost when one block is replaced by the identity: the mean over blocks, and the largest."""

    mean: float
    largest: float


@dataclass(frozen=True)
class Blocks:
    """The trained networks of one family and depth, in the grid (arm "") or in an arm; means over seeds.

    Args:
        images: held-out images that the numbers were measured on, rising; probes may use more of them.
        late: by name of LATE, the median over the blocks of the later half that keep their shape.
        probes: accuracy of a linear probe, the best in the last stage and that after the last block.
        intact: accuracy of the whole network; lost, recomputed: without one block, and with the statistics
            of the network without it.
    """

    arm: str
    family: str
    depth: int
    seeds: int
    images: tuple[int, ...]
    late: dict[str, float]
    probes: tuple[float, float] | None
    intact: float | None
    lost: Lost | None
    recomputed: Lost | None

    @property
    def name(self) -> str:
        network = f"{self.family}-{self.depth}"
        return f"{network}, {self.arm}" if self.arm else network

    @property
    def spelled_images(self) -> str:
        """`images` for people.

        >>> Blocks("", "plain", 8, 1, (1_000, 10_000), {}, None, None, None, None).spelled_images
        '1,000 / 10,000'
        """
        return " / ".join(f"{count:,}" for count in self.images)

    @property
    def spelled_late(self) -> list[str]:
        """`late` for people, in the order of LATE; a dash where there is none."""
        return [f"{self.late[name]:.2f}" if name in self.late else "-" for name in LATE]


def summarise_blocks(frame: pd.DataFrame, arms: Iterable[str]) -> list[Blocks]:
    """Returns the networks that have a measured block, the grid's first.

    Values that are not finite are left out.

    Args:
        frame: DIAGNOSTIC_COLUMNS; arms: all of the sweep's, in their order.
    """
    rows = frame[(frame["state"] == "final") & frame["kind"].isin(["identity", "probes", "lesions"])]
    rows = rows[rows["value"].notna() & (rows["depth"] > 2)]
    order = {arm: number for number, arm in enumerate(["", *arms])}
    networks = []
    for key, network_rows in rows.groupby(["arm", "family", "depth"]):
        arm, family, depth = map(str, key)
        networks.append(_blocks(network_rows, arm=arm, family=family, depth=int(depth)))
    return sorted(networks, key=lambda blocks: (order[blocks.arm], blocks.family, blocks.depth))


def _blocks(rows: pd.DataFrame, *, arm: str, family: str, depth: int) -> Blocks:
    by_name = {str(name): group for name, group in rows.groupby(rows["kind"] + " " + rows["name"])}
    late = {
        name: group[group["block"] > (depth - 2) // 4].groupby("seed")["value"].median().mean()
        for name in LATE
        if (group := by_name.get(f"identity {name}")) is not None
    }
    intact = by_name.get("lesions intact_accuracy")
    return Blocks(
        arm,
        family,
        depth,
        seeds=int(rows["seed"].nunique()),
        images=tuple(sorted({int(count) for count in rows["images"]})),
        late={name: float(value) for name, value in late.items() if pd.notna(value)},
        probes=_probes(by_name.get("probes accuracy")),
        intact=None if intact is None else float(intact["value"].mean()),
        lost=_lost(by_name, ""),
        recomputed=_lost(by_name, "_recomputed"),
    )


def _probes(rows: pd.DataFrame | None) -> tuple[float, float] | None:
    if rows is None:
        return None
    last = rows[rows["stage"] == rows["stage"].max()]
    after_all = last[last["block"] == last["block"].max()]
    return float(last.groupby("seed")["value"].max().mean()), float(after_all["value"].mean())


def _lost(by_name: dict[str, pd.DataFrame], suffix: str) -> Lost | None:
    intact, without = (by_name.get(f"lesions {name}{suffix}") for name in ("intact_accuracy", "accuracy"))
    if intact is None or without is None:
        return None
    whole = intact.set_index("seed")["value"]
    lost = (without["seed"].map(whole) - without["value"]).groupby(without["seed"])
    return Lost(float(lost.mean().mean()), float(lost.max().mean()))
