"""C5 to C8 and C10: what is missing or wrong in a sweep, and what must not count for a claim."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pandas as pd
import pytest

from resdeg.analysis import frame
from resdeg.analysis.diagnostics import load_diagnostics
from resdeg.analysis.evidence import OWN, Evidence
from resdeg.analysis.frame import load_sweep
from resdeg.analysis.judge import Finding, Verdict, judge_claims
from resdeg.analysis.mechanisms import average_decreases, list_activation_arms
from resdeg.analysis.rules import registered_rules
from resdeg.report.page import make_report
from resdeg.store import SweepStore
from tests.planted import PLANTS, branches, causes, planted, probes

MEASURED = ("C5", "C6", "C7", "C8")


def judged(store: SweepStore) -> dict[str, Finding]:
    return {finding.claim.id: finding for finding in judge_claims(Evidence(load_sweep(store.folder)))}


def test_the_report_says_them_to_programs(resdeg, tmp_path: Path) -> None:
    store = causes(tmp_path / "s", Verdict.REFUTED)
    done = resdeg("report", store.folder, "--json")
    assert done.returncode == 0, done.stderr
    said = {claim["id"]: (claim["verdict"], claim["excess"]) for claim in json.loads(done.stdout)["claims"]}
    assert said == {name: (str(claim.verdict), claim.excess) for name, claim in judged(store).items()}
    assert said["C5"][0] == "REFUTED"


def test_a_cause_that_cannot_be_asked_says_what_it_needs(tmp_path: Path) -> None:
    said = judged(planted(tmp_path / "s", PLANTS[Verdict.SUPPORTED]["accuracy"]))
    for name, needs in (
        ("C5", "arm of constructed networks"), ("C6", "probes behind the blocks of plain-56"),
        ("C7", "blocks of residual-56, measured before the first"), ("C8", "residual networks with another"),
        ("C9", "StarGAN's unit"), ("C10", "start as identities (dirac 1) and with orthogonal values"),
    ):  # fmt: skip
        assert said[name].verdict is Verdict.NOT_ASKED
        assert needs in str(said[name].needs)


def test_seeds_that_are_missing_are_left_out_of_a_cause(tmp_path: Path) -> None:
    store = causes(tmp_path / "s", Verdict.SUPPORTED)
    whole = judged(store)
    for run_id in store.run_ids():  # the last seed loses its deep networks, and what was measured
        run = store.run(run_id)
        if run_id.startswith(("plain-d20-s4", "residual-d20-s4")):
            (run.folder / "summary.json").unlink()
            (run.folder / "diagnostics.jsonl").unlink(missing_ok=True)
    fewer = judged(store)
    for name in (*MEASURED, "C10"):
        assert (whole[name].seeds, fewer[name].seeds) == (5, 4)
        assert fewer[name].excess == pytest.approx(whole[name].excess, abs=0.02)


def test_damaged_diagnostics_leave_the_claim_open_and_are_named(tmp_path: Path, resdeg) -> None:
    store = causes(tmp_path / "s", Verdict.SUPPORTED)
    for run_id in store.run_ids():
        if run_id.startswith("residual"):
            (store.run(run_id).folder / "diagnostics.jsonl").write_text("no record\n")
    done = resdeg("report", store.folder)
    assert done.returncode == 0
    assert "C7  NOT ASKED Not asked" in done.stdout
    for form in ("report.md", "report.html"):
        text = (store.folder / form).read_text()
        assert text.count("diagnostics.jsonl:1: damaged") == len(list(store.folder.glob("runs/residual*")))


def summarised(store: SweepStore, arm: str, seeds: set[int], **update: object) -> None:
    """Replaces numbers at the end of the runs of an arm, or of the grid."""
    config = load_sweep(store.folder).config
    for run in (config.arm_sweeps[arm] if arm else config).grid():
        if run.seed in seeds:
            record = store.run(run.run_id)
            (record.folder / "summary.json").write_text(record.summary().model_copy(update=update).to_json())


# ---------------------------------------------------------------- C5


def test_a_constructed_network_that_diverged_counts_against_its_arm(tmp_path: Path) -> None:
    """It has the loss of a guess; the other arm bears the claim."""
    store = causes(tmp_path / "s", Verdict.SUPPORTED)
    summarised(store, "slower", {1, 2}, status="diverged", train_loss=None, train_accuracy=None)
    said = judged(store)["C5"]
    assert (said.verdict, said.seeds, said.witness) == (Verdict.SUPPORTED, 5, "arm constructed")
    losses = Evidence(load_sweep(store.folder)).losses("train_loss")
    assert losses["slower"][1] == pytest.approx(math.log(10))
    summarised(store, "constructed", {1, 2}, status="diverged", train_loss=None, train_accuracy=None)
    assert judged(store)["C5"].verdict is not Verdict.SUPPORTED


def test_a_dead_network_from_its_own_start_helps_no_claim(tmp_path: Path) -> None:
    store = causes(tmp_path / "s", Verdict.SUPPORTED)
    for run in load_sweep(store.folder).config.grid():
        if (run.family, run.depth) == ("plain", 20) and run.seed < 3:
            record = store.run(run.run_id)
            dead = record.summary().model_copy(update={"train_accuracy": 0.1, "train_loss": 2.3})
            (record.folder / "summary.json").write_text(dead.to_json())
    said = judged(store)["C5"]
    assert (said.verdict, said.seeds, said.parts[0].seeds) == (Verdict.UNDECIDED, 5, 2)
    assert said.dead == ("plain-20 seeds 0, 1, 2",), "the networks were asked, and these did not train"
    assert set(Evidence(load_sweep(store.folder)).losses("train_loss")[OWN]) == {3, 4}


def test_statistics_that_lag_are_no_solver_gap(tmp_path: Path) -> None:
    """The network from its own start is as good as the others once its statistics are recomputed."""
    store = causes(tmp_path / "s", Verdict.SUPPORTED)
    for run_id in store.run_ids():
        record = store.run(run_id)
        recomputed = 0.3 + 0.0005 * (int(run_id[-4:], 16) % 7)
        summary = record.summary().model_copy(update={"recomputed_train_loss": recomputed})
        (record.folder / "summary.json").write_text(summary.to_json())
    assert judged(store)["C5"].verdict is Verdict.REFUTED


def test_the_fate_of_the_copy_is_printed(tmp_path: Path, resdeg) -> None:
    """The constructed networks end at .3, plain-8 after equal steps at 1."""
    store = causes(tmp_path / "s", Verdict.SUPPORTED)
    line = next(line for line in resdeg("report", store.folder).stdout.splitlines() if line.startswith("C5"))
    assert "clean training loss less that of plain-8 trained for the same steps \N{MINUS SIGN}0.700" in line
    assert "nats: it is better." in line


# ---------------------------------------------------------------- C6


def test_probes_on_fewer_images_than_there_are_decide_nothing(tmp_path: Path) -> None:
    store = causes(tmp_path / "s", Verdict.SUPPORTED)
    for diagnostics in store.folder.glob("runs/plain-d20-*/diagnostics.jsonl"):
        diagnostics.unlink()
    probes(store, {7: [0.6] * 5, 8: [0.7, 0.71, 0.7, 0.72, 0.7], 9: [0.6] * 5}, images=1_000)
    said = judged(store)["C6"]
    assert said.verdict is Verdict.NOT_ASKED
    assert "on all 10,000 test images; they were measured on 1,000" in str(said.needs)


def test_the_block_that_does_better_is_named(tmp_path: Path) -> None:
    said = judged(causes(tmp_path / "s", Verdict.SUPPORTED))["C6"]
    assert said.witness == "block 8"
    assert said.parts[0].effect == pytest.approx(0.05, abs=0.001)


def test_a_data_set_of_few_test_images_cannot_be_asked(tmp_path: Path) -> None:
    store = causes(tmp_path / "s", Verdict.SUPPORTED, data={"name": "hierarchy"})
    assert "5,000 test images; there are 2,000 test images" in str(judged(store)["C6"].needs)


# ---------------------------------------------------------------- C7, C8


def test_relu_by_another_name_is_no_other_activation(tmp_path: Path) -> None:
    same = {"same": {"families": "residual", "model": {"inner_activation": "relu"}}}
    store = causes(tmp_path / "s", Verdict.SUPPORTED, same)
    branches(store, {("same", "residual", 20, state): [1.0] * 5 for state in ("initial", 100, 200, "final")})
    assert judged(store)["C8"].verdict is Verdict.SUPPORTED
    assert list_activation_arms(Evidence(load_sweep(store.folder))) == ["linear"]


def test_two_snapshots_are_too_few(tmp_path: Path) -> None:
    store = causes(tmp_path / "s", Verdict.SUPPORTED)
    for diagnostics in store.folder.glob("runs/residual-*/diagnostics.jsonl"):
        lines = [line for line in diagnostics.read_text().splitlines() if '"state":300' not in line]
        diagnostics.write_text("\n".join(lines) + "\n")
    said = judged(store)["C8"]
    assert said.verdict is Verdict.NOT_ASKED
    assert "both measured at 3 snapshots on the way; they were measured at 2." in str(said.needs)


@pytest.mark.parametrize("state", ["initial", "final"])
def test_a_branch_of_norm_0_is_said_to_be_one(state: str, tmp_path: Path) -> None:
    """It was measured: 0 has no logarithm, and to measure again would change nothing."""
    store = causes(tmp_path / "s", Verdict.SUPPORTED)
    vanish(store, state, {0, 1, 2, 3, 4})
    said = judged(store)
    zero = "; norm(F) is 0 in a state of residual-20 in seeds 0, 1, 2, 3 and 4, and 0 has no logarithm"
    assert said["C7"].needs == (
        f"the blocks of residual-20, measured before the first step and after the last{zero}"
    )
    assert str(said["C8"].needs).endswith(f"on the way; they were measured at 3{zero}")


def test_a_branch_of_norm_0_in_one_seed_is_no_seed_that_is_not_measured(tmp_path: Path) -> None:
    rules = registered_rules()
    registration = {"version": rules.version, "date": rules.date, "sha256": rules.sha256, "seeds": 5}
    store = causes(tmp_path / "s", Verdict.SUPPORTED, registration=registration)
    vanish(store, "final", {4})
    said = judged(store)
    for claim in ("C7", "C8"):
        assert str(said[claim].needs).startswith("interim, 4 of 5 seeds of residual-20 are measured ")
        assert str(said[claim].needs).endswith(
            "; norm(F) is 0 in a state of residual-20 in seed 4, and 0 has no logarithm"
        )


def vanish(store: SweepStore, state: str, seeds: set[int]) -> None:
    """Sets the branches of the grid's residual-20 to 0 in a state of these seeds."""
    for run in load_sweep(store.folder).config.grid():
        if (run.family, run.depth) == ("residual", 20) and run.seed in seeds:
            record = store.run(run.run_id)
            lines = [
                (number.model_copy(update={"value": 0.0}) if number.state == state else number).to_json()
                for number in record.diagnostics()
            ]
            (record.folder / "diagnostics.jsonl").write_text("\n".join(lines) + "\n")


