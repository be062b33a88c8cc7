"""Sweeps that would fool a careless rule, through the command line, each with its right answer."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from resdeg.config import SweepConfig, read_toml, validate
from resdeg.records import RunSummary
from resdeg.store import SweepStore
from tests.planted import planted

ROOT = Path(__file__).parents[2]
WOBBLE = (0.0, 0.004, -0.004, 0.002, -0.002)  # of five seeds, another order at each depth
LONG = (8, 20, 56, 110)


def cells(family: str, means: dict[int, float], seeds: int = 5) -> dict[tuple[str, int], list[float]]:
    return {
        (family, depth): [mean + WOBBLE[(seed + turn) % 5] for seed in range(seeds)]
        for turn, (depth, mean) in enumerate(means.items())
    }


PLAIN = cells("plain", {8: 0.74, 20: 0.80, 56: 0.62})
RESIDUAL = cells("residual", {8: 0.75, 20: 0.82, 56: 0.83})
LONG_PLAIN = cells("plain", {8: 0.74, 20: 0.80, 56: 0.62, 110: 0.5})
LONG_RESIDUAL = cells("residual", {8: 0.75, 20: 0.82, 56: 0.83, 110: 0.10})
DEAD = [0.1, 0.11, 0.1, 0.09, 0.1]


def verdicts(resdeg, folder: Path) -> dict[str, str]:
    done = resdeg("report", folder, "--json")
    assert done.returncode == 0, done.stderr
    return {claim["id"]: claim["verdict"] for claim in json.loads(done.stdout)["claims"]}


def line_of(resdeg, folder: Path, claim: str) -> str:
    return next(line for line in resdeg("report", folder).stdout.splitlines() if line.startswith(f"{claim} "))


def test_the_sweep_that_they_spoil_is_supported(resdeg, tmp_path: Path) -> None:
    planted(tmp_path / "s", PLAIN | RESIDUAL)
    assert {verdicts(resdeg, tmp_path / "s")[name] for name in ("C1", "C2", "C3", "C4")} == {"SUPPORTED"}


CASES = {
    "residual-110 at chance in all": (LONG_PLAIN | LONG_RESIDUAL, {}, {"C3": "REFUTED"}),
    "residual-56 diverged in all": (PLAIN | RESIDUAL, {("residual", 56): {0, 1, 2, 3, 4}}, {"C3": "REFUTED"}),
    "residual-56 diverged in three": (PLAIN | RESIDUAL, {("residual", 56): {0, 2, 3}}, {"C3": "REFUTED"}),
    "residual-56 diverged in two": (PLAIN | RESIDUAL, {("residual", 56): {0, 2}}, {"C3": "UNDECIDED"}),
    "residual-56 diverged in one": (PLAIN | RESIDUAL, {("residual", 56): {1}}, {"C3": "UNDECIDED"}),
    "plain-20 dead in two of five": (
        PLAIN | RESIDUAL | {("plain", 20): [0.1, 0.1, *PLAIN["plain", 20][2:]]}, {}, {"C1": "UNDECIDED"},
    ),
    "plain-56 dead in all": (
        PLAIN | RESIDUAL | {("plain", 56): DEAD}, {}, dict.fromkeys(("C1", "C2", "C4"), "UNDECIDED"),
    ),
    "plain-56 diverged in all": (
        PLAIN | RESIDUAL, {("plain", 56): {0, 1, 2, 3, 4}}, dict.fromkeys(("C1", "C2", "C4"), "UNDECIDED"),
    ),
    "two seeds that each lose one image of 2,000": (
        {
            **{cell: [0.9995, 0.9995] for cell in (("plain", 8), ("plain", 56), ("residual", 8))},
            **{cell: [1.0, 1.0] for cell in (("plain", 20), ("residual", 20), ("residual", 56))},
        },
        {},
        dict.fromkeys(("C1", "C2", "C3", "C4"), "NOT ASKED"),
    ),
    "a grid that starts at depth 20": (
        cells("plain", {20: 0.9031, 32: 0.9, 56: 0.8692}), {}, {"C1": "NOT ASKED", "C2": "SUPPORTED"},
    ),
    "residual at chance at every depth": (
        PLAIN | {("residual", depth): DEAD for depth in (8, 20, 56)}, {}, {"C4": "REFUTED"},
    ),
    "plain flat, residual gains 6": (
        cells("plain", {8: 0.8, 20: 0.8, 56: 0.8}) | cells("residual", {8: 0.8, 20: 0.83, 56: 0.86}),
        {},
        {"C4": "UNDECIDED"},
    ),
    "residual falls 16 where plain falls 18": (
        PLAIN | cells("residual", {8: 0.75, 20: 0.82, 56: 0.66}), {}, {"C4": "REFUTED", "C3": "REFUTED"},
    ),
    "a deeper plain depth than planned died": (
        cells("plain", {8: 0.8, 20: 0.74, 56: 0.73}), {}, {"C1": "REFUTED"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_planted_cases_have_their_right_answers(name: str, resdeg, tmp_path: Path) -> None:
    accuracy, diverged, answers = CASES[name]
    planted(tmp_path / "s", accuracy, diverged=diverged)
    said = verdicts(resdeg, tmp_path / "s")
    assert {claim: said[claim] for claim in answers} == answers


def test_a_deeper_plain_depth_that_died_altogether_refutes_nothing(resdeg, tmp_path: Path) -> None:
    """The plan was cut down to the depths that trained; the folder still has the other one."""
    accuracy = cells("plain", {8: 0.8, 20: 0.74, 56: 0.73}) | {("plain", 110): DEAD}
    store = planted(tmp_path / "s", accuracy)
    text = store.plan.read_text()
    store.plan.write_text(re.sub(r",?\s*110,?", ",", text))
    assert validate(SweepConfig, {"s": read_toml(store.plan)}).depths == (8, 20, 56)
    assert verdicts(resdeg, tmp_path / "s")["C1"] == "UNDECIDED"


def test_test_accuracy_that_stays_is_no_overfitting_question(resdeg, tmp_path: Path) -> None:
    """The test accuracy does not fall, that in training falls 3 points: there is no fall to explain."""
    trained = cells("plain", {8: 0.9, 20: 0.89, 56: 0.87})
    planted(tmp_path / "s", cells("plain", {8: 0.8, 20: 0.8, 56: 0.8}), trained=trained)
    assert verdicts(resdeg, tmp_path / "s")["C2"] == "UNDECIDED"
    line = line_of(resdeg, tmp_path / "s", "C2")
    assert "the mean fall is 0.0 points, not above 2.0, so there is no fall to explain there" in line


def test_all_seeds_at_100_percent_give_no_certainty(resdeg, tmp_path: Path) -> None:
    planted(tmp_path / "s", {(f, d): [1.0] * 5 for f in ("plain", "residual") for d in (8, 20, 56)})
    report = json.loads(resdeg("report", tmp_path / "s", "--json").stdout)["claims"]
    by_id = {claim["id"]: claim for claim in report}
    assert by_id["C3"]["verdict"] == "SUPPORTED"
    assert by_id["C3"]["low"] < 0.02 < by_id["C3"]["high"], "equal numbers still have an error"


def test_dead_networks_are_named_in_the_line_of_the_verdict(resdeg, tmp_path: Path) -> None:
    planted(tmp_path / "s", PLAIN | RESIDUAL, diverged={("residual", 56): {0, 2}})
    assert "Did not train: residual-56 seeds 0, 2." in line_of(resdeg, tmp_path / "s", "C3")
    assert "residual-56" not in line_of(resdeg, tmp_path / "s", "C1")


def test_the_fall_is_printed_where_the_rise_cannot_be_asked(resdeg, tmp_path: Path) -> None:
    planted(tmp_path / "s", cells("plain", {20: 0.9031, 32: 0.9, 56: 0.8692}))
    line = line_of(resdeg, tmp_path / "s", "C1")
    assert line.startswith("C1  NOT ASKED")
    assert "falls from 90.3 % at depth 20, the best with a block, to 86.9 % at 56: by 3.4 points." in line


# ---------------------------------------------------------------- a published folder, edited by hand


def of_depths(folder: Path, *depths: int) -> Path:
    """A copy of the demo's records, planned for these depths alone."""
    shutil.copytree(ROOT / "results" / "delay", folder)
    config = validate(SweepConfig, {"demo": read_toml(folder / "sweep.toml")})
    planned = config.model_copy(update={"depths": depths, "arms": {}})
    (folder / "sweep.toml").write_text(planned.to_toml())
    return folder


