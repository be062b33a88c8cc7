"""`resdeg report`: what a sweep says of each claim."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from resdeg.cli import options
from resdeg.cli.console import emit, screen

if TYPE_CHECKING:
    from resdeg.analysis.judge import Finding
    from resdeg.report.page import Section


def report(
    sweep: options.SweepArgument = None,
    evaluation: options.Evaluation = None,
    as_json: options.AsJson = False,
) -> None:
    """Judge each claim by a sweep's runs; write report.md and a self-contained report.html."""
    from resdeg import files
    from resdeg.analysis.evidence import Evidence
    from resdeg.analysis.frame import load_sweep
    from resdeg.analysis.judge import peaks
    from resdeg.report import page, words

    folder = options.sweep_folder(sweep)
    loaded = load_sweep(folder)
    shown = loaded.evaluated(evaluation or loaded.evaluations[0])
    for problem in shown.problems:
        screen.insist(f"left out: {problem}")
    told = page.context(shown)
    for name, make in (("report.md", page.markdown), ("report.html", page.html)):
        files.write(folder / name, make(told).encode())
    sections: list[Section] = told["sections"]
    evidence = Evidence(shown)
    if as_json:
        page_of_json = {
            "folder": str(folder),
            "registration": words.registration(shown),
            "peaks": {}
            if evidence.interim
            else {family: asdict(peak) for family, peak in peaks(evidence).items()},
            "claims": [_as_dict(section.finding, section.beside) for section in sections],
        }
        emit(json.dumps(page_of_json, indent=1))
        return
    for section in sections:
        finding = section.finding
        lines = (section.sentence, section.numbers, section.seeds, *section.beside)
        emit(f"{finding.claim.id:3} {finding.verdict:9} " + " ".join(line for line in lines if line))
    for line in words.peak_lines(evidence):
        emit(line)
    emit(words.registration(shown))
    emit(str(folder / "report.md"))
    emit(str(folder / "report.html"))


def _as_dict(finding: Finding, beside: list[str]) -> dict[str, Any]:
    claim = finding.claim
    told = {"id": claim.id, "title": claim.title, "family": finding.family, "unit": claim.unit.name}
    numbers = {name: value for name, value in asdict(finding).items() if name not in ("claim", "family")}
    return told | numbers | {"beside": beside}
