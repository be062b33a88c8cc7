"""`resdeg collect`: put the runs of several folders of one sweep together."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from resdeg.cli import options
from resdeg.cli.console import emit, emit_json, screen

if TYPE_CHECKING:
    from resdeg.sweep.collect import Collected

_BEAT = 10.0  # seconds between two lines of progress


def collect(
    sources: Annotated[
        list[Path], typer.Argument(metavar="SWEEP...", help="Folders of one sweep: its shards, or copies.")
    ],
    out: Annotated[Path, typer.Option("--out", help="The folder that gets all runs; it may hold some.")],
    wait: options.Wait = False,
    as_json: options.AsJson = False,
) -> None:
    """Put the runs of the shards of a sweep together, each verified; the same command again goes on."""
    from resdeg.sweep.collect import collect_runs

    collected = collect_runs(
        sources,
        out,
        waiting=(lambda busy: screen.say(f"waiting: {busy}")) if wait else None,
        progress=_Beat(),
    )
    options.remember(out)
    for problem in collected.problems:
        screen.insist(f"left out: {problem}")
    for folder in collected.set_aside:
        screen.say(f"set aside: {folder}, because another copy is further ahead, or whole")
    for line in collected.mixed:
        screen.say(f"note: {line}")
    if as_json:
        emit_json(_make_document(collected))
    else:
        emit(
            f"{out}: {collected.ended} of {len(collected.states)} runs have ended; "
            f"{len(collected.copied)} copied, {len(collected.present)} were there before"
        )
        if collected.ended < len(collected.states):
            screen.say(f"train what is missing with: {shlex.join(['resdeg', 'sweep', str(out)])}")
    if collected.damaged:
        screen.insist(f"no whole copy of {', '.join(collected.damaged)}")
        raise SystemExit(5)


class _Beat:
    """Says every ten seconds how many runs have been copied."""

    def __init__(self) -> None:
        self._due = time.monotonic() + _BEAT

    def __call__(self, done: int, count: int) -> None:
        if time.monotonic() >= self._due:
            screen.say(f"{done} of {count} runs copied")
            self._due = time.monotonic() + _BEAT


def _make_document(collected: Collected) -> dict[str, object]:
    """Returns what programs read: every planned run and every other one that was copied or there."""
    ids = dict.fromkeys([*collected.states, *collected.copied, *collected.present])
    return {
        "folder": str(collected.folder),
        "runs": [
            {
                "run_id": run_id,
                "state": collected.states.get(run_id),
                "copied_from": str(collected.copied[run_id]) if run_id in collected.copied else None,
            }
            for run_id in ids
        ],
        "ended": collected.ended,
        "copied": len(collected.copied),
        "present": len(collected.present),
        "set_aside": [str(folder) for folder in collected.set_aside],
        "damaged": list(collected.damaged),
        "problems": list(collected.problems),
        "mixed": list(collected.mixed),
    }
