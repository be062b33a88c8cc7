"""Several sweeps in one figure, in words: what they have in common, and in what they differ."""

from __future__ import annotations

from collections.abc import Sequence

from resdeg.analysis.frame import SweepFrame
from resdeg.report.text import EVALUATIONS, describe_runs, list_schedule, name_data


def label_differences(sweeps: Sequence[SweepFrame]) -> list[str]:
    """Returns the name of each sweep, and in what its data, schedule and evaluation differ from others."""
    about = [
        [name_data(sweep.config), *list_schedule(sweep.config), f"by {EVALUATIONS[sweep.evaluation]}"]
        for sweep in sweeps
    ]
    labels = []
    for sweep, own in zip(sweeps, about, strict=True):
        differing = [part for part, *others in zip(own, *about, strict=True) if len(set(others)) > 1]
        if sweep.config.adopted is not None and not sweep.config.adopted.schedule_known:
            schedule = list_schedule(sweep.config)
            differing = [*(part for part in differing if part not in schedule), "schedule not known"]
        what = ", ".join(differing)
        labels.append(sweep.name if what in ("", sweep.name) else f"{sweep.name}: {what}")
    return labels


def list_common_lines(sweeps: Sequence[SweepFrame]) -> list[str]:
    """Returns what is the same for all sweeps: the lines of `describe_runs`, and parts of the schedule."""
    lines = [describe_runs(sweep).split("\n") for sweep in sweeps]
    common = [line for line in lines[0] if all(line in other for other in lines)]
    if lines[0][0] in common:
        return common
    adopted = (sweep.config.adopted for sweep in sweeps)
    if any(source is not None and not source.schedule_known for source in adopted):
        return common
    schedules = [list_schedule(sweep.config) for sweep in sweeps]
    parts = [part for part, *others in zip(*schedules, strict=True) if set(others) <= {part}]
    return [", ".join(parts), *common] if parts else common
