"""What counts as evidence: planned runs, measures of all seeds, and no state that follows from an outcome."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import tomli_w

from resdeg.analysis.evidence import OWN, Evidence
from resdeg.analysis.frame import load_sweep
from resdeg.analysis.judge import Finding, Verdict, judge_claims, locate_peaks
from resdeg.analysis.rules import registered_rules
from resdeg.config import RunConfig, SweepConfig, read_toml, validate
from resdeg.store import SweepStore
from tests.planted import ARMS, causes, planted

WOBBLE = (0, 0.004, -0.004, 0.002, -0.002, 0.003, -0.003, 0, 0, 0, 0, 0)
DEEP = ("plain", 20)  # the deepest networks of `causes`
DEEP_RESIDUAL = ("residual", 20)


def register(seeds: int) -> dict[str, object]:
    rules = registered_rules()
    return {"version": rules.version, "date": rules.date, "sha256": rules.sha256, "seeds": seeds}


def cells(family: str, means: dict[int, float], seeds: int = 7) -> dict[tuple[str, int], list[float]]:
    return {
        (family, depth): [mean + WOBBLE[(seed + 3 * turn) % 7] for seed in range(seeds)]
        for turn, (depth, mean) in enumerate(means.items())
    }


def judged(store: SweepStore) -> dict[str, Finding]:
    return {finding.claim.id: finding for finding in judge_claims(Evidence(load_sweep(store.folder)))}


def plan_only(store: SweepStore, **grid: object) -> None:
    """Cuts the plan of a sweep down; the records stay."""
    config = validate(SweepConfig, {"s": read_toml(store.plan)})
    store.plan.write_text(config.model_copy(update=grid).to_toml())


def edit_summaries(store: SweepStore, chosen: Callable[[RunConfig], bool], **update: object) -> None:
    for run_id in store.run_ids():
        run = store.run(run_id)
        if chosen(run.config()):
            summary = run.summary().model_copy(update=update)
            (run.folder / "summary.json").write_text(summary.to_json())


def edit_measures(store: SweepStore, chosen: Callable[[RunConfig], bool], **images: int) -> None:
    """Removes what was measured of some runs, or gives its states, by name, other numbers of images."""
    for run_id in store.run_ids():
        path = store.run(run_id).folder / "diagnostics.jsonl"
        if path.exists() and chosen(store.run(run_id).config()):
            records = [json.loads(line) for line in path.read_text().splitlines()]
            for record in records:
                record["images"] = images.get(record["state"], record["images"])
            path.write_text("".join(json.dumps(record) + "\n" for record in records if images))


def of_grid(network: tuple[str, int], *seeds: int) -> Callable[[RunConfig], bool]:
    return lambda run: (
        (run.family, run.depth) == network
        and run.seed in seeds
        and (run.model.init, run.model.inner_activation, run.constructed) == ("he", None, None)
    )


def of_arm(store: SweepStore, name: str, *seeds: int) -> Callable[[RunConfig], bool]:
    config = validate(SweepConfig, {"s": read_toml(store.plan)})
    runs = {run.run_id for run in config.arm_sweeps[name].grid() if run.seed in seeds}
    return lambda run: run.run_id in runs


def unfinish(store: SweepStore, chosen: Callable[[RunConfig], bool]) -> None:
    for run_id in store.run_ids():
        if chosen(store.run(run_id).config()):
            (store.run(run_id).folder / "summary.json").unlink()


# ---------------------------------------------------------------- planned runs only


@pytest.mark.parametrize("registration", [None, register(7)])
def test_seeds_outside_the_plan_decide_nothing(registration: object, tmp_path: Path) -> None:
    """Five more seeds, in which residual-56 does better, lie in the folder of a sweep of seven."""
    residual = cells("residual", {8: 0.78, 20: 0.85, 56: 0.825}, seeds=12)
    residual["residual", 56] = [
        value + 0.06 * (seed > 6) for seed, value in enumerate(residual["residual", 56])
    ]
    store = planted(tmp_path / "s", cells("plain", {8: 0.78, 20: 0.83, 56: 0.6}, seeds=12) | residual)
    assert judged(store)["C3"].verdict is Verdict.SUPPORTED
    plan_only(store, seeds=tuple(range(7)))
    if registration is not None:
        text = store.plan.read_text()
        table = "".join(f"{name} = {json.dumps(value)}\n" for name, value in register(7).items())
        store.plan.write_text(f"{text}\n[registration]\n{table}")
    said = judged(store)
    assert (said["C3"].verdict, said["C3"].seeds, said["C1"].seeds) == (Verdict.UNDECIDED, 7, 7)


def test_a_depth_outside_the_plan_moves_no_peak(tmp_path: Path) -> None:
    """One seed of depth 32, in the folder, would leave one seed that has every depth."""
    means = {8: 0.78, 14: 0.82, 20: 0.83, 32: 0.75, 56: 0.56}
    store = planted(tmp_path / "s", cells("plain", means))
    unfinish(store, of_grid(("plain", 32), *range(1, 7)))
    assert locate_peaks(Evidence(load_sweep(store.folder)))["plain"].seeds == 1
    plan_only(store, depths=(8, 14, 20, 56))
    peak = locate_peaks(Evidence(load_sweep(store.folder)))["plain"]
    assert (peak.low, peak.high, peak.seeds) == (14, 56, 7)


def test_a_planned_curve_at_chance_is_not_learnt_by_another_depth(tmp_path: Path) -> None:
    store = planted(tmp_path / "s", cells("plain", {8: 0.11, 20: 0.1, 32: 0.8}))
    assert Evidence(load_sweep(store.folder)).unlearned == frozenset()
    plan_only(store, depths=(8, 20))
    assert Evidence(load_sweep(store.folder)).unlearned == {"plain"}


def test_measures_and_arms_outside_the_plan_do_not_count(tmp_path: Path) -> None:
    store = causes(tmp_path / "s", Verdict.SUPPORTED)
    assert {judged(store)[name].seeds for name in ("C5", "C6", "C7", "C8", "C10")} == {5}
    plan_only(store, seeds=(0, 1, 2, 3))
    assert {judged(store)[name].seeds for name in ("C5", "C6", "C7", "C8", "C10")} == {4}
    evidence = Evidence(load_sweep(store.folder))
    losses = evidence.losses("train_loss")
    assert [{*losses[name]} for name in (OWN, "constructed")] == [{0, 1, 2, 3}] * 2
    assert {*evidence.branches("linear", 20)} == {*evidence.probes()[0]} == {0, 1, 2, 3}
    for arm in ("identity", "linear"):
        assert {*evidence.arms[arm].runs["seed"]} == {0, 1, 2, 3}


# ---------------------------------------------------------------- which seeds are measured


CLAIMS_ABOUT_MEASURES = {
    "C6": (DEEP, "plain-20 are measured on all 10,000 test images. `resdeg diagnose --kinds probes "),
    "C7": (DEEP_RESIDUAL, "residual-20 are measured before the first step and after the last. `resdeg "),
    "C8": (DEEP_RESIDUAL, "residual-20 are measured at 3 snapshots on the way and at both ends. "),
}


@pytest.mark.parametrize("claim", CLAIMS_ABOUT_MEASURES)
def test_a_registered_sweep_is_asked_when_all_of_it_is_measured(claim: str, tmp_path: Path) -> None:
    """Otherwise one could stop to measure when the verdict pleases."""
    network, words = CLAIMS_ABOUT_MEASURES[claim]
    for name, registration in (("free", None), ("registered", register(5))):
        tables = {} if registration is None else {"registration": registration}
        store = causes(tmp_path / name, Verdict.SUPPORTED, execution={"snapshots": 3}, **tables)
        assert judged(store)[claim].verdict is Verdict.SUPPORTED
        edit_measures(store, of_grid(network, 3, 4))
        said = judged(store)[claim]
        if registration is None:
            assert (said.verdict, said.seeds) == (Verdict.SUPPORTED, 3)
        else:
            assert said.verdict is Verdict.NOT_ASKED
            assert str(said.needs).startswith(f"interim, 3 of 5 seeds of {words}")
        edit_summaries(store, of_grid(network, 3, 4), train_accuracy=0.1)
        said = judged(store)[claim]
        assert (said.verdict, said.seeds) == (Verdict.SUPPORTED, 3), "no measure of a dead network is needed"


def test_all_seeds_of_an_arm_are_measured(tmp_path: Path) -> None:
    """C8 needs the grid's networks of the arm's seeds only, and all of the arm's."""
    arms = {**ARMS, "linear": {**ARMS["linear"], "seeds": [0, 1, 2, 3]}}
    store = causes(tmp_path / "s", Verdict.SUPPORTED, {"linear": arms["linear"]}, registration=register(5))
    edit_measures(store, of_grid(DEEP_RESIDUAL, 4))
    assert judged(store)["C8"].verdict is Verdict.SUPPORTED
    edit_measures(store, of_arm(store, "linear", 3))
    assert str(judged(store)["C8"].needs).startswith(
        "interim, 3 of 4 seeds of linear residual-20 are measured"
    )


