"""What the blocks of each trained network are like, by what `resdeg diagnose` measured: a row per network."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from resdeg.analysis.frame import SweepFrame

LATE = ("branch", "distance", "cka", "linear_residual")


@dataclass(frozen=True)
class Lost:
    """Accuracy lost when one block is replaced by the identity: the mean over blocks, and the largest."""

    mean: float
    largest: float


@dataclass(frozen=True)
class Blocks:
    """The trained networks of one family and depth, in the grid (arm "") or in an arm; means over seeds.

    Args:
        images: held-out images that the numbers are of, rising; probes may be of more than the others.
        late: by name of LATE, the median over the blocks of the later half that keep their shape.
        probes: accuracy of a linear probe, the best in the last stage and that after the last block.
        intact: accuracy of the whole network; lost, recomputed: without one block, and with the statistics
            of the net without it.
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
    def images_shown(self) -> str:
        """`images` for people.

        >>> Blocks("", "plain", 8, 1, (1_000, 10_000), {}, None, None, None, None).images_shown
        '1,000 / 10,000'
        """
        return " / ".join(f"{count:,}" for count in self.images)

    @property
    def late_told(self) -> list[str]:
        """`late` for people, in the order of LATE; a dash where there is none."""
        return [f"{self.late[name]:.2f}" if name in self.late else "-" for name in LATE]


def measured_blocks(sweep: SweepFrame) -> list[Blocks]:
    """The networks of a sweep that have a measured block, the grid's first."""
    frame, _ = sweep.diagnostics
    return blocks_of(frame, sweep.config.arms)


def blocks_of(frame: pd.DataFrame, arms: Iterable[str]) -> list[Blocks]:
    """Networks with a measured block; what is not finite is left out.

    Args:
        frame: DIAGNOSTIC_COLUMNS; arms: all of the sweep's, in their order.
    """
    of = frame[(frame["state"] == "final") & frame["kind"].isin(["identity", "probes", "lesions"])]
    of = of[of["value"].notna() & (of["depth"] > 2)]
    order = {arm: number for number, arm in enumerate(["", *arms])}
    found = []
    for key, rows in of.groupby(["arm", "family", "depth"]):
        arm, family, depth = map(str, key)
        found.append(_blocks(arm, family, int(depth), rows))
    return sorted(found, key=lambda one: (order[one.arm], one.family, one.depth))


def _blocks(arm: str, family: str, depth: int, of: pd.DataFrame) -> Blocks:
    named = {str(name): rows for name, rows in of.groupby(of["kind"] + " " + of["name"])}
    late = {
        name: rows[rows["block"] > (depth - 2) // 4].groupby("seed")["value"].median().mean()
        for name in LATE
        if (rows := named.get(f"identity {name}")) is not None
    }
    intact = named.get("lesions intact_accuracy")
    return Blocks(
        arm,
        family,
        depth,
        seeds=int(of["seed"].nunique()),
        images=tuple(sorted({int(count) for count in of["images"]})),
        late={name: float(value) for name, value in late.items() if pd.notna(value)},
        probes=_probes(named.get("probes accuracy")),
        intact=None if intact is None else float(intact["value"].mean()),
        lost=_lost(named, ""),
        recomputed=_lost(named, "_recomputed"),
    )


def _probes(rows: pd.DataFrame | None) -> tuple[float, float] | None:
    if rows is None:
        return None
    last = rows[rows["stage"] == rows["stage"].max()]
    after_all = last[last["block"] == last["block"].max()]
    return float(last.groupby("seed")["value"].max().mean()), float(after_all["value"].mean())


def _lost(named: dict[str, pd.DataFrame], suffix: str) -> Lost | None:
    intact, without = (named.get(f"lesions {name}{suffix}") for name in ("intact_accuracy", "accuracy"))
    if intact is None or without is None:
        return None
    whole = intact.set_index("seed")["value"]
    lost = (without["seed"].map(whole) - without["value"]).groupby(without["seed"])
    return Lost(float(lost.mean().mean()), float(lost.max().mean()))
