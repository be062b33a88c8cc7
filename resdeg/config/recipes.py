"""Recipes: named settings that hold for every depth and family alike."""

from __future__ import annotations

from collections.abc import Mapping

from resdeg.errors import UsageError, did_you_mean

# He et al. 2015, Sec. 4.2; what the paper leaves open is pinned in config.TrainingConfig.
_PAPER = {"steps": 64_000, "schedule": "steps"}

RECIPES: Mapping[str, Mapping[str, object]] = {
    "short": {"epochs": 10, "schedule": "triangle"},
    "he2015": _PAPER,
    # The paper warms its 110-layer net up until training error is below 80 %, "about 400
    # iterations"; no rule may hold for one depth, so here every net gets the 400 steps.
    "he2015-warmup": {**_PAPER, "warmup_steps": 400, "warmup_lr": 0.01},
    # For the generated images of `hierarchy`: no crops or flips, which its rules do not survive.
    "demo": {"epochs": 5, "batch_size": 64, "schedule": "triangle", "pad": 0, "flip": False},
}


def recipe(name: str) -> dict[str, object]:
    """The training settings of a recipe, its own name among them.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in RECIPES:
        raise UsageError(f"recipe '{name}' is not known", did_you_mean(name, RECIPES))
    return {"recipe": name, **RECIPES[name]}
