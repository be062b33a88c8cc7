"""Tables of the report: a head and rows of text."""

from __future__ import annotations

from collections.abc import Sequence

from resdeg.analysis.frame import SweepFrame
from resdeg.report import words

Table = tuple[Sequence[str], Sequence[Sequence[str]]]  # head, rows


def by_depth(sweep: SweepFrame, families: Sequence[str], metrics: Sequence[str]) -> Table | None:
    """A row per depth, a column per family and metric: mean, interval and seeds."""
    columns = [
        (family, metric, words.points_of(sweep, family, metric)) for family in families for metric in metrics
    ]
    there = [(family, metric, points) for family, metric, points in columns if points]
    if not there:
        return None
    depths = sorted({depth for *_, points in there for depth in points})
    head = ["depth", *(f"{family}, {words.METRIC_NAMES[metric]}" for family, metric, _ in there), "seeds"]
    body = [
        [
            str(depth),
            *(words.cell(points.get(depth)) for *_, points in there),
            " / ".join(dict.fromkeys(str(points[depth].seeds) for *_, points in there if depth in points)),
        ]
        for depth in depths
    ]
    return head, body
