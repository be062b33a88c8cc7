"""The report of a sweep, in Markdown and as one HTML file: each claim, and how it was obtained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
import pandas as pd

from resdeg.analysis.anchors import check_protocol, compare
from resdeg.analysis.ended import ended_runs
from resdeg.analysis.evidence import Evidence
from resdeg.analysis.frame import SweepFrame
from resdeg.analysis.judge import RULE, Finding, findings
from resdeg.analysis.rules import registered_rules
from resdeg.errors import UsageError
from resdeg.report import blocks, interventions, words
from resdeg.report.beside import beside, gradient_ratios, longer_schedules
from resdeg.report.captions import budget, data_name, describe
from resdeg.report.claim_figure import ClaimFigure
from resdeg.report.claim_figures import CLAIM_FIGURES, accuracy_figure
from resdeg.report.inline import Shown, colours, inline_svg
from resdeg.report.style import THEMES
from resdeg.report.tables import Table, by_depth
from resdeg.report.units import duration


@dataclass(frozen=True)
class Section:
    """What the report has of one claim."""

    finding: Finding
    sentence: str
    numbers: str
    seeds: str
    beside: list[str]
    bar: Bar | None
    figure: Shown | None
    table: Table | None


@dataclass(frozen=True)
class Bar:
    """The interval of the excess over the margins beside 0, on a common scale from 0 to 100."""

    low: float
    high: float
    excess: float
    margin: float

    @classmethod
    def of(cls, finding: Finding) -> Bar | None:
        if finding.excess is None or finding.low is None or finding.high is None:
            return None
        places = (finding.low, finding.high, finding.excess, 0.0)
        span = max(places) - min(places)
        if span == 0:
            return None
        return cls(*(round(4 + 92 * (place - min(places)) / span, 1) for place in places))


def context(sweep: SweepFrame) -> dict[str, Any]:
    """All that the templates print; the figures in it are drawn once for both."""
    evidence = Evidence(sweep)
    found = findings(evidence)
    return {
        "sweep": sweep,
        "findings": found,
        "images": data_name(sweep.config),
        "generated": sweep.config.data.name == "hierarchy",
        "about": describe(sweep).splitlines(),
        "budget": budget(sweep.config),
        "curve": _curve(sweep),
        "curve_table": by_depth(sweep, sweep.config.families, ("test_accuracy",)),
        "peaks": [f"{line[:1].upper()}{line[1:]}." for line in words.peak_lines(evidence)],
        "registration": words.registration(sweep),
        "sections": [_section(evidence, finding) for finding in found],
        "gradients": gradient_ratios(sweep),
        "longer": longer_schedules(sweep),
        "interventions": interventions.told(sweep),
        "blocks": blocks.told(sweep),
        "rule": RULE,
        "error": 100 * registered_rules().levels["family"],
        "sign_flip": _sign_flip(found),
        "networks": _networks(sweep),
        "made_with": [
            (name.replace("_", " "), words.spelt(values))
            for name, values in sweep.provenance.items()
            if values
        ],
        "seconds": _seconds(sweep),
        "published": _published(sweep),
        "missing": _missing(sweep),
        "beyond": [(f.claim.id, f.claim.says, f.claim.beyond) for f in found if f.claim.beyond],
        "ink": {name: colours(look) for name, look in THEMES.items()},
    }


def markdown(told: dict[str, Any]) -> str:
    """What `context` gives, for a terminal, an editor or a repository's page; its figure is curve.png."""
    return _template("report.md.j2").render(told)


def html(told: dict[str, Any]) -> str:
    """What `context` gives, as one file that opens from disk: figures inside, light and dark, no script."""
    return _template("report.html.j2").render(told)


def _template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("resdeg.report"),
        autoescape=jinja2.select_autoescape(["html.j2"]),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["duration"] = duration
    return environment.get_template(name)


def _section(evidence: Evidence, finding: Finding) -> Section:
    sweep = evidence.sweep
    claim = CLAIM_FIGURES.get(finding.claim.id)
    return Section(
        finding,
        words.sentence(finding, sweep),
        words.numbers(finding),
        words.more_seeds(finding),
        beside(finding.claim.id, evidence),
        Bar.of(finding),
        _shown(sweep, finding, claim) if claim else None,
        claim.table(sweep) if claim else None,
    )


def _shown(sweep: SweepFrame, finding: Finding, of: ClaimFigure) -> Shown | None:
    figure = of.draw(sweep, THEMES["light"])
    if figure is None:
        return None
    text = of.told(sweep)
    title = f"{finding.claim.id}: {finding.claim.title}"
    return Shown(inline_svg(figure, finding.claim.id, title, text), text, of.caption)


