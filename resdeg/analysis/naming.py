"""Names of sweeps that are shown together: those that the user gives, or folder names that differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from resdeg.analysis.frame import SweepFrame


def name_apart(sweeps: Sequence[SweepFrame], labels: Sequence[str] = ()) -> list[SweepFrame]:
    """Returns the sweeps with names that differ, as far as their folders do.

    Args:
        labels: a name for each; without them folders of one name get the nearest parent that differs.
    """
    if labels:
        return [_rename(sweep, label) for sweep, label in zip(sweeps, labels, strict=True)]
    named = []
    for sweep in sweeps:
        parts = sweep.folder.resolve().parts
        others = (other.folder.resolve().parts for other in sweeps if other.name == sweep.name)
        alike = [other for other in others if other != parts]
        count = 1
        while any(other[-count:] == parts[-count:] for other in alike):
            count += 1
        shown = parts[-count:] if count < 3 else (parts[-count], "...", parts[-1])
        named.append(_rename(sweep, "/".join((*shown[:-1], sweep.name))) if alike else sweep)
    return named


def _rename(sweep: SweepFrame, label: str) -> SweepFrame:
    arms = {name: replace(arm, label=label) for name, arm in sweep.arms.items()}
    return replace(sweep, label=label, arms=arms)
