"""`resdeg report`: what a sweep says about each claim."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from resdeg.cli import options
from resdeg.cli.console import emit, emit_json, screen


def report(
    sweep: options.SweepArgument = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the report and its figure [the sweep's].")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Judge each claim by a sweep's runs; write report.md, curve.png and a self-contained report.html."""
    from resdeg import files
    from resdeg.analysis.frame import load_sweep
    from resdeg.report.figures import draw_sweeps
    from resdeg.report.options import DEFAULTS
    from resdeg.report.page import make_report, render_html, render_markdown
    from resdeg.report.style import render

    folder = options.sweep_folder(sweep)
    loaded = load_sweep(folder)
    shown = loaded.evaluated(loaded.evaluations[0])  # that of the training: no other is chosen after a look
    for problem in shown.problems:
        screen.insist(f"left out: {problem}")
    if shown.unplanned:
        screen.say(f"note: {shown.unplanned}")
    page = make_report(shown)
    target = folder if out is None else out
    drawn = draw_sweeps([loaded], "curve", options=DEFAULTS)
    files.make_folder(target)
    # The page links the figure, and one that was drawn earlier may show other runs.
    for name, content in (
        ("curve.png", render(drawn.figure, "png", drawn.about)),
        ("report.md", render_markdown(page).encode()),
        ("report.html", render_html(page).encode()),
    ):
        files.write(target / name, content)
    if as_json:
        emit_json(page.as_dict())
        return
    for section in page.sections:
        finding = section.finding
        lines = (section.sentence, section.numbers, section.seeds, *section.beside)
        emit(f"{finding.claim.id:3} {finding.verdict:9} " + " ".join(line for line in lines if line))
    for line in page.peak_lines:
        emit(line)
    emit(page.registration)
    emit(str(target / "report.md"))
    emit(str(target / "report.html"))
