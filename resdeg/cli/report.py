"""`resdeg report`: what a sweep says of each claim."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from resdeg.cli import options
from resdeg.cli.console import emit, screen

if TYPE_CHECKING:
    from resdeg.analysis.findings import Finding


def report(
    sweep: options.SweepArgument = None,
    evaluation: options.Evaluation = None,
    as_json: options.AsJson = False,
) -> None:
    """Judge each claim by a sweep's runs; write report.md and a self-contained report.html."""
    from resdeg import files
    from resdeg.analysis.frame import load_sweep
    from resdeg.report import page, words

    folder = options.sweep_folder(sweep)
    loaded = load_sweep(folder)
    shown = loaded.evaluated(evaluation or loaded.evaluations[0])
    for problem in shown.problems:
        screen.insist(f"left out: {problem}")
    told = page.context(shown)
    for name, make in (("report.md", page.markdown), ("report.html", page.html)):
        files.write(folder / name, make(told).encode())
    found: list[Finding] = told["findings"]
    if as_json:
        emit(json.dumps({"folder": str(folder), "claims": [_as_dict(one) for one in found]}, indent=1))
        return
    for one in found:
        said = (words.sentence(one), words.numbers(one), words.more_seeds(one))
        emit(f"{one.claim.id} {one.verdict:9} " + " ".join(part for part in said if part))
    emit(str(folder / "report.md"))
    emit(str(folder / "report.html"))


def _as_dict(finding: Finding) -> dict[str, Any]:
    claim = finding.claim
    told = {"id": claim.id, "title": claim.title, "family": claim.family, "unit": claim.unit.name}
    return told | {name: value for name, value in asdict(finding).items() if name != "claim"}
