"""Verdicts and peaks in words, the same in figures, in the report and on the terminal."""

from __future__ import annotations

from collections.abc import Iterable

from resdeg.analysis.effects import Peak
from resdeg.analysis.ended import chance_and_threshold, list_ended_runs
from resdeg.analysis.evidence import Evidence
from resdeg.analysis.frame import SweepFrame
from resdeg.analysis.judge import MOST_SEEDS, Finding, PartFinding, Verdict, locate_peaks
from resdeg.analysis.rules import registered_rules
from resdeg.config import Family
from resdeg.report.text import describe_budget, join_words, name_data, spell_count


def describe_finding(finding: Finding, sweep: SweepFrame) -> str:
    """Returns the verdict of a claim as a sentence, with the data set, budget and seeds it holds for."""
    if finding.needs is not None:
        needs = finding.needs if finding.needs.startswith("interim") else f"it needs {finding.needs}"
        return f"Not asked: {needs}."
    scope = f"{name_data(sweep.config)}, {describe_budget(sweep.config)}, {count_seeds(finding)}"
    return f"{describe_outcome(finding).removesuffix('.')} ({scope})."


def count_seeds(finding: Finding) -> str:
    """Returns how many seeds a verdict holds for, how many its smallest part has, and if they are few."""
    least = min(part.seeds for part in finding.parts)
    words = spell_count(finding.seeds, "seed")
    if least < finding.seeds:
        words += f", {least} in some part"
    return words + (", few seeds" if finding.few_seeds else "")


def describe_outcome(finding: Finding) -> str:
    """Returns what came out for a claim that was asked, in a sentence."""
    claim = finding.claim
    margins = [claim.unit.spell(abs(part.margin), signed=False) for part in finding.parts]
    if finding.verdict is Verdict.SUPPORTED:
        return claim.outcomes[0].format(*margins)
    if finding.verdict is Verdict.REFUTED:
        # Where the interval reaches beyond the margins no test refutes the claim, so deaths do.
        tested = finding.high is not None and finding.high < 0
        return (claim.outcomes[1] if tested or not claim.collapse else claim.collapse).format(*margins)
    fall = _find_small_fall(finding)
    if fall is None or fall.effect is None:
        return f"{claim.title}: these runs do not decide it."
    mean, margin = (claim.unit.spell(number, signed=False) for number in (fall.effect, fall.margin))
    return (
        f"{claim.title}: at {finding.witness} the mean fall is {mean} {claim.unit.name}, not above {margin}, "
        "so there is no fall to explain there."
    )


def _find_small_fall(finding: Finding) -> PartFinding | None:
    """Returns the fall that a claim explains, where its mean is not above its margin; else None."""
    guard = registered_rules().claims[finding.claim.id].numbers.get("guard")
    for part in finding.parts:
        if part.name == guard and part.effect is not None and part.effect <= part.margin:
            return part
    return None


def describe_terms(evidence: Evidence, findings: Iterable[Finding]) -> str:
    """Says what f is, and why some intervals are of more than 95 %, where some are."""
    rules = registered_rules()
    level = rules.levels["family"]
    line = f"f, what a fall must exceed, is {100 * rules.fall[evidence.schedule]:g} points."
    if any(finding.confidence is not None and finding.confidence > 1 - 0.99 * level for finding in findings):
        line += (
            f" An interval may be of more than {100 * (1 - level):g} %, because C1 to C4 share one error of "
            f"{100 * level:g} %, and C5 to C10 another: a claim that gets half of it has an interval of "
            f"{100 * (1 - level / 2):g} %."
        )
    return line