def test_probes_of_one_seed_on_fewer_images_are_not_measured(tmp_path: Path) -> None:
    """They left the claim unasked for all seeds, and were once the reason without a number."""
    store = causes(tmp_path / "s", Verdict.SUPPORTED)
    edit_measures(store, of_grid(DEEP, 0), final=1_000)
    said = judged(store)["C6"]
    assert (said.verdict, said.seeds) == (Verdict.SUPPORTED, 4)
    edit_measures(store, of_grid(DEEP, 1, 2), final=1_000)
    assert judged(store)["C6"].needs == (
        "3 seeds that have ended and were measured on all 10,000 test images; there are 2"
    )
    assert [*Evidence(load_sweep(store.folder)).probes()[0]] == [3, 4]


@pytest.mark.parametrize("claim", ["C7", "C8"])
def test_states_on_different_images_are_not_compared(claim: str, tmp_path: Path) -> None:
    store = causes(tmp_path / "s", Verdict.SUPPORTED)
    edit_measures(store, of_grid(DEEP_RESIDUAL, 1), final=10_000)
    said = judged(store)[claim]
    assert (said.verdict, said.seeds) == (Verdict.SUPPORTED, 4)
    edit_measures(store, of_grid(DEEP_RESIDUAL, 2, 3), final=10_000)
    needs = judged(store)[claim].needs
    assert needs == (
        "3 seeds that have ended and were measured; there are 2; seeds 1, 2 and 3 of residual-20 do not "
        "count, because the states were measured on different numbers of images (`resdeg diagnose --images "
        "10000` makes them equal)"
    )


