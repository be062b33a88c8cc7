"""What commands cost on sweeps of thousands of runs, planted without a training: `make scale`.

Limits hold for seconds of processors, because neighbours on a machine move those of the clock.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from resdeg.config import RunConfig, SweepConfig, resolve
from resdeg.records import Environment, EvalRecord, RunSummary, Segment, TimingRecord
from resdeg.store import SweepStore

SIZES = (1_000, 3_000, 10_000)
MOST_MIB = 1024
LEAST_R2 = 0.99  # a cost that grows with the square of the runs has 0.98 at SIZES
EPOCHS, STEPS_PER_EPOCH = 10, 391
PER_SEED = 10  # runs of a seed: four depths in two families, and two in the arm
ACCURACIES = {
    "plain": {8: 0.80, 20: 0.83, 32: 0.79, 56: 0.60},
    "residual": {8: 0.81, 20: 0.85, 32: 0.86, 56: 0.87},
}
ARM = {"families": "plain", "depths": [8, 56], "model": {"init": "dirac-mixed"}}


class Command(NamedTuple):
    """A command as a user gives it; {new} and {old} stand for a free folder and for the planted one.

    most_seconds: what it may cost on the largest sweep.
    """

    name: str
    arguments: tuple[str, ...]
    most_seconds: float


COMMANDS = (
    Command("sweep --dry-run", ("sweep", "{plan}", "--dry-run", "--out", "{new}"), 20),
    Command("the same, all ended", ("sweep", "{plan}", "--dry-run", "--out", "{old}"), 20),
    Command("list", ("list", "{old}"), 20),
    Command("status", ("status", "{old}"), 20),
    Command("status --json", ("status", "{old}", "--json"), 20),
    Command("plot", ("plot", "{old}"), 20),
    Command("report", ("report", "{old}"), 60),
)


# ---------------------------------------------------------------- planted sweeps


def plan_sweep(runs: int) -> SweepConfig:
    """Returns a sweep of so many runs, a multiple of PER_SEED, with an arm."""
    tables = {"training": {"epochs": EPOCHS}, "arms": {"identity": ARM}}
    grid = {"depths": list(ACCURACIES["plain"]), "seeds": list(range(runs // PER_SEED))}
    return resolve(None, {}, [], {**grid, **tables})


def plant_sweep(folder: Path, runs: int) -> SweepStore:
    """Writes a sweep whose runs have all finished, with the records that a training leaves, but no weights.

    A smaller one that was planted in the folder grows by the runs that it lacks. Files are not synced,
    because nobody needs them after a crash.
    """
    config, store, numbers = plan_sweep(runs), SweepStore(folder), random.Random(runs)
    folder.mkdir(parents=True, exist_ok=True)
    store.plan.write_text(config.to_toml())
    planted = {*store.names()}
    for run in config.runs():
        if run.run_id not in planted:
            _plant_run(store.run(run.run_id).folder, run, numbers)
    return store


def _plant_run(folder: Path, run: RunConfig, numbers: random.Random) -> None:
    folder.mkdir(parents=True)
    end = ACCURACIES[run.family][run.depth] + numbers.gauss(0, 0.01)
    records, clocks = [], []
    for epoch in range(1, EPOCHS + 1):
        accuracy, loss = end * epoch / EPOCHS, 2.3 - epoch / 10
        records.append(
            EvalRecord(
                epoch=epoch, step=STEPS_PER_EPOCH * epoch, lr=0.1 / epoch,
                train_loss=loss + numbers.random() / 100, train_accuracy=accuracy - 0.02,
                test_loss=loss + numbers.random() / 100, test_accuracy=round(accuracy, 4),
                clean_train_loss=loss, clean_train_accuracy=round(accuracy + 0.01, 4),
            )
        )  # fmt: skip
        clocks.append(
            TimingRecord(
                step=STEPS_PER_EPOCH * epoch, training_seconds=run.depth + numbers.random(),
                evaluation_seconds=1.5, clean_seconds=1.5,
            )
        )  # fmt: skip
    seconds = sum(clock.seconds for clock in clocks)
    summary = RunSummary(
        run_id=run.run_id, status="finished", family=run.family, depth=run.depth, seed=run.seed,
        parameters=15_000 * run.depth, multiply_adds=2_000_000 * run.depth, step=STEPS_PER_EPOCH * EPOCHS,
        steps=STEPS_PER_EPOCH * EPOCHS, data_hash="d" * 64, precision="fp32", train_loss=1.3,
        train_accuracy=end + 0.01, recomputed_train_loss=1.3, recomputed_train_accuracy=end + 0.01,
        running_train_loss=1.3, running_train_accuracy=end - 0.02, test_loss=1.3,
        test_accuracy=round(end, 4), training_seconds=seconds, seconds=seconds,
    )  # fmt: skip
    segment = Segment(
        from_step=0, semantics=1, data_hash="d" * 64, resdeg="0.1.0", code="c" * 12, python="3.12.0",
        torch="2.13.0", numpy="2.4.6", device="cpu", processor="x86_64 AVX512", threads=1, norms="fused",
    )  # fmt: skip
    texts = {
        "config.json": run.model_dump_json(indent=1),
        "metrics.jsonl": "\n".join(record.to_json() for record in records),
        "timing.jsonl": "\n".join(clock.to_json() for clock in clocks),
        "summary.json": summary.to_json(),
        "environment.json": Environment(segments=(segment,)).to_json(),
    }
    for name, text in texts.items():
        (folder / name).write_text(text + "\n")
    (folder / "lock").touch()  # a run leaves its lock behind


# ---------------------------------------------------------------- measuring


class Usage(NamedTuple):
    """What a process took. cpu: seconds of processors, for user and system; mib: the most memory it had."""

    seconds: float
    cpu: float
    mib: float


Run = Callable[[Sequence[str], Path], Usage]  # see `run_command`


def run_command(arguments: Sequence[str], cache: Path) -> Usage:
    """Runs resdeg in a process of its own, with a cache of its own, and measures it.

    Its memory counts at least as much as this process had, of which it begins as a copy.

    Raises:
        SystemExit: the command failed.
    """
    environment = {**os.environ, "RESDEG_CACHE_DIR": str(cache), "RESDEG_OFFLINE": "1"}
    start = time.monotonic()
    with tempfile.TemporaryFile() as output:
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-m", "resdeg", *arguments],
            environment,
            file_actions=[(os.POSIX_SPAWN_DUP2, output.fileno(), stream) for stream in (1, 2)],
        )
        _, status, usage = os.wait4(pid, 0)
        seconds = time.monotonic() - start
        if status != 0:
            output.seek(0)
            said = output.read().decode(errors="replace")[-2000:]
            raise SystemExit(f"resdeg {' '.join(arguments)} failed:\n{said}")
    unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, kilobytes here
    return Usage(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / unit)


def measure_sizes(folder: Path, sizes: Sequence[int], *, run: Run) -> Iterator[tuple[int, Command, Usage]]:
    """Plants a sweep of each size, rising, in `folder` and yields what each command takes on it."""
    plan, new, old, cache = (folder / name for name in ("plan.toml", "free", "planted", "cache"))
    plan.write_text(plan_sweep(PER_SEED).to_toml())
    # The first plan times the steps of two networks, which is no cost of a run.
    run(["sweep", str(plan), "--dry-run", "--out", str(new)], cache)
    for runs in sizes:
        plant_sweep(old, runs)
        plan.write_text(plan_sweep(runs).to_toml())
        for command in COMMANDS:
            arguments = [part.format(plan=plan, old=old, new=new) for part in command.arguments]
            yield runs, command, run(arguments, cache)


def fit_line(sizes: Sequence[float], costs: Sequence[float]) -> tuple[float, float]:
    """Returns the slope of a straight line through the costs, and how much of their variance it explains.

    >>> fit_line([1, 2, 3], [5, 7, 9])
    (2.0, 1.0)
    """
    mean_size, mean_cost = sum(sizes) / len(sizes), sum(costs) / len(costs)
    spread = sum((size - mean_size) ** 2 for size in sizes)
    together = sum((size - mean_size) * (cost - mean_cost) for size, cost in zip(sizes, costs, strict=True))
    total = sum((cost - mean_cost) ** 2 for cost in costs)
    return together / spread, together**2 / (spread * total) if total else 1.0


def name_misses(usages: Mapping[Command, Sequence[Usage]], sizes: Sequence[int]) -> list[str]:
    """Returns a line for each limit that a command misses."""
    missed = []
    for command, own in usages.items():
        cpu, mib = max(usage.cpu for usage in own), max(usage.mib for usage in own)
        _, r2 = fit_line(sizes, [usage.cpu for usage in own])
        if cpu > command.most_seconds:
            missed.append(f"{command.name}: {cpu:.1f} s of processors, at most {command.most_seconds}")
        if mib > MOST_MIB:
            missed.append(f"{command.name}: {mib:.0f} MiB, at most {MOST_MIB}")
        if r2 < LEAST_R2:
            missed.append(f"{command.name}: R2 of a line {r2:.4f}, at least {LEAST_R2}")
    return missed


def main(sizes: Sequence[int] = SIZES, *, run: Run = run_command) -> int:
    """Prints what each command takes at each size, and which limits are missed; returns 1 if any is."""
    usages: dict[Command, list[Usage]] = {command: [] for command in COMMANDS}
    print(f"{'command':22} {'runs':>7} {'wall s':>7} {'cpu s':>7} {'MiB':>5}", flush=True)
    with tempfile.TemporaryDirectory(prefix="resdeg-scale-") as folder:
        for runs, command, usage in measure_sizes(Path(folder), sizes, run=run):
            usages[command].append(usage)
            seconds = f"{usage.seconds:>7.1f} {usage.cpu:>7.1f}"
            print(f"{command.name:22} {runs:>7,} {seconds} {usage.mib:>5.0f}", flush=True)
    print(f"\n{'command':22} {'ms a run':>8} {'R2':>7}")
    for command, own in usages.items():
        slope, r2 = fit_line(sizes, [usage.cpu for usage in own])
        print(f"{command.name:22} {1000 * slope:>8.2f} {r2:>7.4f}")
    missed = name_misses(usages, sizes)
    print(*(f"missed: {line}" for line in missed), sep="\n")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main(sorted(int(size) for size in sys.argv[1:]) or SIZES))
