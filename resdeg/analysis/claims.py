"""The claims of the notes, as things that can come out false: effect, margin and rule of each.

All of it was fixed before a sweep was judged by it; `docs/method.md` says the same in words, and the
report prints the rules from here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from resdeg.analysis.causes import branch_shrinks, cure, relu_helps, solver_gap
from resdeg.analysis.cells import Cells, Needs
from resdeg.analysis.effects import Effect, best_over, beyond, opposite, smallest, trend
from resdeg.analysis.units import HALVINGS, NATS, POINTS, POINTS_PER_DOUBLING, Unit

ALLOWED_FALL = {"full": 0.01, "short": 0.02}  # of residual accuracy, by the length of the schedule
AS_GOOD = 0.01  # nats of clean training loss


@dataclass(frozen=True)
class Claim:
    """One claim.

    Args:
        says: what the notes say; refuted_by: what would speak against it.
        effect: the scalar and its samples, or what the sweep lacks for it; accuracies as fractions.
        margin: what the effect must exceed, in the effect's unit.
        rule: effect and margin in words, for a reader; {margin} stands for the margin's size.
        outcomes: what is said of it when it is SUPPORTED, and when it is REFUTED.
        beyond: where the notes go further than the paper.
    """

    id: str
    title: str
    family: Literal["primary", "secondary"]
    says: str
    rule: str
    refuted_by: str
    outcomes: tuple[str, str]
    effect: Callable[[Cells], Effect | Needs]
    margin: Callable[[Cells], float] = lambda cells: 0.0
    unit: Unit = POINTS
    beyond: str = ""

    def rule_for(self, cells: Cells) -> str:
        """The rule with the margin that holds for this sweep."""
        return self.rule.format(margin=self.unit.spell(abs(self.margin(cells)), signed=False))


def _rise_and_fall(cells: Cells) -> Effect | Needs:
    table = cells.table("plain", "test_accuracy", least=3)
    if isinstance(table, Needs):
        return table
    return smallest(best_over(table, int(table.columns[0])), best_over(table, int(table.columns[-1])))


def _training_falls(cells: Cells) -> Effect | Needs:
    """Falls of training accuracy, which are rises of training error."""
    falls = []
    for metric in cells.training_metrics("plain"):
        table = cells.table("plain", metric, least=2)
        if isinstance(table, Needs):
            return table
        falls.append(best_over(table, int(table.columns[-1])))
    return smallest(*falls)


def _residual_holds(cells: Cells) -> Effect | Needs:
    table = cells.table("residual", "test_accuracy", least=2)
    if isinstance(table, Needs):
        return table
    return opposite(best_over(table, int(table.columns[-1])))


def _gap_grows(cells: Cells) -> Effect | Needs:
    gap = cells.gap("test_accuracy", least=2)
    return gap if isinstance(gap, Needs) else trend(gap)


def _of_stargan(cells: Cells) -> Effect | Needs:
    """C1, C3 and C4 together, of networks of the notes' unit."""
    if not cells.of_stargan:
        return Needs("a sweep of networks of that unit (configs/stargan.toml)")
    parts = []
    for name in ("C1", "C3", "C4"):
        effect = CLAIMS[name].effect(cells)
        if isinstance(effect, Needs):
            return effect
        parts.append(beyond(effect, CLAIMS[name].margin(cells)))
    return smallest(*parts)