# ---------------------------------------------------------------- what an arm is, and when it counts


def test_an_arm_that_starts_near_identities_is_no_identity_start(tmp_path: Path) -> None:
    def states(dirac: float) -> Finding:
        plain = cells("plain", {8: 0.78, 20: 0.83, 56: 0.56})
        arms = {
            "nearly": {"families": "plain", "model": {"init": "dirac-mixed", "dirac": dirac}},
            "orthogonal": {"families": "plain", "model": {"init": "orthogonal"}},
        }
        of_arms = {
            "nearly": {"accuracy": cells("plain", {8: 0.78, 20: 0.83, 56: 0.81})},
            "orthogonal": {"accuracy": cells("plain", {8: 0.78, 20: 0.83, 56: 0.6})},
        }
        return judged(planted(tmp_path / str(dirac), plain, of_arms=of_arms, arms=arms))["C10"]

    assert states(1.0).verdict is Verdict.SUPPORTED
    assert states(0.9).verdict is Verdict.NOT_ASKED
    assert "this sweep has no arm of networks that start as identities." in str(states(0.8).needs)


@pytest.mark.parametrize(
    ("claim", "arm"), [("C5", "slower"), ("C8", "linear"), ("C10", "identity"), ("C10", "orthogonal")]
)
def test_an_arm_that_is_not_whole_is_named(claim: str, arm: str, tmp_path: Path) -> None:
    store = causes(tmp_path / "s", Verdict.SUPPORTED, registration=register(5))
    assert judged(store)[claim].verdict is Verdict.SUPPORTED
    unfinish(store, of_arm(store, arm, 4))
    assert judged(store)[claim].needs == f"interim, 4 of 5 seeds of the arm {arm}"


@pytest.mark.parametrize("name", ["identity", "under_another_name"])
def test_an_arm_that_is_cut_after_a_look_is_not_whole(name: str, tmp_path: Path) -> None:
    """Five seeds of it were registered; four have ended, and are planned, when somebody likes the outcome."""
    store = causes(tmp_path / "s", Verdict.SUPPORTED, registration=register(5))
    unfinish(store, of_arm(store, "identity", 4))
    config = read_toml(store.plan)
    arms, planned = config["arms"], validate(SweepConfig, {"s": config})
    arms[name] = {**arms.pop("identity"), "seeds": [0, 1, 2, 3]}
    store.plan.write_text(tomli_w.dumps(config))
    assert judged(store)["C10"].needs is None, "nothing was registered of it"
    runs = {
        arm: {"families": [*grid.families], "depths": [*grid.depths], "seeds": [*grid.seeds],
              "settings": grid.settings_id}
        for arm, grid in (("grid", planned), ("identity", planned.arm_sweeps["identity"]))
    }  # fmt: skip
    config["registration"] |= {"grid": runs.pop("grid"), "arms": runs}
    store.plan.write_text(tomli_w.dumps(config))
    assert judged(store)["C10"].needs == f"interim, 4 of 5 seeds of the arm {name}"


# ---------------------------------------------------------------- a state follows from no outcome


