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
        outcomes: the sentence when it is SUPPORTED, and when it is REFUTED.
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
            refuted_by="no rise from depth 8, or no fall to the deepest, at every depth between",
            outcomes=(
                "Plain networks gain and then lose accuracy as they get deeper.",
                "Plain networks do not both gain and lose accuracy over these depths.",
            ),
            effect=lambda evidence: find_witness("C1", evidence),
        ),
        Claim(
            id="C2",
            title="It is degradation, not overfitting",
            says="The deeper network is worse, although it could copy the shallower one.",
            refuted_by="a fall in test accuracy of which less than half is there in training",
            outcomes=(
                "Plain networks lose more than half as much in training, so it is not overfitting.",
                "Plain networks lose in test, and less than half as much in training.",
            ),
            effect=lambda evidence: find_witness("C2", evidence),
            beyond="The notes do not mention training error; the paper's argument is about it (Fig. 1).",
        ),
        Claim(
            id="C3",
            title="With shortcuts the accuracy falls by no more than f",
            says="With shortcut connections accuracy does not fall as the network gets deeper.",
            refuted_by="a fall of more than f from a shallower depth, or a deepest network that is dead",
            outcomes=(
                "Residual networks lose no more accuracy than the margin allows.",
                "Residual networks lose more accuracy than the margin allows.",
            ),
            effect=compare_residual,
            beyond="The paper's own residual network of 1,202 layers is worse than that of 110 (Table 6).",
        ),
        Claim(
            id="C4",
            title="The shortcut takes away most of the fall",
            says="The shortcut is what keeps the accuracy from falling.",
            refuted_by="residual networks that fall by more than half as much as plain ones",
            outcomes=(
                "With shortcuts less than half of the fall is left.",
                "With shortcuts more than half of the fall is left.",
            ),
            effect=lambda evidence: find_witness("C4", evidence),
        ),
        Claim(
            id="C5",
            title="A deep network could copy a shallow one",
            says="The layers behind a shallow network that is good enough could do nothing, the identity.",
            refuted_by="a network trained from its own start that is as good, within the margin",
            outcomes=(
                "The trained deep plain network does not reach the constructed one.",
                "The trained deep plain network is as good as the constructed one.",
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
            refuted_by="a last block whose features serve a linear probe as well as any block before it",
            outcomes=(
                "In deep plain networks a probe behind an earlier block does better than behind the last.",
                "In deep plain networks no earlier block does better than the last by more than the margin.",
            ),
            effect=compare_probes,
            beyond='The paper does not speak of "later layers", and calls it unlikely that identity mappings '
            "are optimal.",
        ),
        Claim(
            id="C7",
            title="The branch is driven towards zero",
            says="The training target becomes F(x) -> 0.",
            refuted_by="branches that are not halved against their input in training",
            outcomes=(
                "Branches are more than halved against their input in training.",
                "Branches are not halved against their input in training.",
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
            refuted_by="branches that shrink as much on the way with some other activation",
            outcomes=(
                "On the way, branches shrink more with ReLU than with another activation.",
                "On the way, branches shrink no more with ReLU than with some other activation.",
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
            refuted_by="networks of that unit that do not follow C1, C3 and C4",
            outcomes=(
                "Networks of StarGAN's unit follow C1, C3 and C4.",
                "Networks of StarGAN's unit do not follow C1, C3 and C4.",
            ),
            effect=repeat_in_stargan_units,
            beyond="The paper has no InstanceNorm and no generator.",
        ),
        Claim(
            id="C10",
            title="Starting as identities removes most of the fall, and it is the identity",
            says="The layers behind should do nothing, the identity; that they do not is why accuracy falls.",
            refuted_by="identity starts that leave more than half of the fall, or orthogonal ones as good",
            outcomes=(
                "Identity starts take away most of the fall, orthogonal ones less than half of that.",
                "Identity starts leave more than half of the fall, or orthogonal ones do as well.",
            ),
            effect=lambda evidence: find_witness("C10", evidence),
            beyond="The paper does not try it; it calls it unlikely that identity mappings are optimal.",
        ),
    )
}