CLAIMS: dict[str, Claim] = {
    claim.id: claim
    for claim in (
        Claim(
            id="C1",
            title="Accuracy rises and then falls with depth",
            family="primary",
            says="The accuracy of a plain network rises and then falls as it gets deeper.",
            rule="Effect: in plain networks, the smaller of two differences of mean test accuracy, best "
            "depth minus shallowest and best depth minus deepest. Margin: {margin} points.",
            refuted_by="no fall from any shallower depth to the deepest, or no rise from the shallowest",
            outcomes=(
                "Plain networks gain and then lose accuracy as they get deeper.",
                "Plain networks do not both gain and lose accuracy over these depths.",
            ),
            effect=_rise_and_fall,
        ),
        Claim(
            id="C2",
            title="It is degradation, not overfitting",
            family="primary",
            says="The deeper network is worse, although it could copy the shallower one.",
            rule="Effect: in plain networks, mean clean training error of the deepest minus the lowest of a "
            "shallower one; where batch-norm statistics were recomputed over the training images, the "
            "smaller of that difference with and without. Margin: {margin} points.",
            refuted_by="a training error that is lowest at the deepest network",
            outcomes=(
                "Plain networks lose in training as well, so it is not overfitting.",
                "The deepest plain network has the lowest training error: nothing is lost in training.",
            ),
            effect=_training_falls,
            beyond="The notes do not mention training error; the paper's argument is about it (Fig. 1).",
        ),
        Claim(
            id="C3",
            title="With shortcuts the accuracy does not fall",
            family="primary",
            says="With shortcut connections accuracy does not fall as the network gets deeper.",
            rule="Effect: in residual networks, mean test accuracy of the deepest minus the best of the "
            "shallower ones. Margin: minus {margin} points.",
            refuted_by="a fall of more than the margin",
            outcomes=(
                "Residual networks do not lose accuracy, within the margin.",
                "Residual networks lose more accuracy than the margin allows.",
            ),
            effect=_residual_holds,
            margin=lambda cells: -ALLOWED_FALL[cells.schedule],
            beyond="The paper's own residual network of 1,202 layers is worse than that of 110 (Table 6).",
        ),
        Claim(
            id="C4",
            title="It is the shortcut that does it",
            family="primary",
            says="The shortcut is what keeps the accuracy from falling.",
            rule="Effect: slope over log2(depth) of the difference residual minus plain in test accuracy, of "
            "networks that share their seed, in points per doubling of the depth; depth 2, which is one "
            "network in both families, is left out. Margin: {margin}.",
            refuted_by="a difference that shrinks with depth",
            outcomes=(
                "What the shortcut is worth grows with depth.",
                "What the shortcut is worth shrinks with depth.",
            ),
            effect=_gap_grows,
            unit=POINTS_PER_DOUBLING,
        ),
        Claim(
            id="C5",
            title="A deep network could copy a shallow one",
            family="secondary",
            says="The layers behind a shallow network that is good enough could do nothing, the identity.",
            rule="Effect: clean training loss of the deepest plain network that was also constructed (a "
            "trained shallow one, identity blocks put in, trained on), from its own start, minus the lowest "
            "of the constructed ones, after equal total steps; where batch-norm statistics were recomputed "
            "over the training images, the smaller of that difference with and without. Margin: {margin} "
            "nats.",
            refuted_by="a network trained from its own start that is as good, within the margin",
            outcomes=(
                "The trained deep plain network does not reach the constructed one.",
                "The trained deep plain network is as good as the constructed one.",
            ),
            effect=solver_gap,
            margin=lambda cells: AS_GOOD,
            unit=NATS,
            beyond="He et al. say that solvers *might* have difficulty with identities, and conjecture an "
            "exponentially low convergence rate.",
        ),
        Claim(
            id="C6",
            title="Later layers that are no identity do the damage",
            family="secondary",
            says="The layers behind, being no identity, spoil what the network had.",
            rule="Effect: slope over log2(depth) of the test accuracy of plain networks whose blocks start "
            "as identities (a · Dirac + (1-a) · He, the largest a of the arms) minus that with He's start, "
            "paired by seed, in points per doubling of the depth. Margin: {margin}.",
            refuted_by="a start as identities that helps no more the deeper the network",
            outcomes=(
                "Blocks that start as identities are worth more the deeper the plain network.",
                "Blocks that start as identities are worth less the deeper the plain network.",
            ),
            effect=cure,
            unit=POINTS_PER_DOUBLING,
            beyond='The paper does not speak of "later layers", and calls it unlikely that identity mappings '
            "are optimal.",
        ),
        Claim(
            id="C7",
            title="The branch is trained towards zero",
            family="secondary",
            says="The training target becomes F(x) -> 0.",
            rule="Effect: in residual networks, the lesser of two decreases of log2 of the median "
            "||F(x)|| / ||x|| over blocks: that per doubling of the depth, at the end, and that from initial "
            "values to the end, in the deepest. Margin: {margin} halvings.",
            refuted_by="branches that get no smaller in training, or no smaller with depth",
            outcomes=(
                "Branches get smaller against their input in training, and smaller the deeper the network.",
                "Branches do not both get smaller in training and with depth.",
            ),
            effect=branch_shrinks,
            unit=HALVINGS,
            beyond="The paper shows that responses are smaller in deeper networks (Fig. 7), not that F goes "
            "to zero; the residual stream grows with depth by itself.",
        ),
        Claim(
            id="C8",
            title="ReLU helps F to reach zero",
            family="secondary",
            says="ReLU sets negatives to 0, and so F(x) = 0 is reached faster.",
            rule="Effect: decrease of log2 of the median ||F(x)|| / ||x|| over the blocks of residual "
            "networks, from initial values to the end, with ReLU minus that with another activation, mean "
            "over depths, the least over the activations. Margin: {margin} halvings.",
            refuted_by="branches that shrink less in training with ReLU than with some other activation",
            outcomes=(
                "Branches shrink more in training with ReLU than with another activation.",
                "Branches shrink less in training with ReLU than with another activation.",
            ),
            effect=relu_helps,
            unit=HALVINGS,
            beyond="The paper makes no such claim. A branch without an activation also loses capacity.",
        ),
        Claim(
            id="C9",
            title="StarGAN's unit is such a unit",
            family="secondary",
            says="StarGAN's residual unit (convolution, InstanceNorm, ReLU, convolution, InstanceNorm; six "
            "of them) is a residual block in this sense.",
            rule="Effect: the least of those of C1, C3 and C4 in networks of that unit, each less its "
            "margin, by each image's own statistics, as they were trained. Margin: {margin} points.",
            refuted_by="networks of that unit that do not follow them",
            outcomes=(
                "Networks of StarGAN's unit follow C1, C3 and C4.",
                "Networks of StarGAN's unit do not follow C1, C3 and C4.",
            ),
            effect=_of_stargan,
            beyond="The paper has no InstanceNorm and no generator.",
        ),
    )
}
