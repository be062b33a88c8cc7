"""A second reading: verdicts and peaks, computed again from the records of a folder alone.

The rules of docs/method.md are written once more, with numpy and scipy and nothing of resdeg, and the numbers
must be those of the published page. C1 to C4 and the peaks need runs.csv and sweep.toml; C6 and C7 need
diagnostics.jsonl, what was measured inside the networks, too.
"""

from __future__ import annotations

import csv
import json
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from tests.planted import planted

RESULTS = Path(__file__).parents[1] / "results"
FOLDERS = ("demo", "delay", "causes", "cifar10", "cifar10-h100")
CHANCE = 0.1
ALIVE = CHANCE + 0.15 * (1 - CHANCE)
FAMILY_ERROR = 0.05
LEAST_SEEDS = 3
Cell = tuple[str, int, str]
Numbers = dict[Cell, dict[int, float]]


def list_dead(numbers: Numbers) -> set[tuple[str, int, int]]:
    """Lists what did not train, by family, depth and seed."""
    return {
        (family, depth, seed)
        for family, depth, metric in numbers
        if metric == "train"
        for seed, accuracy in numbers[family, depth, metric].items()
        if accuracy < ALIVE
    }


@dataclass
class Part:
    """The sum of weight times accuracy within each seed, which must exceed the margin.

    ended: the seeds whose runs have all ended; values: the sums of those that are not left out.
    """

    margin: float
    ended: list[int]
    values: dict[int, float]
    binomial: float

    @classmethod
    def count(cls, weights: dict[Cell, float], margin: float, *, numbers: Numbers, images: dict[str, int]):
        """A seed is left out where a dead network enters with minus, and would help the claim."""
        shared = sorted(set.intersection(*({*numbers[cell]} for cell in weights)))
        dead = list_dead(numbers)
        seeds = [
            seed
            for seed in shared
            if not any((*cell[:2], seed) in dead for cell, weight in weights.items() if weight < 0)
        ]
        values = {
            seed: sum(weight * numbers[cell][seed] for cell, weight in weights.items()) for seed in seeds
        }
        variance = 0.0
        for cell, weight in weights.items() if seeds else ():
            answers = images["test" if cell[2] == "test" else "train"] * len(seeds)
            hits = sum(numbers[cell][seed] for seed in seeds) * answers / len(seeds)
            share = (hits + 1) / (answers + 2)
            variance += weight**2 * share * (1 - share) / answers
        return cls(margin, shared, values, variance**0.5)

    @property
    def by_seed(self) -> np.ndarray:
        return np.array([*self.values.values()])

    @property
    def excess(self) -> float:
        return float(self.by_seed.mean()) - self.margin

    def p(self, direction: int) -> float:
        """The larger p of Student's test and the normal one, above the margin (1) or below it (-1)."""
        if len(self.values) < LEAST_SEEDS:
            return 1.0
        side = "greater" if direction > 0 else "less"
        student = float(stats.ttest_1samp(self.by_seed, self.margin, alternative=side).pvalue)
        if not self.binomial:
            return student
        return max(student, float(stats.norm.sf(direction * self.excess / self.binomial)))

    def bound(self, direction: int, error: float) -> float:
        """The bound of the excess on one side, below (-1) or above (1) it."""
        n = len(self.values)
        if n < LEAST_SEEDS:
            return direction * np.inf
        student = stats.t.isf(error, n - 1) * self.by_seed.std(ddof=1) / n**0.5
        return self.excess + direction * max(float(student), float(stats.norm.isf(error)) * self.binomial)


def simes(values: list[float]) -> float:
    """The p of "at some candidate" (Simes 1986)."""
    ranked = np.sort(values)
    return float(np.min(len(ranked) * ranked / np.arange(1, len(ranked) + 1)))