def _curve(sweep: SweepFrame) -> Shown:
    text = words.told(sweep, ("test_accuracy",), sweep.config.families)
    title = f"Test accuracy against depth on {data_name(sweep.config)}"
    drawn = inline_svg(accuracy_figure(sweep, THEMES["light"]), "curve", title, text)
    return Shown(
        drawn, text, "Test accuracy against depth: dots are seeds, bars 95 % intervals of the mean over them."
    )


def _networks(sweep: SweepFrame) -> Table:
    """What each depth costs: parameters and multiply-adds, and seconds of a training."""
    rows = []
    for depth, runs in sweep.runs.groupby("depth"):
        seconds = [
            duration(float(mean)) if pd.notna(mean := of["seconds"].mean()) else "-"
            for family in sweep.config.families
            if len(of := runs[runs["family"] == family])
        ]
        first = runs[["parameters", "multiply_adds"]].max()
        counts = [f"{int(n):,}" if pd.notna(n) else "-" for n in first]
        rows.append([str(depth), *counts, " / ".join(seconds)])
    work = "training" if sweep.config.adopted is None else "measuring"
    trained = f"{work} ({' / '.join(sweep.config.families)})"
    return ["depth", "parameters", "multiply-adds per image", trained], rows


def _published(sweep: SweepFrame) -> tuple[str, Table | None]:
    """Our test errors beside the published ones, or why they are not set there."""
    try:
        check_protocol(sweep.name, sweep.config)
    except UsageError as refusal:
        return f"{refusal.what}.", None
    found = compare(sweep)
    rows = [
        [
            f"{one.family}-{one.depth}",
            words.cell(one.ours),
            f"{100 * one.band.low:.1f} to {100 * one.band.high:.1f}\N{NO-BREAK SPACE}%",
            one.placed or "-",
            ", ".join(f"{100 * anchor.value:.2f} ({anchor.source})" for anchor in one.anchors),
        ]
        for one in found.cells
        if one.wanted and one.band
    ]
    said = f"Test error, {found.protocol}; `resdeg anchors` has each source's protocol."
    ours = "ours" if found.adopted is None else "adopted"
    return said, (["network", ours, "span of the sources", f"{ours} is", "published, %"], rows)


def _seconds(sweep: SweepFrame) -> float:
    """Of all runs, each once."""
    by_run = {
        run_id: seconds
        for of in (sweep, *sweep.arms.values())
        for run_id, seconds in zip(of.runs["run_id"], of.runs["seconds"].fillna(0), strict=True)
    }
    return float(sum(by_run.values()))


def _missing(sweep: SweepFrame) -> list[str]:
    """What the verdicts do without."""
    said = [line for of in (sweep, *sweep.arms.values()) for line in _missing_of(of)]
    said += [f"{name}: no run has a record yet" for name in sweep.config.arms if name not in sweep.arms]
    damaged = dict.fromkeys([*sweep.problems, *sweep.diagnostics[1]])
    said += [f"damaged, left out: {problem}" for problem in damaged]
    return said + [f"note: {line}" for line in sweep.mixed]


def _missing_of(sweep: SweepFrame) -> list[str]:
    of = f"{sweep.arm}: " if sweep.arm else ""
    dead: dict[str, list[int]] = {}
    for run in ended_runs(sweep):
        if not run.alive and not run.diverged and run.depth > 2:
            dead.setdefault(f"{run.family}-{run.depth}", []).append(run.seed)
    said = [
        f"{of}{network} did not train in seed{'s' * (len(seeds) > 1)} {words.spelt(seeds)}: it is near "
        "chance on its own training images, which is another thing than degraded"
        for network, seeds in dead.items()
    ]
    for status, runs in sweep.runs.drop_duplicates("run_id").groupby("status"):
        if status != "finished":
            names = words.spelt(f"{r['family']}-{r['depth']} seed {r['seed']}" for _, r in runs.iterrows())
            said.append(f"{of}{status}: {names}")
    return said


def _sign_flip(found: Sequence[Finding]) -> str:
    """What a test without Student's assumptions could say with so few seeds, at best."""
    seeds = max((finding.seeds for finding in found), default=0)
    if seeds < 2:
        return ""
    least = 2 / 2**seeds
    return (
        f"Intervals take differences between seeds to be roughly normal. Without that, {seeds} paired seeds "
        f"can give a two-sided sign-flip p of {least:.4f} at the least"
        + (", which is not below .05." if least >= registered_rules().levels["family"] else ".")
    )