def remeasured(store: SweepStore, arm: str, steps: tuple[int, ...]) -> None:
    """Measures residual-20 anew, at these steps of 800: the branch is halved four times, evenly."""
    for run in (
        load_sweep(store.folder).config.arm_sweeps[arm] if arm else load_sweep(store.folder).config
    ).grid():
        (store.run(run.run_id).folder / "diagnostics.jsonl").unlink(missing_ok=True)
    ends: dict[object, int] = {"initial": 0, **{step: step for step in steps}, "final": 800}
    halvings = {
        (arm, "residual", 20, state): [2 ** (-step / 200 + 0.01 * ((seed + step) % 3)) for seed in range(5)]
        for state, step in ends.items()
    }
    branches(store, halvings)


@pytest.mark.parametrize("registered", [False, True])
def test_activations_are_compared_at_the_same_times_of_training(registered: bool, tmp_path: Path) -> None:
    """Both branches shrink alike, and that of the arm was measured at more snapshots, and earlier ones."""
    rules = registered_rules()
    registration = {"version": rules.version, "date": rules.date, "sha256": rules.sha256, "seeds": 5}
    tables = {"registration": registration} if registered else {}
    store = causes(tmp_path / "s", Verdict.SUPPORTED, **tables)
    remeasured(store, "", (200, 400, 600))
    remeasured(store, "linear", (50, 100, 150, 200, 400, 600))
    said = judged(store)["C8"]
    assert said.parts[0].effect == pytest.approx(0), "earlier steps of the arm do not count"
    assert said.verdict is Verdict.UNDECIDED
    assert average_decreases(Evidence(load_sweep(store.folder)))["linear"].keys() == {0, 1, 2, 3, 4}
    remeasured(store, "linear", tuple(range(80, 800, 80)))
    said = judged(store)["C8"]
    assert said.verdict is Verdict.NOT_ASKED
    assert "at 3 snapshots on the way that they share; their snapshots were taken at other s" in str(
        said.needs
    )