@dataclass
class Reading:
    """One claim: the parts of each candidate, and the candidates that may bear it.

    guard: whether it explains a fall, which is its first part. refutable: whether the deepest networks of its
    fall are alive. collapsed: whether their deaths refute it.
    """

    parts: dict[int, list[Part]]
    bearing: list[int]
    shown: int
    guard: bool
    refutable: bool = True
    collapsed: bool = False

    def p_supported(self) -> float:
        return simes([max(part.p(1) for part in self.parts[depth]) for depth in self.bearing])

    def p_refuted(self) -> float:
        if not self.refutable:
            return 1.0
        failing = []
        for parts in self.parts.values():
            others = parts[1:] if self.guard else parts
            failing.append(min(1.0, len(parts) * min(part.p(-1) for part in others)))
        reached = max(failing)
        if self.guard:
            reached = max(reached, simes([parts[0].p(1) for parts in self.parts.values()]))
        return reached

    def lower(self, error: float) -> float:
        count = len(self.bearing)
        return max(
            sorted(
                (
                    min(part.bound(-1, error * j / count) for part in self.parts[depth])
                    for depth in self.bearing
                ),
                reverse=True,
            )[j - 1]
            for j in range(1, count + 1)
        )

    def upper(self, error: float) -> float:
        if not self.refutable:
            return np.inf
        return max(min(part.bound(1, error / len(parts)) for part in parts) for parts in self.parts.values())

    @property
    def ended(self) -> set[int]:
        """The seeds whose runs have ended in every part."""
        return set.intersection(*({*part.ended} for part in self.parts[self.shown]))

    def count_beyond(self) -> tuple[int, float | None]:
        """In how many seeds all parts exceed their margins; the least number of the part nearest to it."""
        parts = self.parts[self.shown]
        count = sum(
            all(part.values.get(seed, -np.inf) > part.margin for part in parts) for seed in self.ended
        )
        counted = [part for part in parts if part.values]
        if not counted:
            return count, None
        return count, min(counted, key=lambda part: part.excess).by_seed.min()


def is_written(number: float, text: str) -> bool:
    """Whether `text` is this number, rounded; the page may round a half the other way."""
    half = 10 ** -len(text.partition(".")[2]) / 2
    return abs(number - float(text.replace("−", "-"))) < half + 1e-9


