"""Recipes: named training settings, the same for every depth and family."""

from __future__ import annotations

from collections.abc import Mapping

from resdeg.errors import UsageError, did_you_mean

# He et al. 2015, Sec. 4.2. The defaults of config.TrainingConfig fix what the paper leaves open.
_PAPER = {"steps": 64_000, "schedule": "steps"}

RECIPES: Mapping[str, Mapping[str, object]] = {
    "short": {"epochs": 10, "schedule": "triangle"},
    "he2015": _PAPER,
    # The paper warms its 110-layer net up until training error is below 80 %, "about 400
    # iterations"; no rule may hold for one depth, so here every net gets the 400 steps.
    "he2015-warmup": {**_PAPER, "warmup_steps": 400, "warmup_lr": 0.01},
    # The generated images of `hierarchy` are neither cropped nor flipped: their rules would not survive it.
    "demo": {"epochs": 5, "batch_size": 64, "schedule": "triangle", "pad": 0, "flip": False},
}


def recipe(name: str) -> dict[str, object]:
    """Returns the training settings of a recipe, including its name.

    Raises:
        UsageError: no recipe has this name.
    """
    if name not in RECIPES:
        raise UsageError(f"recipe '{name}' is not known", did_you_mean(name, RECIPES))
    return {"recipe": name, **RECIPES[name]}