def test_seeds_of_a_registered_sweep_share_their_snapshots_or_none_is_compared(tmp_path: Path) -> None:
    rules = registered_rules()
    registration = {"version": rules.version, "date": rules.date, "sha256": rules.sha256, "seeds": 5}
    store = causes(tmp_path / "s", Verdict.SUPPORTED, registration=registration)
    run = next(
        run for run in load_sweep(store.folder).config.grid() if run.run_id.startswith("residual-d20-s1")
    )
    diagnostics = store.run(run.run_id).folder / "diagnostics.jsonl"
    diagnostics.write_text(diagnostics.read_text().replace('"state":300', '"state":299'))
    said = judged(store)["C8"]
    assert str(said.needs).startswith(
        "interim, 4 of 5 seeds of linear residual-20 are measured at 3 snapshots on the way that all of "
        "these networks share, and at both ends"
    )


def test_a_branch_that_starts_smaller_is_no_merit_of_training(tmp_path: Path) -> None:
    """Without norms a linear branch starts larger than one with ReLU: only the decrease counts."""
    store = causes(tmp_path / "s", Verdict.SUPPORTED)
    before = judged(store)["C8"].excess
    for run in load_sweep(store.folder).config.arm_sweeps["linear"].grid():
        record = store.run(run.run_id)
        doubled = [
            number.model_copy(update={"value": 2 * number.value}).to_json() for number in record.diagnostics()
        ]
        (record.folder / "diagnostics.jsonl").write_text("\n".join(doubled) + "\n")
    assert judged(store)["C8"].excess == pytest.approx(before)