def test_the_demo_s_own_records(resdeg, tmp_path: Path) -> None:
    said = verdicts(resdeg, of_depths(tmp_path / "shallow", 2, 8, 20))
    assert (said["C1"], said["C2"], said["C4"]) == ("NOT ASKED", "UNDECIDED", "UNDECIDED")
    said = verdicts(resdeg, of_depths(tmp_path / "deep", 8, 20, 32))
    assert said["C1"] == "REFUTED", (
        "depth 20 is no better than 8: the rise is that from a network without a block"
    )
    assert {said[f"C{number}"] for number in range(5, 11)} == {"NOT ASKED"}


def edited(store: SweepStore, family: str, depth: int, seeds: set[int], **update: object) -> None:
    """Summaries of the demo, changed as a hand would."""
    for run_id in store.run_ids():
        run = store.run(run_id)
        config = run.config()
        if (
            (config.family, config.depth) == (family, depth)
            and config.seed in seeds
            and config.training.epochs == 5
        ):
            summary = RunSummary.model_validate({**run.summary().model_dump(), **update})
            (run.folder / "summary.json").write_text(summary.to_json())


EDITS = {
    "at chance in all": (set(range(7)), {"test_accuracy": 0.1, "train_accuracy": 0.1}, "REFUTED"),
    "diverged in all": (
        set(range(7)),
        {"status": "diverged", "test_accuracy": None, "train_accuracy": None},
        "REFUTED",
    ),
    "diverged in two": (
        {0, 1},
        {"status": "diverged", "test_accuracy": None, "train_accuracy": None},
        "UNDECIDED",
    ),
    "at chance in one": ({3}, {"test_accuracy": 0.1, "train_accuracy": 0.1}, "UNDECIDED"),
}


@pytest.mark.parametrize("name", EDITS)
def test_copies_of_the_demo_that_were_edited_by_hand(name: str, resdeg, tmp_path: Path) -> None:
    seeds, update, answer = EDITS[name]
    folder = of_depths(tmp_path / "demo", 2, 8, 20, 32)
    edited(SweepStore(folder), "residual", 32, seeds, **update)
    assert verdicts(resdeg, folder)["C3"] == answer
