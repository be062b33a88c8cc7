"""Numbers and findings in words, the same in both forms of the report and on the terminal."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from resdeg.analysis.effects import Peak
from resdeg.analysis.evidence import Evidence
from resdeg.analysis.frame import SweepFrame
from resdeg.analysis.judge import MOST_SEEDS, Finding, Verdict, peaks
from resdeg.analysis.rules import registered_rules
from resdeg.analysis.stats import Estimate
from resdeg.config import Family
from resdeg.report.captions import budget, data_name
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


def scope(sweep: SweepFrame, seeds: int) -> str:
    """What a verdict speaks for: data set, budget and number of seeds."""
    return f"{data_name(sweep.config)}, {budget(sweep.config)}, {_counted(seeds, 'seed')}"


def sentence(finding: Finding, sweep: SweepFrame) -> str:
    """What became of a claim, and what it speaks for."""
    claim = finding.claim
    if finding.needs is not None:
        return (
            f"Not asked: {finding.needs}."
            if finding.needs.startswith("interim")
            else f"Not asked: it needs {finding.needs}."
        )
    outcome = f"{claim.title}: these runs do not decide it."
    if finding.verdict is Verdict.SUPPORTED:
        outcome = claim.outcomes[0]
    elif finding.verdict is Verdict.REFUTED:
        outcome = claim.outcomes[1]
    elif _nothing_to_explain(finding):
        outcome = f"{claim.title}: no fall to explain."
    few = ", few seeds" if finding.few_seeds else ""
    return f"{outcome.removesuffix('.')} ({scope(sweep, finding.seeds)}{few})."


def _nothing_to_explain(finding: Finding) -> bool:
    guard = registered_rules().claims[finding.claim.id].numbers.get("guard")
    return any(
        part.name == guard and part.effect is not None and part.effect <= part.margin
        for part in finding.parts
    )


def numbers(finding: Finding) -> str:
    """Parts, interval, seeds and deaths; empty where the claim was not asked."""
    if finding.needs is not None:
        return ""
    unit = finding.claim.unit
    witness = "" if finding.witness is None else f"At {finding.witness}: "
    effects = ("-" if part.effect is None else unit.spell(part.effect) for part in finding.parts)
    each = (
        f"{part.name} {effect} (margin {unit.spell(part.margin)})"
        for part, effect in zip(finding.parts, effects, strict=True)
    )
    lines = [f"{witness}{'; '.join(each)}; in {unit.name}.", _interval(finding), _seeds(finding)]
    if finding.dead:
        lines.append(f"Did not train: {spelt(finding.dead)}.")
    if finding.collapse_bound is not None:
        lines.append(f"No deepest one died; up to {100 * finding.collapse_bound:.0f} % of seeds may (95 %).")
    return " ".join(line for line in lines if line)


def _interval(finding: Finding) -> str:
    """The interval of the excess, as far as it has ends."""
    if finding.confidence is None or (finding.low is None and finding.high is None):
        return ""
    unit = finding.claim.unit
    confidence = f"{100 * finding.confidence:.2f}".rstrip("0").rstrip(".")
    low, high = (None if end is None else unit.spell(end) for end in (finding.low, finding.high))
    if low is None or high is None:
        ends = f"up to {high}" if low is None else f"from {low} up"
    else:
        ends = f"{low} to {high}"
    return f"Beyond the margin{'s' * (len(finding.parts) > 1)} by {ends} ({confidence} % interval)."


def _seeds(finding: Finding) -> str:
    smallest = "" if finding.smallest is None else f", smallest {finding.claim.unit.spell(finding.smallest)}"
    return f"In {finding.beyond} of {_counted(finding.seeds, 'seed')}{smallest}."


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"


def more_seeds(finding: Finding) -> str:
    """How many seeds would decide it; empty where it is decided or cannot be asked."""
    if finding.verdict is not Verdict.UNDECIDED:
        return ""
    if finding.deciding is None:
        return f"If effect and spread are what they seem, not even {MOST_SEEDS} seeds will decide it."
    if finding.deciding <= finding.seeds:
        return ""
    return (
        f"If effect and spread are what they seem, {finding.deciding} seeds, "
        f"{finding.deciding - finding.seeds} more, will probably decide it."
    )


def peak_line(evidence: Evidence, family: Family = "plain") -> str:
    """Where the curve of a family has its peak; that the sweep is interim, if so; empty without one."""
    if evidence.interim is not None:
        return evidence.interim
    curves = peaks(evidence)
    return f"peak of the {family} curve: {_peak(curves[family])}" if family in curves else ""


def peak_lines(evidence: Evidence) -> list[str]:
    """`peak_line` of every family, once where the sweep is interim."""
    lines = [peak_line(evidence, family) for family in evidence.config.families]
    return [line for line in dict.fromkeys(lines) if line]


def _peak(peak: Peak) -> str:
    seeds = _counted(peak.seeds, "seed")
    if peak.seeds < registered_rules().least_seeds:
        return f"best trained: {peak.best} ({seeds}: no interval)"
    if peak.low is None and peak.high is None:
        where = "not located"
    elif peak.low is None:
        where = f"below {peak.high}"
    else:
        where = f"above {peak.low}" if peak.high is None else f"between {peak.low} and {peak.high}"
    return f"{where}; best trained: {peak.best} ({100 * peak.confidence:.0f} %, {seeds})"


def registration(sweep: SweepFrame) -> str:
    """Whether the rules were fixed before the first step of a sweep, or are younger, or other ones."""
    rules, begun = registered_rules(), sweep.config.registration
    if begun is None:
        return f"The rules (version {rules.version}, {rules.date}) are younger than these records."
    fixed = f"version {begun.version}, {begun.date}, SHA-256 {begun.sha256[:12]}"
    if begun.sha256 == rules.sha256:
        line = f"The rules were fixed before the first step ({fixed})."
    else:
        line = (
            f"This sweep was begun under other rules ({fixed}) than those that judge it here, which are "
            f"younger than its records (version {rules.version}, {rules.date}, SHA-256 {rules.sha256[:12]})."
        )
    if begun.depth is not None:
        line += f" Depth {begun.depth} was named before the first step."
    if begun.extended_after is not None:
        line += f" The sweep was extended after a look at {_counted(begun.extended_after, 'seed')}."
    return line


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
