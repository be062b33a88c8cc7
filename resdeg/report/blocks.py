"""What the report has of measured blocks: a row per network."""

from __future__ import annotations

from dataclasses import dataclass

from resdeg.analysis.blocks import Blocks, Lost, measured_blocks
from resdeg.analysis.frame import SweepFrame
from resdeg.analysis.units import POINTS
from resdeg.report.tables import Table
from resdeg.report.units import percent

SAID = (
    "Trained networks on held-out images, means over seeds. Size of the branch, distance from the identity, "
    "debiased CKA and linear residual: the median block of the later half, of those that keep their shape. "
    "Probe: accuracy behind the best block of the last stage, and behind the last. Lost: points of accuracy "
    "without one block, the mean over blocks and the largest, by the intact network's statistics and by "
    "recomputed ones."
)
HEAD = [
    "network", "seeds", "images", "‖F(x)‖ / ‖x‖", "‖H(x) - x‖ / ‖x‖", "CKA", "linear residual",
    "probe, best / last", "intact", "lost", "lost, recomputed",
]  # fmt: skip


@dataclass(frozen=True)
class Told:
    """The section: a paragraph and a table."""

    said: str
    table: Table


def told(sweep: SweepFrame) -> Told | None:
    """None where no block was measured."""
    found = measured_blocks(sweep)
    return Told(SAID, (HEAD, [_row(one) for one in found])) if found else None


def _row(one: Blocks) -> list[str]:
    name = f"{one.family}-{one.depth}"
    late = (
        f"{one.late[n]:.2f}" if n in one.late else "-"
        for n in ("branch", "distance", "cka", "linear_residual")
    )
    probes = "-" if one.probes is None else " / ".join(percent(value) for value in one.probes)
    return [
        f"{name}, {one.arm}" if one.arm else name,
        str(one.seeds),
        f"{one.images:,}",
        *late,
        probes.replace(" %", "\N{NO-BREAK SPACE}%"),
        percent(one.intact),
        _lost(one.lost),
        _lost(one.recomputed),
    ]


def _lost(of: Lost | None) -> str:
    if of is None:
        return "-"
    return f"{POINTS.spell(of.mean, signed=False)} ({POINTS.spell(of.largest, signed=False)})"
