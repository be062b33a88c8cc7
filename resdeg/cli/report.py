"""`resdeg report`: what a sweep says about each claim."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from resdeg.cli import options
from resdeg.cli.console import emit, emit_json, screen


def report(
    sweep: options.SweepArgument = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of report.md and report.html [the sweep's].")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Judge each claim by a sweep's runs; write report.md and a self-contained report.html."""
    from resdeg import files
    from resdeg.analysis.frame import load_sweep
    from resdeg.report.page import make_report, render_html, render_markdown

    folder = options.sweep_folder(sweep)
    loaded = load_sweep(folder)
    shown = loaded.evaluated(loaded.evaluations[0])  # that of the training: no other is chosen after a look
    for problem in shown.problems:
        screen.insist(f"left out: {problem}")
    if shown.unplanned:
        screen.say(f"note: {shown.unplanned}")
    page = make_report(shown)
    target = folder if out is None else out
    figure = quote(os.fsencode(os.path.relpath(folder / "curve.png", target)))
    files.make_folder(target)
    for name, text in (
        ("report.md", render_markdown(page, figure=figure)),
        ("report.html", render_html(page)),
    ):
        files.write(target / name, text.encode())
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
