"""Numbers and findings in words, the same in both forms of the report and on the terminal."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from resdeg.analysis.findings import Finding
from resdeg.analysis.frame import SweepFrame
from resdeg.analysis.stats import Estimate
from resdeg.analysis.verdict import MOST_SEEDS, Verdict
from resdeg.report.units import percent

METRIC_NAMES = {
    "test_accuracy": "test accuracy",
    "test_error": "test error",
    "running_train_error": "training error, running",
    "train_error": "training error, clean",
    "recomputed_train_error": "training error, statistics recomputed",
}


def spelt(items: Iterable[object], last: str = "and") -> str:
    """
    >>> spelt([8, 20, 56])
    '8, 20 and 56'
    """
    words = list(map(str, items))
    return f" {last} ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def sentence(finding: Finding) -> str:
    """What became of a claim."""
    claim = finding.claim
    if finding.needs is not None:
        return f"Not asked: it needs {finding.needs}."
    if finding.verdict is Verdict.SUPPORTED:
        return claim.outcomes[0]
    if finding.verdict is Verdict.REFUTED:
        return claim.outcomes[1]
    return f"{claim.title}: these runs do not decide it."


def numbers(finding: Finding) -> str:
    """Effect, interval, margin and seeds; empty where the claim was not asked."""
    if finding.effect is None:
        return ""
    unit = finding.claim.unit
    seeds = f"{finding.seeds} seed{'s' * (finding.seeds != 1)}"
    interval = "one seed: no interval"
    if finding.low is not None and finding.high is not None and finding.confidence is not None:
        confidence = f"{100 * finding.confidence:.2f}".rstrip("0").rstrip(".")
        interval = f"{confidence} % interval {unit.spell(finding.low)} to {unit.spell(finding.high)}, {seeds}"
    effect, margin = unit.spell(finding.effect), unit.spell(finding.margin)
    return f"Effect {effect} {unit.name} ({interval}), margin {margin}."


def more_seeds(finding: Finding) -> str:
    """How many seeds would decide it; empty where it is decided or cannot be asked."""
    if finding.verdict is not Verdict.UNDECIDED or finding.effect is None:
        return ""
    if finding.deciding is None:
        return f"Were effect and spread what they seem, not even {MOST_SEEDS} seeds would decide it."
    if finding.seeds == 1:
        unit = finding.claim.unit
        what, scatter = (
            ("accuracy", f"{100 * unit.scatter:.0f} points")
            if unit.scale == 100
            else ("number", f"{unit.scatter:g} {unit.name}")
        )
        return (
            f"One seed shows no spread; were every network's {what} to scatter by {scatter}, "
            f"{finding.deciding} seeds would probably decide it."
        )
    return (
        f"Were effect and spread what they seem, {finding.deciding} seeds, "
        f"{finding.deciding - finding.seeds} more, would probably decide it."
    )


def points_of(sweep: SweepFrame, family: str, metric: str) -> dict[int, Estimate]:
    """The points of one line of the curve by depth."""
    curve = sweep.curve
    rows = curve[(curve["family"] == family) & (curve["metric"] == metric)]
    found = {}
    for row in rows.to_dict("records"):
        low, high = ((None if pd.isna(row[end]) else float(row[end])) for end in ("low", "high"))
        found[int(row["depth"])] = Estimate(float(row["mean"]), low, high, int(row["seeds"]))
    return found


def mean(point: Estimate, decimals: int | None = None) -> str:
    """The mean as a number of so many decimals; without them it is a fraction, in percent."""
    return percent(point.mean) if decimals is None else f"{point.mean:.{decimals}f}"


def cell(point: Estimate | None, decimals: int | None = None) -> str:
    """A point in a table: mean and interval, with no line break but between them.

    Args:
        decimals: see `mean`.
    """
    if point is None:
        return "-"
    if point.low is None or point.high is None:
        return mean(point, decimals)
    low, high = (
        f"{100 * end:.1f}" if decimals is None else f"{end:.{decimals}f}" for end in (point.low, point.high)
    )
    whole = (mean(point, decimals), f"({low} to {high})")
    return " ".join(part.replace(" ", "\N{NO-BREAK SPACE}") for part in whole)


def told(sweep: SweepFrame, metrics: Iterable[str], families: Iterable[str]) -> str:
    """The points of a figure in words, for who cannot see it."""
    lines = []
    for family in families:
        for metric in metrics:
            if found := points_of(sweep, family, metric):
                each = ", ".join(f"{percent(point.mean)} at depth {depth}" for depth, point in found.items())
                lines.append(f"{family.capitalize()} networks, {METRIC_NAMES[metric]}: {each}.")
    return " ".join(lines)
