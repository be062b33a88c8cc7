"""The report of a sweep, in Markdown, as one HTML file and as JSON: each claim, and how it was obtained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import jinja2
import pandas as pd

from resdeg.analysis.anchors import check_protocol, compare
from resdeg.analysis.effects import Peak
from resdeg.analysis.ended import list_ended_runs
from resdeg.analysis.evidence import Evidence
from resdeg.analysis.frame import SweepFrame
from resdeg.analysis.judge import RULE, Finding, judge_claims, locate_peaks
from resdeg.analysis.rules import registered_rules
from resdeg.config import Family
from resdeg.errors import UsageError
from resdeg.report.arm_charts import ArmSection, make_arm_section
from resdeg.report.beside import describe_beside, describe_other_lengths, tabulate_gradients
from resdeg.report.block_charts import BlockSection, make_block_section
from resdeg.report.chart import Table, spell_pipes
from resdeg.report.claim_charts import CLAIM_CHARTS
from resdeg.report.curve_chart import chart_accuracy
from resdeg.report.style import THEMES
from resdeg.report.svg import Picture, colour_variables, embed
from resdeg.report.text import (
    describe_budget,
    describe_registration,
    describe_runs,
    join_words,
    name_data,
    spell_cell,
)
from resdeg.report.units import duration
from resdeg.report.verdict_text import (
    describe_deciding_seeds,
    describe_finding,
    describe_numbers,
    describe_peaks,
    describe_terms,
)


@dataclass(frozen=True)
class Bar:
    """The interval of the excess over the margins beside 0, on a common scale from 0 to 100."""

    low: float
    high: float
    excess: float
    margin: float

    @classmethod
    def from_finding(cls, finding: Finding) -> Bar | None:
        """Returns the bar of a claim; None where its interval has no ends."""
        if finding.excess is None or finding.low is None or finding.high is None:
            return None
        numbers = (finding.low, finding.high, finding.excess, 0.0)
        span = max(numbers) - min(numbers)
        if span == 0:
            return None
        return cls(*(round(4 + 92 * (number - min(numbers)) / span, 1) for number in numbers))


@dataclass(frozen=True)
class Section:
    """One claim: its finding in words, lines beside the verdict, and its chart."""

    finding: Finding
    sentence: str
    numbers: str
    seeds: str
    beside: list[str]
    bar: Bar | None
    figure: Picture | None
    table: Table | None

    def as_dict(self) -> dict[str, Any]:
        """Returns the finding and the lines beside it, for JSON; numbers are fractions."""
        claim, fields = self.finding.claim, asdict(self.finding)
        del fields["claim"], fields["family"]
        head = {
            "id": claim.id, "title": claim.title, "family": self.finding.family, "unit": claim.unit.name,
        }  # fmt: skip
        return head | fields | {"beside": self.beside}


@dataclass(frozen=True)
class Report:
    """Everything that the forms of a report print; its figures are drawn once for all of them.

    Args:
        generated: whether the images were generated. about: what the runs are.
        peaks: where each family's curve has its peak; empty while the sweep is interim. peak_lines: in words.
        terms: what f and the levels of the intervals are. networks: what each depth costs.
        made_with: properties and their values. seconds: of one worker.
        published: a sentence on the published errors, and ours beside them where they can be compared.
        missing: what the verdicts do without.
    """

    sweep: SweepFrame
    images: str
    generated: bool
    about: list[str]
    budget: str
    curve: Picture
    curve_table: Table | None
    peaks: Mapping[Family, Peak]
    peak_lines: list[str]
    registration: str
    terms: str
    sections: list[Section]
    arms: ArmSection | None
    blocks: BlockSection | None
    gradients: Table | None
    lengths: list[str]
    sign_flip: str
    made_with: list[tuple[str, str]]
    seconds: float
    networks: Table
    published: tuple[str, Table | None]
    missing: list[str]

    def as_dict(self) -> dict[str, Any]:
        """Returns what programs read, for JSON."""
        return {
            "folder": str(self.sweep.folder),
            "registration": self.registration,
            "peaks": {family: asdict(peak) for family, peak in self.peaks.items()},
            "claims": [section.as_dict() for section in self.sections],
        }


def make_report(sweep: SweepFrame) -> Report:
    """Judges every claim by a sweep and draws its figures."""
    evidence = Evidence(sweep)
    accuracy = chart_accuracy(sweep)
    images = name_data(sweep.config)
    curve = embed(accuracy, name="curve", title=f"Test accuracy against depth on {images}")
    assert curve is not None
    sections = [_make_section(evidence, finding) for finding in judge_claims(evidence)]
    return Report(
        sweep=sweep,
        images=images,
        generated=sweep.config.data.name == "hierarchy",
        about=describe_runs(sweep).splitlines(),
        budget=describe_budget(sweep.config),
        curve=curve,
        curve_table=accuracy.table,
        peaks={} if evidence.interim else locate_peaks(evidence),
        peak_lines=describe_peaks(evidence),
        registration=describe_registration(sweep),
        terms=describe_terms(evidence, (section.finding for section in sections)),
        sections=sections,
        arms=make_arm_section(evidence),
        blocks=make_block_section(sweep),
        gradients=tabulate_gradients(sweep),
        lengths=describe_other_lengths(sweep),
        sign_flip=_describe_sign_flip(section.finding for section in sections),
        made_with=[
            (name.replace("_", " "), join_words(values))
            for name, values in sweep.provenance.items()
            if values
        ],
        seconds=_sum_seconds(sweep),
        networks=_tabulate_networks(sweep),
        published=_compare_published(sweep),
        missing=_list_missing(sweep),
    )


def render_markdown(report: Report) -> str:
    """Returns the report for a terminal, an editor or a repository's page; it links the curve, curve.png."""
    return _render("report.md.j2", report)