@pytest.mark.parametrize(
    ("claim", "network"), [("C5", DEEP), ("C6", DEEP), ("C7", DEEP_RESIDUAL), ("C8", DEEP_RESIDUAL)]
)
def test_networks_that_died_leave_a_claim_undecided(
    claim: str, network: tuple[str, int], tmp_path: Path
) -> None:
    for name, tables in (("free", {}), ("registered", {"registration": register(5)})):
        store = causes(tmp_path / name, Verdict.SUPPORTED, **tables)
        edit_summaries(store, of_grid(network, 0, 1, 2), train_accuracy=0.1)
        edit_measures(store, of_grid(network, 0, 1, 2))
        said = judged(store)[claim]
        assert said.verdict is Verdict.UNDECIDED
        assert said.dead == (f"{network[0]}-20 seeds 0, 1, 2",)
        edit_summaries(store, of_grid(network, 3, 4), train_accuracy=0.1)
        edit_measures(store, of_grid(network, 3, 4))
        assert judged(store)[claim].verdict is Verdict.UNDECIDED, "all of them"


def test_an_arm_that_died_leaves_its_claim_undecided(tmp_path: Path) -> None:
    store = causes(tmp_path / "s", Verdict.SUPPORTED)
    edit_summaries(store, of_arm(store, "linear", 0, 1, 2), train_accuracy=0.1)
    said = judged(store)["C8"]
    assert (said.verdict, said.dead) == (Verdict.UNDECIDED, ("linear residual-20 seeds 0, 1, 2",))


def test_living_networks_that_nobody_measured_are_asked_for(tmp_path: Path) -> None:
    """Deaths must not stand in for measures that could be made."""
    store = causes(tmp_path / "s", Verdict.SUPPORTED)
    edit_summaries(store, of_grid(DEEP_RESIDUAL, 0, 1, 2), train_accuracy=0.1)
    edit_measures(store, of_grid(DEEP_RESIDUAL, 4))
    for claim in ("C7", "C8"):
        assert judged(store)[claim].needs == "3 seeds that have ended and were measured; there is 1"


def test_dead_networks_of_arms_are_named(tmp_path: Path) -> None:
    store = causes(tmp_path / "s", Verdict.SUPPORTED)
    edit_summaries(store, of_arm(store, "linear", 0), train_accuracy=0.1)
    edit_summaries(store, of_arm(store, "slower", 1, 3), train_accuracy=0.1)
    edit_summaries(store, of_arm(store, "identity", 2), train_accuracy=0.1)
    edit_summaries(store, of_grid(("plain", 8), 4), train_accuracy=0.1)
    said = judged(store)
    assert said["C5"].dead == ("slower plain-20 seeds 1, 3",)
    assert said["C6"].dead == said["C7"].dead == (), "they read the deepest networks of the grid"
    assert said["C8"].dead == ("linear residual-20 seed 0",)
    assert said["C10"].dead == ("identity-8 seed 2", "identity-20 seed 2", "plain-8 seed 4")


# ---------------------------------------------------------------- statistics that only some networks have


def test_statistics_that_some_networks_lack_are_asked_for(tmp_path: Path) -> None:
    store = causes(tmp_path / "s", Verdict.SUPPORTED)
    update = {"recomputed_train_accuracy": 0.6, "recomputed_train_loss": 0.4}
    edit_summaries(store, of_grid(("plain", 8), 0, 1), **update)
    edit_summaries(store, of_arm(store, "constructed", 0, 1, 2, 3, 4), **update)
    edit_summaries(store, of_arm(store, "slower", 0, 1, 2, 3, 4), **update)
    said = judged(store)
    words = "3 seeds with recomputed batch-norm statistics, which some of these networks have"
    assert said["C2"].needs == f"{words}, at every depth it compares; there are none"
    assert said["C5"].needs == f"{words}; there are none"
    edit_summaries(store, of_grid(DEEP, 0, 1), **update)
    assert str(judged(store)["C2"].needs).endswith("; there are 2")


def test_a_named_depth_is_said_to_lack_what_it_lacks_itself(tmp_path: Path) -> None:
    """Of another depth, which cannot bear the claim, all seven seeds are there."""
    store = planted(
        tmp_path / "s",
        cells("plain", {8: 0.78, 14: 0.82, 20: 0.83, 56: 0.56}),
        registration=register(7) | {"depth": 20},
    )
    assert judged(store)["C2"].verdict is Verdict.SUPPORTED
    edit_summaries(store, of_grid(("plain", 20), 0), recomputed_train_accuracy=0.84)
    assert str(judged(store)["C2"].needs).endswith(
        "which some of these networks have, at every depth it compares; there are none"
    )