def test_networks_that_are_dead_have_no_branch_to_speak_of(tmp_path: Path) -> None:
    store = causes(tmp_path / "s", Verdict.SUPPORTED)
    for run in load_sweep(store.folder).config.grid():
        if (run.family, run.depth, run.seed) == ("residual", 20, 1):
            record = store.run(run.run_id)
            dead = record.summary().model_copy(update={"train_accuracy": 0.1})
            (record.folder / "summary.json").write_text(dead.to_json())
    said = judged(store)
    assert (said["C7"].seeds, said["C8"].seeds) == (4, 4)
    assert said["C7"].dead == ("residual-20 seed 1",)


# ---------------------------------------------------------------- C10


def test_a_grid_of_identity_starts_is_no_start_of_he(tmp_path: Path) -> None:
    arms = {"nearer": {"model": {"dirac": 1.0}}}
    cells = {("plain", 8): [0.7] * 3, ("plain", 20): [0.6, 0.61, 0.62]}
    store = planted(
        tmp_path / "s", cells, of_arms={"nearer": {"accuracy": cells}}, arms=arms,
        model={"init": "dirac-mixed", "dirac": 0.5},
    )  # fmt: skip
    assert judged(store)["C10"].verdict is Verdict.NOT_ASKED


def test_without_an_orthogonal_arm_the_first_three_parts_are_printed(tmp_path: Path, resdeg) -> None:
    store = causes(tmp_path / "s", Verdict.SUPPORTED)
    text = store.plan.read_text()
    cut = text.index("[arms.orthogonal")
    store.plan.write_text(text[:cut] + text[text.index("[arms.linear") :])
    line = next(line for line in resdeg("report", store.folder).stdout.splitlines() if line.startswith("C10"))
    assert "NOT ASKED" in line
    assert "Without an orthogonal arm, at depth 8: fall +20.0;" in line


def test_arms_of_a_registered_sweep_count_when_they_are_whole(tmp_path: Path) -> None:
    rules = registered_rules()
    registration = {"version": rules.version, "date": rules.date, "sha256": rules.sha256, "seeds": 5}
    store = causes(tmp_path / "s", Verdict.SUPPORTED, registration=registration)
    assert judged(store)["C10"].verdict is Verdict.SUPPORTED
    run = next(
        run for run in load_sweep(store.folder).config.arm_sweeps["orthogonal"].grid() if run.seed == 4
    )
    (store.run(run.run_id).folder / "summary.json").unlink()
    said = judged(store)
    assert (said["C10"].verdict, said["C4"].verdict) == (Verdict.NOT_ASKED, Verdict.SUPPORTED)


def test_diagnostics_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = causes(tmp_path / "s", Verdict.SUPPORTED)
    reads: list[object] = []

    def counting(folder: Path) -> tuple[pd.DataFrame, list[str]]:
        reads.append(folder)
        return load_diagnostics(folder)

    monkeypatch.setattr(frame, "load_diagnostics", counting)
    make_report(load_sweep(store.folder))
    assert reads == [store.folder]
