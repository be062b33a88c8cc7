"""Networks that did not train at all, told apart from those that are degraded."""

from __future__ import annotations

from resdeg import data
from resdeg.analysis.frame import SweepFrame

# Of the way from chance to perfect. Plain-110 of He et al. 2015 (Sec. 4.2, "training error > 60 %", 78 % in
# Fig. 6) is below it: 0.22 of a chance of 0.10; a plain net at 0.30 in training has learned, badly.
NEAR_CHANCE = 0.15


def untrainable(sweep: SweepFrame) -> list[tuple[str, int]]:
    """(family, depth) whose nets are near chance on their own training images, by family and depth.

    Near is a mean clean training accuracy, over the finished seeds and by the evaluation that `sweep`
    shows, below chance + NEAR_CHANCE * (1 - chance), chance = 1 / classes. A cell whose every seed
    diverged is untrainable too; one without a finished run is otherwise not judged.
    """
    chance = 1 / data.shape(sweep.config.data).classes
    limit = chance + NEAR_CHANCE * (1 - chance)
    found = []
    for family, depth in sorted(set(zip(sweep.runs["family"], sweep.runs["depth"], strict=True))):
        runs = sweep.runs[(sweep.runs["family"] == family) & (sweep.runs["depth"] == depth)]
        trained = runs.loc[runs["status"] == "finished", "train_accuracy"].astype(float).mean()
        if trained < limit or (runs["status"] == "diverged").all():  # without a run the mean is NaN
            found.append((str(family), int(depth)))
    return found
