"""What the report has of the arms of a sweep: a table, a figure, and the rates chosen per depth."""

from __future__ import annotations

from dataclasses import dataclass

from resdeg.analysis.frame import SweepFrame
from resdeg.analysis.interventions import ChosenFall, Intervention, chosen_falls, chosen_rates, interventions
from resdeg.analysis.units import POINTS
from resdeg.report import words
from resdeg.report.arms import arms_on_a_page
from resdeg.report.inline import Shown, inline_svg
from resdeg.report.style import THEMES
from resdeg.report.tables import Table
from resdeg.report.units import changed, percent

SAID = (
    "Means of finished runs. A fall is from the best depth to the deepest, in points; that in training is "
    "of clean accuracy, from its own best depth. The last column is test accuracy minus the grid's, in "
    "points, at the deepest depth of both, paired by seed, with its 95 % interval. It is not corrected for "
    "how many arms there are; claims are decided by their own rules, above."
)
CHOSEN = (
    "The learning rate that each depth would choose: among those that were tried, the one of the highest "
    "mean accuracy on the images held out of training. Test accuracy chose nothing."
)


@dataclass(frozen=True)
class Told:
    """The section: a paragraph, the arms as a table and a figure; where images were held out, rates and the
    fall that is left with them.
    """

    said: str
    table: Table
    figure: Shown
    chosen: str
    rates: Table | None
    falls: list[str]


def told(sweep: SweepFrame) -> Told | None:
    """None where no arm has a record."""
    if not sweep.arms:
        return None
    head = [
        "networks",
        "family",
        "depths",
        "best",
        "deepest",
        "fall in test",
        "in training",
        "minus the grid",
    ]
    return Told(
        SAID,
        (head, [_row(sweep, one) for one in interventions(sweep)]),
        _figure(sweep),
        CHOSEN,
        _rates(sweep),
        [_fall(one) for one in chosen_falls(chosen_rates(sweep))],
    )


def _row(sweep: SweepFrame, one: Intervention) -> list[str]:
    depths = ", ".join(map(str, one.depths))
    lost = f" (diverged: {', '.join(map(str, one.diverged))})" if one.diverged else ""
    return [
        _named(sweep, one.arm) if one.arm else "the grid",
        one.family,
        depths + lost,
        f"{percent(one.best_accuracy)} at {one.best}".replace(" ", "\N{NO-BREAK SPACE}"),
        percent(one.deepest_accuracy) + ("" if one.trained else ", untrainable"),
        *(
            "-" if fall is None else POINTS.spell(fall, signed=False)
            for fall in (one.fall, one.training_fall)
        ),
        _against(one),
    ]


def _named(sweep: SweepFrame, arm: str) -> str:
    return f"{arm}: {changed(sweep.config.changes(arm)) or 'nothing is changed'}"


def _against(one: Intervention) -> str:
    of = one.difference
    if of is None:
        return "-"
    parts = [POINTS.spell(of.mean), f"at {one.common}"]
    if of.low is not None and of.high is not None:
        parts.insert(1, f"({POINTS.spell(of.low)} to {POINTS.spell(of.high)})")
    return " ".join(part.replace(" ", "\N{NO-BREAK SPACE}") for part in parts)


def _figure(sweep: SweepFrame) -> Shown:
    text = " ".join(
        f"{_named(sweep, name)}. {words.told(arm, ('test_accuracy',), arm.config.families)}"
        for name, arm in sweep.arms.items()
    )
    title = "Test accuracy against depth with each intervention"
    drawn = inline_svg(arms_on_a_page(sweep, THEMES["light"]), "arms", title, text)
    return Shown(drawn, text, "Test accuracy against depth, an intervention each; faint: without it.")


def _fall(one: ChosenFall) -> str:
    recipe = "" if one.recipe is None else f"; at the recipe's, {POINTS.spell(one.recipe, signed=False)}"
    return (
        f"From depth {one.best}, the best of {one.family} networks by validation, to depth {one.deepest} "
        f"test accuracy falls by {POINTS.spell(one.chosen, signed=False)} points at the chosen rates{recipe}."
    )


def _rates(sweep: SweepFrame) -> Table | None:
    rows = [
        [
            f"{one.family}-{one.depth}",
            ", ".join(f"{rate:g}" for rate in one.tried),
            f"{one.chosen:g}",
            words.cell(one.validation),
            words.cell(one.recipe),
            words.cell(one.test),
        ]
        for one in chosen_rates(sweep)
    ]
    own = f"test accuracy, recipe's rate {sweep.config.training.lr:g}"
    head = ["network", "rates", "chosen", "validation accuracy", own, "test accuracy, chosen rate"]
    return (head, rows) if rows else None