def describe_numbers(finding: Finding) -> str:
    """Returns parts, interval, seeds and deaths; empty where the claim was not asked."""
    if finding.needs is not None:
        return ""
    unit = finding.claim.unit
    witness = "" if finding.witness is None else f"At {finding.witness}: "
    effects = ("-" if part.effect is None else unit.spell(part.effect) for part in finding.parts)
    fewer = (
        f", {spell_count(part.seeds, 'seed')}" if part.seeds < finding.seeds else "" for part in finding.parts
    )
    parts = (
        f"{part.name} {effect} (margin {unit.spell(part.margin)}{seeds})"
        for part, effect, seeds in zip(finding.parts, effects, fewer, strict=True)
    )
    smallest = "" if finding.smallest is None else f", smallest {unit.spell(finding.smallest)}"
    lines = [
        f"{witness}{'; '.join(parts)}; in {unit.name}.",
        _describe_interval(finding),
        f"In {finding.beyond} of {spell_count(finding.seeds, 'seed')}{smallest}.",
    ]
    if finding.dead:
        lines.append(f"Did not train: {join_words(finding.dead)}.")
    if finding.collapse_bound is not None:
        lines.append(f"No deepest one died; up to {100 * finding.collapse_bound:.0f} % of seeds may (95 %).")
    return " ".join(line for line in lines if line)


def _describe_interval(finding: Finding) -> str:
    """Returns the interval of the excess, as far as it has ends."""
    if finding.confidence is None or (finding.low is None and finding.high is None):
        return ""
    unit = finding.claim.unit
    confidence = f"{100 * finding.confidence:.2f}".rstrip("0").rstrip(".")
    low, high = (None if end is None else unit.spell(end) for end in (finding.low, finding.high))
    if low is None or high is None:
        ends = f"at most {high}" if low is None else f"at least {low}"
    else:
        ends = f"{low} to {high}"
    return f"Beyond the margin{'s' * (len(finding.parts) > 1)} by {ends} ({confidence} % interval)."


def describe_deciding_seeds(finding: Finding) -> str:
    """Says how many seeds would decide a claim; empty where it was not asked, is decided or cannot be."""
    if finding.deciding is None:
        return ""
    if finding.deciding > MOST_SEEDS:
        return f"If effect and spread are what they seem, not even {MOST_SEEDS} seeds will decide it."
    if finding.deciding <= finding.seeds:
        return ""
    return (
        f"If effect and spread are what they seem, {finding.deciding} seeds, "
        f"{finding.deciding - finding.seeds} more, will probably decide it."
    )


# ---------------------------------------------------------------- peaks


def describe_peak(evidence: Evidence, family: Family = "plain") -> str:
    """Says where the curve of a family has its peak, or why none is named; empty before a depth has ended."""
    if evidence.interim is not None:
        return evidence.interim
    if family in evidence.unlearned:
        return f"no {family} network with a block has learnt yet, so their curve is noise"
    peak = locate_peaks(evidence).get(family)
    diverged = sum(
        run.diverged for run in list_ended_runs(evidence.grid) if run.family == family and run.depth > 2
    )
    return "" if peak is None else f"peak of the {family} curve: {_spell_peak(peak, diverged)}"


def describe_peaks(evidence: Evidence) -> list[str]:
    """Returns `describe_peak` of every family, and why none is named where that is so."""
    if evidence.interim is not None:
        return [f"{evidence.interim}: nothing is judged before all of them have ended"]
    guess, threshold = (f"{100 * share:.3g} %" for share in chance_and_threshold(evidence.config))
    noise = f": none is above {threshold} on its training images, and a guess is at {guess}"
    lines = {family: describe_peak(evidence, family) for family in evidence.config.families}
    return [line + noise * (family in evidence.unlearned) for family, line in lines.items() if line]


def _spell_peak(peak: Peak, diverged: int) -> str:
    """Returns the peak, and how many runs with a block diverged, which count as a guess here."""
    seeds = spell_count(peak.seeds, "seed")
    if diverged:
        seeds += f", {spell_count(diverged, 'run')} that diverged as a guess"
    if peak.seeds < registered_rules().least_seeds:
        return f"best trained: {peak.best} ({seeds}: no interval)"
    if peak.low is None and peak.high is None:
        where = "not located"
    elif peak.low is None:
        where = f"below {peak.high}"
    else:
        where = f"above {peak.low}" if peak.high is None else f"between {peak.low} and {peak.high}"
    return f"{where}; best trained: {peak.best} ({100 * peak.confidence:.0f} %, {seeds})"