def render_html(report: Report) -> str:
    """Returns the report as one file that opens from disk: figures inside, light and dark, no script."""
    return _render("report.html.j2", report)


def _render(name: str, report: Report) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("resdeg.report"),
        autoescape=jinja2.select_autoescape(["html.j2"]),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["duration"] = duration
    environment.globals["table"] = spell_pipes  # the HTML has a macro of this name
    environment.globals["rule"] = RULE
    environment.globals["error"] = 100 * registered_rules().levels["family"]
    environment.globals["ink"] = {name: colour_variables(look) for name, look in THEMES.items()}
    return environment.get_template(name).render(vars(report))


def _make_section(evidence: Evidence, finding: Finding) -> Section:
    claim = finding.claim
    make_chart = CLAIM_CHARTS.get(claim.id)
    chart = make_chart(evidence) if make_chart else None
    return Section(
        finding,
        sentence=describe_finding(finding, evidence.sweep),
        numbers=describe_numbers(finding),
        seeds=describe_deciding_seeds(finding),
        beside=describe_beside(claim.id, evidence),
        bar=Bar.from_finding(finding),
        figure=chart if chart is None else embed(chart, name=claim.id, title=f"{claim.id}: {claim.title}"),
        table=chart if chart is None else chart.table,
    )


def _tabulate_networks(sweep: SweepFrame) -> Table:
    """Returns what each depth costs: parameters and multiply-adds, and seconds of a training."""
    rows = []
    for depth, runs in sweep.runs.groupby("depth"):
        seconds = [
            duration(float(mean)) if pd.notna(mean := own["seconds"].mean()) else "-"
            for family in sweep.config.families
            if len(own := runs[runs["family"] == family])
        ]
        first = runs[["parameters", "multiply_adds"]].max()
        counts = [f"{int(count):,}" if pd.notna(count) else "-" for count in first]
        rows.append([str(depth), *counts, " / ".join(seconds)])
    work = "training" if sweep.config.adopted is None else "measuring"
    trained = f"{work} ({' / '.join(sweep.config.families)})"
    return ["depth", "parameters", "multiply-adds per image", trained], rows


def _compare_published(sweep: SweepFrame) -> tuple[str, Table | None]:
    """Returns our test errors beside the published ones, or why they are not compared."""
    try:
        check_protocol(sweep.name, sweep.config)
    except UsageError as refusal:
        return f"{refusal.what}.", None
    comparison = compare(sweep)
    rows = [
        [
            f"{cell.family}-{cell.depth}",
            spell_cell(cell.ours),
            f"{100 * cell.band.low:.1f} to {100 * cell.band.high:.1f}\N{NO-BREAK SPACE}%",
            cell.relation or "-",
            ", ".join(f"{100 * anchor.value:.2f} ({anchor.source})" for anchor in cell.anchors),
        ]
        for cell in comparison.cells
        if cell.planned and cell.band
    ]
    intro = f"Test error, {comparison.protocol}; `resdeg anchors` has each source's protocol."
    ours = "ours" if comparison.adopted is None else "adopted"
    return intro, (["network", ours, "span of the sources", f"{ours} is", "published, %"], rows)


def _sum_seconds(sweep: SweepFrame) -> float:
    """Returns the seconds of all runs, each counted once."""
    by_run = {
        run_id: seconds
        for frame in (sweep, *sweep.arms.values())
        for run_id, seconds in zip(frame.runs["run_id"], frame.runs["seconds"].fillna(0), strict=True)
    }
    return float(sum(by_run.values()))


def _list_missing(sweep: SweepFrame) -> list[str]:
    lines = [line for frame in (sweep, *sweep.arms.values()) for line in _list_missing_runs(frame)]
    lines += [f"{name}: no run has a record yet" for name in sweep.config.arms if name not in sweep.arms]
    problems = dict.fromkeys([*sweep.problems, *sweep.diagnostics[1]])
    lines += [f"left out: {problem}" for problem in problems]
    return lines + [f"note: {line}" for line in sweep.notes]


def _list_missing_runs(sweep: SweepFrame) -> list[str]:
    """Returns a line for each network that did not train, and for each state but finished."""
    arm = f"{sweep.arm}: " if sweep.arm else ""
    dead: dict[str, list[int]] = {}
    for ended in list_ended_runs(sweep):
        if not ended.alive and not ended.diverged and ended.depth > 2:
            dead.setdefault(f"{ended.family}-{ended.depth}", []).append(ended.seed)
    lines = [
        f"{arm}{network} did not train in seed{'s' * (len(seeds) > 1)} {join_words(seeds)}: it is near "
        "chance on its own training images, which is another thing than degraded"
        for network, seeds in dead.items()
    ]
    for status, runs in sweep.runs.drop_duplicates("run_id").groupby("status"):
        if status != "finished":
            names = (f"{run['family']}-{run['depth']} seed {run['seed']}" for _, run in runs.iterrows())
            lines.append(f"{arm}{status}: {join_words(names)}")
    return lines


def _describe_sign_flip(findings: Iterable[Finding]) -> str:
    """Says what a test without Student's assumptions could give with so few seeds, at best."""
    seeds = max((finding.seeds for finding in findings), default=0)
    if seeds < 2:
        return ""
    least = 2 / 2**seeds
    return (
        f"Intervals take differences between seeds to be roughly normal. Without that, {seeds} paired seeds "
        f"can give a two-sided sign-flip p of {least:.4f} at the least"
        + (", which is not below .05." if least >= registered_rules().levels["family"] else ".")
    )
