"""Networks that did not train at all, told apart from those that are degraded."""

from __future__ import annotations

from resdeg import data
from resdeg.analysis.frame import SweepFrame
from resdeg.config import FAMILIES, Family

# Of the way from chance to perfect. Plain-110 of He et al. 2015 (Sec. 4.2, "training error > 60 %", 78 % in
# Fig. 6) is below it: 0.22 of a chance of 0.10; a plain net at 0.30 in training has learned, badly.
NEAR_CHANCE = 0.15


def untrainable(sweep: SweepFrame) -> list[tuple[Family, int]]:
    """(family, depth) whose nets are near chance on their own training images, by family and depth.

    Near is a mean clean training accuracy, over the finished seeds and by the evaluation that `sweep`
    shows, below chance + NEAR_CHANCE * (1 - chance), chance = 1 / classes. A cell whose every seed
    diverged is untrainable too; one without a finished run is otherwise not judged. A net that is
    shallower than all that trained is too small for the task, not untrainable.
    """
    chance = 1 / data.shape(sweep.config.data).classes
    limit = chance + NEAR_CHANCE * (1 - chance)
    found: list[tuple[Family, int]] = []
    for family in FAMILIES:
        near: list[int] = []
        trained: list[int] = []
        for depth in sorted(set(sweep.runs.loc[sweep.runs["family"] == family, "depth"])):
            runs = sweep.runs[(sweep.runs["family"] == family) & (sweep.runs["depth"] == depth)]
            accuracy = runs.loc[runs["status"] == "finished", "train_accuracy"].astype(float).mean()
            dead = accuracy < limit or (runs["status"] == "diverged").all()  # without a run it is NaN
            (near if dead else trained).append(int(depth))
        found += [(family, depth) for depth in near if not trained or depth > trained[0]]
    return found