def read_numbers(folder: Path) -> Numbers:
    """The accuracies of the ended runs that the grid plans, by family, depth, metric and seed."""
    plan = tomllib.loads((folder / "sweep.toml").read_text())
    numbers: Numbers = {}
    with (folder / "runs.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row.get("arm") or row["status"] not in ("finished", "diverged"):
                continue
            if int(row["depth"]) not in plan["depths"] or int(row["seed"]) not in plan["seeds"]:
                continue
            for metric in ("test", "train", "recomputed"):
                column = {"recomputed": "recomputed_train_accuracy"}.get(metric, f"{metric}_accuracy")
                if column not in row:
                    continue
                # A diverged run counts as a guess.
                value = CHANCE if row["status"] == "diverged" else row.get(column)
                if value not in (None, ""):
                    cell = row["family"], int(row["depth"]), metric
                    numbers.setdefault(cell, {})[int(row["seed"])] = float(value)
    return numbers


def read_claims(folder: Path) -> dict[str, Reading]:
    """The claims that the plan can ask."""
    plan = tomllib.loads((folder / "sweep.toml").read_text())
    hierarchy = plan["data"].get("hierarchy", {})
    natural = plan["data"]["name"] == "cifar10"
    images = {
        "test": 10_000 if natural else hierarchy["test_images"],
        "train": 50_000 if natural else hierarchy["train_images"],
    }
    fall = 0.02  # all these sweeps are shorter than the paper's schedule
    depths = [depth for depth in plan["depths"] if depth > 2]
    first, deepest = depths[0], depths[-1]
    named = plan.get("claims", {}).get("depth")
    numbers = read_numbers(folder)

    def part(weights: dict[Cell, float], margin: float) -> Part:
        return Part.count(weights, margin, numbers=numbers, images=images)

    def falls(
        depth: int, metric: str = "test", family: str = "plain", weight: float = 1.0
    ) -> dict[Cell, float]:
        return {(family, depth, metric): weight, (family, deepest, metric): -weight}

    def best(candidates: list[int]) -> int:
        means = {depth: np.mean([*numbers["plain", depth, "test"].values()]) for depth in candidates}
        return max(means, key=lambda depth: means[depth])

    dead = list_dead(numbers)

    def deaths(family: str, depth: int) -> int:
        return sum((family, depth, seed) in dead for seed in plan["seeds"])

    def reading(parts: dict[int, list[Part]], *, guard: bool) -> Reading:
        bearing = [named] if named else [*parts]
        return Reading(parts, bearing, best(bearing), guard, refutable=not deaths("plain", deepest))

    claims = {}
    between = depths[1:-1]
    if first == 8 and between and named != first:
        rise = {d: {("plain", d, "test"): 1.0, ("plain", first, "test"): -1.0} for d in between}
        claims["C1"] = reading({d: [part(rise[d], 0.01), part(falls(d), fall)] for d in between}, guard=False)
    overfit = {}
    for depth in depths[:-1]:
        kinds = [m for m in ("train", "recomputed") if ("plain", depth, m) in numbers]
        halves = [part({**falls(depth, kind), **falls(depth, weight=-0.5)}, 0.0) for kind in kinds]
        overfit[depth] = [part(falls(depth), fall), *halves]
    claims["C2"] = reading(overfit, guard=True)
    losses = [
        part({("residual", deepest, "test"): 1.0, ("residual", d, "test"): -1.0}, -fall) for d in depths[:-1]
    ]
    collapsed = (
        deaths("residual", deepest) >= max(3, len(plan["seeds"]) / 2)
        and not any(deaths("residual", depth) for depth in depths[:-1])
        and len(depths) > 2
    )
    claims["C3"] = Reading({deepest: losses}, [deepest], deepest, guard=False, collapsed=collapsed)
    left = {}
    for depth in depths[:-1]:
        half = falls(depth, weight=0.5)
        kept = part({**half, **falls(depth, family="residual", weight=-1.0)}, 0.0)
        gap = {
            ("plain", deepest, "test"): -0.5,
            ("plain", depth, "test"): -0.5,
            ("residual", deepest, "test"): 1.0,
        }
        left[depth] = [part(falls(depth), fall), kept, part(gap, 0.0)]
    claims["C4"] = reading(left, guard=True)
    return claims


def judge(claims: dict[str, Reading]) -> dict[str, tuple[str, float]]:
    """The verdict of each claim, and its share of the family's error (Holm 1979)."""
    reached = {claim: min(r.p_supported(), r.p_refuted(), 0.5) for claim, r in claims.items()}
    judged, error, deciding = {}, 0.0, True
    for rank, claim in enumerate(sorted(reached, key=lambda claim: reached[claim])):
        if deciding:  # The first that is not decided lends its share to all after it.
            error = FAMILY_ERROR / (len(claims) - rank)
            deciding = reached[claim] <= error / 2
        supported = claims[claim].p_supported() <= claims[claim].p_refuted()
        verdict = ("SUPPORTED" if supported else "REFUTED") if deciding else "UNDECIDED"
        judged[claim] = "REFUTED" if claims[claim].collapsed else verdict, error
    return judged


def locate_peak(numbers: Numbers, family: str) -> str:
    """Where the curve may have its maximum, in the words of the page: depths that no other one beats."""
    curve = {
        depth: accuracies
        for (own, depth, metric), accuracies in sorted(numbers.items())
        if own == family and metric == "test"
    }
    with_block = [depth for depth in curve if depth > 2]
    seeds = sorted(set.intersection(*({*curve[depth]} for depth in with_block)))
    values = {depth: np.array([curve[depth][seed] for seed in seeds]) for depth in with_block}

    def beats(rival: int, depth: int) -> bool:
        differences = values[rival] - values[depth]
        if not differences.any():
            return False
        p = stats.ttest_1samp(differences, 0.0, alternative="greater").pvalue
        return bool(p < FAMILY_ERROR / (len(with_block) - 1))

    possible = [d for d in with_block if not any(beats(rival, d) for rival in with_block if rival != d)]
    low = [str(depth) for depth in curve if depth < possible[0]][-1:]
    high = [str(depth) for depth in curve if depth > possible[-1]][:1]
    where = {
        (1, 1): f"between {' and '.join(low + high)}",
        (1, 0): f"above {''.join(low)}",
        (0, 1): f"below {''.join(high)}",
        (0, 0): "not located",
    }[len(low), len(high)]
    best = max(with_block, key=lambda depth: values[depth].mean())
    diverged = sum(value == CHANCE for depth in with_block for value in curve[depth].values())
    guesses = f", {diverged} run{'s' * (diverged > 1)} that diverged as a guess" if diverged else ""
    return f"Peak of the {family} curve: {where}; best trained: {best} (95 %, {len(seeds)} seeds{guesses})."


def compare_with_line(line: str, reading: Reading, error: float, *, unit: int) -> None:
    """Compares a claim's effects, interval and seeds with those of its line, in the unit of the line."""
    written = re.findall(r" (\S+) \(margin (\S+?)(?:, (\d+) seeds?)?\)", line)
    for part, (mean, margin, fewer) in zip(reading.parts[reading.shown], written, strict=True):
        assert mean == "-" if not part.values else is_written(unit * part.by_seed.mean(), mean), line
        assert is_written(unit * part.margin, margin), line
        assert fewer == (str(len(part.values)) if len(part.values) < len(reading.ended) else ""), line
    ends = [end for end in (reading.lower(error / 2), reading.upper(error / 2)) if np.isfinite(end)]
    interval = re.search(r" by (?:at least |at most )?(\S+)(?: to (\S+))? \((\S+) % interval\)", line)
    assert (interval is None) == (not ends), line
    if interval is not None:
        shown = [end for end in interval.groups()[:2] if end is not None]
        assert all(is_written(unit * end, text) for end, text in zip(ends, shown, strict=True)), line
        assert interval[3] == f"{100 * (1 - error):.2f}".rstrip("0").rstrip("."), line
    count, smallest = reading.count_beyond()
    assert f"In {count} of {len(reading.ended)} seeds" in line, line
    least = re.search(r", smallest (\S+)\.", line)
    assert smallest is None if least is None else is_written(unit * smallest, least[1]), line


def list_lines(page: str) -> dict[str, str]:
    return {line[2:4]: line for line in page.splitlines() if re.match(r"\| C\d ", line)}


def compare_with_page(folder: Path) -> dict[str, str]:
    """Compares what follows from the tables of a folder with its report, and returns the verdicts."""
    page = (folder / "report.md").read_text()
    lines = list_lines(page)
    numbers = read_numbers(folder)
    for family in ("plain", "residual"):
        assert locate_peak(numbers, family) in page
    claims = read_claims(folder)
    judged = judge(claims)
    assert {claim for claim, line in lines.items() if claim < "C5" and "NOT ASKED" not in line} == {*judged}
    for claim, (verdict, error) in judged.items():
        assert f"**{verdict}**" in lines[claim], claim
        compare_with_line(lines[claim], claims[claim], error, unit=100)
    return {claim: verdict for claim, (verdict, _) in judged.items()}


@pytest.mark.parametrize("name", FOLDERS)
def test_the_published_verdicts_follow_from_the_table_of_runs_alone(name: str) -> None:
    compare_with_page(RESULTS / name)


def read_inside(folder: Path) -> dict[str, Reading]:
    """C6 and C7 of the deepest networks, from their diagnostics.jsonl."""
    probes: dict[int, dict[int, float]] = {}
    branches: dict[str, dict[int, list[float]]] = {"initial": {}, "final": {}}
    plan = tomllib.loads((folder / "sweep.toml").read_text())
    deepest = plan["depths"][-1]
    with (folder / "runs.csv").open(newline="") as file:
        runs = [row for row in csv.DictReader(file) if not row.get("arm") and int(row["depth"]) == deepest]
    for run in runs:
        seed = int(run["seed"])
        for line in (folder / "runs" / run["run_id"] / "diagnostics.jsonl").read_text().splitlines():
            measured = json.loads(line)
            match run["family"], measured["kind"], measured["name"], measured["state"], measured["stage"]:
                case "plain", "probes", "accuracy", "final", 3:
                    assert measured["images"] == 10_000
                    probes.setdefault(measured["block"], {})[seed] = measured["value"]
                case "residual", "identity", "branch", ("initial" | "final") as state, _:
                    branches[state].setdefault(seed, []).append(measured["value"])
    *earlier, last = sorted(probes)
    seeds = sorted(probes[last])
    lead = {block: {seed: probes[block][seed] - probes[last][seed] for seed in seeds} for block in earlier}
    spoilt = {block: [Part(0.01, seeds, by_seed, 0.0)] for block, by_seed in lead.items()}
    decrease = {
        seed: float(np.log2(np.median(branches["initial"][seed]) / np.median(branches["final"][seed])))
        for seed in sorted(branches["final"])
    }
    best = max(spoilt, key=lambda block: spoilt[block][0].excess)
    return {
        "C6": Reading(spoilt, [*spoilt], best, guard=False),
        "C7": Reading({deepest: [Part(1.0, [*decrease], decrease, 0.0)]}, [deepest], deepest, guard=False),
    }


def test_the_verdicts_on_what_is_inside_follow_from_the_measurements_alone() -> None:
    """C6 and C7 of the registered sweep. The share of the error that each is given depends on its arms."""
    lines = list_lines((RESULTS / "cifar10" / "report.md").read_text())
    least = FAMILY_ERROR / len(("C5", "C6", "C7", "C8", "C10"))
    for claim, reading in read_inside(RESULTS / "cifar10").items():
        assert "**REFUTED**" in lines[claim]
        assert reading.p_refuted() <= least / 2
        assert reading.ended == {*range(10, 17)}
        level = re.search(r"\((\S+) % interval\)", lines[claim])
        assert level is not None
        error = round(1 - float(level[1]) / 100, 6)
        compare_with_line(lines[claim], reading, error, unit=100 if claim == "C6" else 1)


# A sweep like results/cifar10 in which all networks train, or some deepest plain or residual ones do not.
PLANTED = {
    "all train": ({}, {"C1": "SUPPORTED", "C2": "SUPPORTED", "C3": "SUPPORTED", "C4": "SUPPORTED"}),
    "a plain-56 diverged": (
        {("plain", 56): {12}},
        {"C1": "SUPPORTED", "C2": "SUPPORTED", "C3": "SUPPORTED", "C4": "SUPPORTED"},
    ),
    "five plain-56 diverged": (
        {("plain", 56): {10, 11, 12, 13, 14}},
        {"C1": "UNDECIDED", "C2": "UNDECIDED", "C3": "SUPPORTED", "C4": "UNDECIDED"},
    ),
    "all plain-56 diverged": (
        {("plain", 56): {*range(10, 17)}},
        {"C1": "UNDECIDED", "C2": "UNDECIDED", "C3": "SUPPORTED", "C4": "UNDECIDED"},
    ),
    "four residual-56 diverged": (
        {("residual", 56): {10, 12, 14, 16}},
        {"C1": "SUPPORTED", "C2": "SUPPORTED", "C3": "REFUTED", "C4": "UNDECIDED"},
    ),
}


@pytest.mark.parametrize("case", PLANTED)
def test_it_agrees_where_networks_of_a_registered_sweep_did_not_train(
    case: str, resdeg, tmp_path: Path
) -> None:
    diverged, verdicts = PLANTED[case]
    means = {
        "plain": {2: 0.31, 8: 0.78, 14: 0.83, 20: 0.836, 56: 0.56},
        "residual": {2: 0.31, 8: 0.79, 14: 0.84, 20: 0.853, 56: 0.87},
    }
    random = np.random.default_rng(0)
    accuracy = {
        (family, depth): [round(float(number), 4) for number in mean + random.normal(0, 0.003, 17)]
        for family, by_depth in means.items()
        for depth, mean in by_depth.items()
    }
    trained = {cell: [number + 0.02 for number in numbers] for cell, numbers in accuracy.items()}
    planted(
        tmp_path / "s", accuracy, trained=trained, diverged=diverged, seeds=[*range(10, 17)],
        claims={"depth": 20},
        registration={"version": 2, "date": "2026-11-26", "sha256": "0" * 64, "seeds": 7, "depth": 20},
    )  # fmt: skip
    for command in ("plot", "report"):
        done = resdeg(command, "s")
        assert done.returncode == 0, done.stderr
    assert compare_with_page(tmp_path / "s") == verdicts
