"""The claims of the notes, each of which can come out false; the rule of each stands in rules.toml.

Titles and sentences are for readers and are not registered. `docs/method.md` says the rules in words, and
the report prints them from the registered file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from resdeg.analysis.contrasts import compare_residual, find_witness
from resdeg.analysis.effects import Both, Joint, Judgeable, Part, Witness
from resdeg.analysis.evidence import Evidence
from resdeg.analysis.lacks import NotPlanned, advise, advise_settings
from resdeg.analysis.mechanisms import (
    compare_activations,
    compare_constructed,
    compare_probes,
    list_measured_networks,
    measure_branches,
)
from resdeg.analysis.stats import HALVINGS, NATS, POINTS, Unit


@dataclass(frozen=True)
class Claim:
    """One claim.

    Args:
        says: what the notes say; refuted_by: what would speak against it.
        outcomes: the sentence when it is SUPPORTED, and when it is REFUTED. Each is true wherever that
            verdict comes out, so the second one names the whole conjunction. {0} stands for the margin of the
            first printed part, in the unit of the claim and without its sign, {1} for that of the second.
        collapse: the sentence when deaths refute it and no test does.
        effect: what is judged; it raises NotAsked where the sweep lacks what the claim needs.
        beyond: where the notes go further than the paper.
    """

    id: str
    title: str
    says: str
    refuted_by: str
    outcomes: tuple[str, str]
    effect: Callable[[Evidence], Judgeable]
    unit: Unit = POINTS
    beyond: str = ""
    collapse: str = ""


def repeat_in_stargan_units(evidence: Evidence) -> Both:
    """Returns the effect of C9: C1, C3 and C4 in networks of the notes' unit, six units among them.

    Raises:
        NotAsked: it is another sweep, or one of them cannot be asked.
    """
    rule = evidence.rules.claims["C9"]
    if not evidence.is_stargan or rule.numbers["units_depth"] not in evidence.depths:
        depth = rule.numbers["units_depth"]
        lack = "this sweep has another block" + advise_settings(
            evidence.config,
            "model.block=stargan",
            "model.layout=isotropic",
            anew=True,
            trains="such networks",
        )
        if evidence.is_stargan:
            depths = ",".join(map(str, sorted({*evidence.config.depths, depth})))
            command = f"The same command with --depths {depths} trains them"
            lack = f"this sweep does not plan depth {depth}" + advise(evidence.config, command)
        raise NotPlanned(f"{rule.asks}; {lack}")

    def named(claim: str) -> Judgeable:
        effect = CLAIMS[claim].effect(evidence)
        if isinstance(effect, Witness):
            joints = {
                depth: Joint(_with_prefix(claim, joint.shown)) for depth, joint in effect.candidates.items()
            }
            return replace(effect, candidates=joints, guard=effect.guard and f"{claim} {effect.guard}")
        assert isinstance(effect, Joint)
        return replace(effect, shown=_with_prefix(claim, effect.shown))

    return Both(tuple(named(claim) for claim in rule.numbers["claims"]))


def _with_prefix(claim: str, parts: tuple[Part, ...]) -> tuple[Part, ...]:
    return tuple(replace(part, name=f"{claim} {part.name}") for part in parts)


def list_networks(claim: str, evidence: Evidence) -> set[tuple[str, int]]:
    """Returns the networks whose deaths are named in the verdict of a claim, each with its depth."""
    rule = evidence.rules.claims[claim]
    if "claims" in rule.numbers:
        return set.union(*(list_networks(other, evidence) for other in rule.numbers["claims"]))
    if rule.parts:
        networks = {term.network for part in rule.parts for term in part.terms}
        return {(network, depth) for network in networks for depth in evidence.depths}
    return {
        (evidence.name_network(network.arm, network.family), network.depth)
        for network in list_measured_networks(claim, evidence)
    }


CLAIMS: dict[str, Claim] = {
    claim.id: claim
    for claim in (
        Claim(
            id="C1",
            title="Accuracy rises and then falls with depth",
            says="The accuracy of a plain network rises and then falls as it gets deeper.",
            refuted_by="at every depth between, a rise from depth 8 or a fall to the deepest that is below "
            "its margin",
            outcomes=(
                "Plain networks gain and then lose accuracy as they get deeper.",
                "Plain networks do not both gain more than {0} and then lose more than {1} points as they "
                "get deeper.",
            ),
            effect=lambda evidence: find_witness("C1", evidence),
        ),
        Claim(
            id="C2",
            title="It is degradation, not overfitting",
            says="The deeper network is worse, although it could copy the shallower one.",
            refuted_by="a fall in test accuracy of which less than half is there in training, by running "
            "statistics, recomputed ones or both",
            outcomes=(
                "More than half of the fall of plain networks is there in training, so most of it is not "
                "overfitting.",
                "Plain networks fall in test, and less than half of that is there in training, by running "
                "statistics, recomputed ones or both.",
            ),
            effect=lambda evidence: find_witness("C2", evidence),
            beyond="The notes do not mention training error; the paper's argument is about it (Fig. 1).",
        ),
        Claim(
            id="C3",
            title="With shortcuts the accuracy falls by no more than f",
            says="With shortcut connections accuracy does not fall as the network gets deeper.",
            refuted_by="a fall of more than f from a shallower depth, or a deepest network that is dead in "
            "at least half of the seeds",
            outcomes=(
                "The deepest residual network is at most {0} points worse than any shallower one.",
                "The deepest residual network is more than {0} points worse than some shallower one.",
            ),
            effect=compare_residual,
            beyond="The paper's own residual network of 1,202 layers is worse than that of 110 (Table 6).",
            collapse="In at least half of the seeds the deepest residual network did not train, which "
            "refutes it.",
        ),
        Claim(
            id="C4",
            title="The shortcut takes away most of the fall",
            says="The shortcut is what keeps the accuracy from falling.",
            refuted_by="residual networks that keep more than half of the fall, or whose deepest regains "
            "less than half of it",
            outcomes=(
                "With shortcuts less than half of the fall is left.",
                "Shortcuts do not both leave less than half of the fall and regain more than half of it in "
                "the deepest network.",
            ),
            effect=lambda evidence: find_witness("C4", evidence),
        ),
        Claim(
            id="C5",
            title="A deep network could copy a shallow one",
            says="The layers behind a shallow network that is good enough could do nothing, the identity.",
            refuted_by="a network trained from its own start that is as good as every constructed one, "
            "within the margin",
            outcomes=(
                "A constructed deep plain network reaches a lower training loss than the one from its own "
                "start.",
                "From its own start the deep plain network is less than {0} nats worse in training than "
                "every constructed one, by running statistics, recomputed ones or both.",
            ),
            effect=compare_constructed,
            unit=NATS,
            beyond="He et al. say that solvers *might* have difficulty with identities, and conjecture an "
            "exponentially low convergence rate.",
        ),
        Claim(
            id="C6",
            title="Later layers spoil what earlier ones had",
            says="The layers behind, being no identity, spoil what the network had.",
            refuted_by="a last block whose features serve a linear probe as well as those of any block "
            "before it in its stage, within the margin",
            outcomes=(
                "In deep plain networks a probe behind an earlier block does better than behind the last.",
                "In deep plain networks a probe behind the last block is less than {0} points worse than "
                "behind every earlier one of its stage.",
            ),
            effect=compare_probes,
            beyond='The paper does not speak of "later layers", and calls it unlikely that identity mappings '
            "are optimal.",
        ),
        Claim(
            id="C7",
            title="The branch is driven towards zero",
            says="The training target becomes F(x) -> 0.",
            refuted_by="a median branch that is not halved against its input in training",
            outcomes=(
                "In deep residual networks the median branch shrinks by more than {0} halvings against its "
                "input in training.",
                "In deep residual networks the median branch does not shrink by {0} halvings against its "
                "input in training.",
            ),
            effect=measure_branches,
            unit=HALVINGS,
            beyond="The paper shows that responses are smaller in deeper networks (Fig. 7), not that F goes "
            "to zero; the residual stream grows with depth by itself.",
        ),
        Claim(
            id="C8",
            title="ReLU makes F reach zero faster",
            says="ReLU sets negatives to 0, and so F(x) = 0 is reached faster.",
            refuted_by="branches that shrink as much on the way with some other activation, within the "
            "margin",
            outcomes=(
                "On the way, branches shrink by over {0} halvings more with ReLU than with every other "
                "activation tried.",
                "On the way, branches shrink by less than {0} halvings more with ReLU than with some other "
                "activation.",
            ),
            effect=compare_activations,
            unit=HALVINGS,
            beyond="The paper makes no such claim. A branch without an activation also loses capacity.",
        ),
        Claim(
            id="C9",
            title="StarGAN's unit is such a unit",
            says="StarGAN's residual unit (convolution, InstanceNorm, ReLU, convolution, InstanceNorm; six "
            "of them) is a residual block in this sense.",
            refuted_by="networks of that unit in which one of C1, C3 and C4 is refuted",
            outcomes=(
                "Networks of StarGAN's unit follow C1, C3 and C4.",
                "Networks of StarGAN's unit do not follow all of C1, C3 and C4.",
            ),
            effect=repeat_in_stargan_units,
            beyond="The paper has no InstanceNorm and no generator.",
        ),
        Claim(
            id="C10",
            title="Starting as identities removes most of the fall, and it is the identity",
            says="The layers behind should do nothing, the identity; that they do not is why accuracy falls.",
            refuted_by="identity starts that leave more than half of the fall, or regain less than half of "
            "it in the deepest network, or orthogonal ones that take away more than half as much",
            outcomes=(
                "Identity starts take away most of the fall, orthogonal ones less than half of that.",
                "Identity starts do not do all of this: leave less than half of the fall, regain more than "
                "half of it in the deepest network, and take away more than twice as much as orthogonal "
                "ones.",
            ),
            effect=lambda evidence: find_witness("C10", evidence),
            beyond="The paper does not try it; it calls it unlikely that identity mappings are optimal.",
        ),
    )
}
