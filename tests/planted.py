"""Records planted by hand, for tests of what reads them."""

from __future__ import annotations

from pathlib import Path

import tomli_w

from resdeg.analysis.judge import Verdict
from resdeg.config import RunConfig, SweepConfig, read_toml, resolve, validate
from resdeg.records import DiagnosticRecord, EvalRecord, RunSummary
from resdeg.store import SweepStore

Cells = dict[tuple[str, int], list[float]]


def planted(
    folder: Path,
    accuracy: Cells,
    missing: int = 0,
    trained: Cells | None = None,
    losses: Cells | None = None,
    of_arms: dict[str, dict[str, Cells]] | None = None,
    diverged: dict[tuple[str, int], set[int]] | None = None,
    **tables: object,
) -> SweepStore:
    """A finished sweep with these test accuracies by family and depth, a seed each.

    Clean training accuracy is that of `trained`, and a point more than in test where it has none; clean
    training loss that of `losses`, and 1 where it has none. `of_arms`: 'accuracy' and the others of an arm
    of `tables`. `diverged`: the seeds of a cell that did. Nothing is registered, unless `tables` has it.
    """
    grid = {
        "depths": sorted({depth for _, depth in accuracy}),
        "families": list(dict.fromkeys(family for family, _ in accuracy)),
        "seeds": list(range(len(next(iter(accuracy.values()))))),
    }
    config = resolve(None, {}, [], {**grid, "training": {"epochs": 2}, **tables})
    store = SweepStore(folder)
    folder.mkdir(parents=True)
    store.plan.write_text(config.to_toml())
    own = {"accuracy": accuracy, "trained": trained or {}, "losses": losses or {}, "diverged": diverged or {}}
    for run in list(config.grid())[missing:]:
        _plant_run(store, run, own)
    for name, cells in (of_arms or {}).items():
        for run in config.arm_sweeps[name].grid():
            _plant_run(store, run, cells)
    return store


def _plant_run(store: SweepStore, run: RunConfig, cells: dict[str, Cells]) -> None:
    folder, cell = store.run(run.run_id).folder, (run.family, run.depth)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(run.model_dump_json())
    value = cells["accuracy"][cell][run.seed]
    clean = cells["trained"][cell][run.seed] if cell in cells.get("trained", {}) else min(1.0, value + 0.01)
    loss = cells["losses"][cell][run.seed] if cell in cells.get("losses", {}) else 1.0
    lines = [
        EvalRecord(
            epoch=epoch, step=391 * epoch, lr=0.1, train_loss=1.0,
            train_accuracy=value - 0.02 * (3 - epoch), test_loss=1.0,
            test_accuracy=value - 0.05 * (2 - epoch),
        ).to_json()
        for epoch in (1, 2)
    ]  # fmt: skip
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    summary = RunSummary(
        run_id=run.run_id, status="finished", family=run.family, depth=run.depth, seed=run.seed,
        parameters=1, multiply_adds=1, step=782, steps=782, data_hash="d", precision="fp32",
        train_accuracy=clean, train_loss=loss, running_train_accuracy=value, running_train_loss=1.0,
        test_accuracy=value, test_loss=1.0,
    )  # fmt: skip
    if run.seed in cells.get("diverged", {}).get(cell, ()):
        lost = dict.fromkeys(("train_accuracy", "train_loss", "test_accuracy", "test_loss"))
        summary = summary.model_copy(
            update={"status": "diverged", "reason": "the loss is not finite", **lost}
        )
    (folder / "summary.json").write_text(summary.to_json())


def branches(store: SweepStore, ratios: dict[tuple[str, str, int, str], list[float]]) -> SweepStore:
    """The same sweep with ||F(x)|| / ||x|| of two blocks by arm, family, depth and state, a seed each."""
    config = validate(SweepConfig, {"sweep.toml": read_toml(store.plan)})
    grids = {"": config, **config.arm_sweeps}
    for (arm, family, depth, state), values in ratios.items():
        for run in grids[arm].grid():
            if (run.family, run.depth) != (family, depth):
                continue
            folder = store.run(run.run_id).folder
            records = [
                DiagnosticRecord(
                    kind="identity", state=state, name="branch", value=values[run.seed], images=1000,
                    block=block, stage=1,
                )
                for block in (1, 2)
            ]  # fmt: skip
            with (folder / "diagnostics.jsonl").open("a") as lines:
                lines.writelines(record.to_json() + "\n" for record in records)
    return store


def diagnosed(store: SweepStore, snapshots: tuple[int, ...] = (391,)) -> SweepStore:
    """The same sweep with diagnostics of every run: value 0.1 · place + 0.01 · seed, + 1 in plain nets, and
    0.001 · step in snapshots.
    """
    for run_id in store.run_ids():
        run = store.run(run_id).config()
        n = (run.depth - 2) // 6
        kinds: dict[str, list[DiagnosticRecord]] = {
            kind: [] for kind in ("responses", "identity", "probes", "lesions", "gradients")
        }

        def add(kind: str, name: str, layer: int | None, block: int | None, stage: int | None) -> None:
            states = ("final",) if kind == "lesions" else ("initial", *snapshots, "final")
            place = layer or block or 0
            value = 0.1 * place + 0.01 * run.seed + (run.family == "plain")  # noqa: B023
            for state in states:
                kinds[kind].append(  # noqa: B023
                    DiagnosticRecord(
                        kind=kind, state=state, name=name, images=1000,
                        value=value + 0.001 * state if isinstance(state, int) else value,
                        layer=layer, block=block, stage=stage,
                    )
                )  # fmt: skip

        for layer in range(1, run.depth):
            for kind, name in (("responses", "std"), ("gradients", "norm")):
                add(kind, name, layer, layer // 2, max(0, layer - 2) // (2 * n) + 1)
        for block in range(3 * n + 1):
            stage = max(0, block - 1) // n + 1
            add("probes", "accuracy", None, block, stage)
            if block == 0 or (block > n and (block - 1) % n == 0):
                continue
            for name in ("branch", "distance", "cosine", "cka", "linear_residual"):
                add("identity", name, None, block, stage)
            for extent in ("", "_cumulative"):
                for suffix in ("", "_recomputed"):
                    add("lesions", f"accuracy{extent}{suffix}", None, block, stage)
        add("lesions", "intact_accuracy", None, None, None)
        add("gradients", "correlation", None, None, None)
        lines = [record.to_json() for records in kinds.values() for record in records]
        (store.run(run_id).folder / "diagnostics.jsonl").write_text("\n".join(lines) + "\n")
    return store


CELLS = {
    ("plain", 8): [0.70, 0.72, 0.71], ("plain", 20): [0.60, 0.64, 0.62],
    ("residual", 8): [0.70, 0.71, 0.72], ("residual", 20): [0.80, 0.82, 0.81],
}  # fmt: skip


def unregister(folder: Path) -> None:
    """Makes a sweep one whose rules are younger than its records."""
    plan = folder / "sweep.toml"
    tree = read_toml(plan)
    del tree["registration"]
    plan.write_text(tomli_w.dumps(tree))


def _about(mean: float, spread: float, turn: int, seeds: int = 3) -> list[float]:
    """Seeds about a mean, in another order for each turn."""
    steps = (-1, 0, 1, 0.5, -0.5)[:seeds]
    return [mean + spread * steps[(seed + turn) % seeds] for seed in range(seeds)]


def _near(means: tuple[float, ...], spread: float, turn: int, seeds: int) -> dict[int, list[float]]:
    """Seeds about each mean, by depth."""
    by_depth = enumerate(zip((8, 20, 56), means, strict=True))
    return {depth: _about(mean, spread, number + turn, seeds) for number, (depth, mean) in by_depth}


def _plant(
    plain: tuple[float, ...],
    training: tuple[float, ...],
    residual: tuple[float, ...],
    spread: float,
    seeds: int = 3,
) -> dict[str, Cells]:
    tables = {"plain": _near(plain, spread, 0, seeds), "residual": _near(residual, spread, 2, seeds)}
    accuracy = {(f, depth): values for f, table in tables.items() for depth, values in table.items()}
    trained = {("plain", depth): values for depth, values in _near(training, spread, 1, seeds).items()}
    return {"accuracy": accuracy, "trained": trained}


# Sweeps in which C1 to C4 all come out alike.
_UP = ((0.6, 0.9, 0.5), (0.7, 0.95, 0.6), (0.6, 0.9, 0.95))
PLANTS = {
    Verdict.SUPPORTED: _plant(*_UP, 0.002),
    Verdict.REFUTED: _plant((0.9, 0.8, 0.6), (0.6, 0.6, 0.95), (0.9, 0.9, 0.7), 0.002),
    Verdict.UNDECIDED: _plant((0.7, 0.8, 0.75), (0.7, 0.8, 0.78), (0.7, 0.8, 0.78), 0.1),
    Verdict.NOT_ASKED: _plant(*_UP, 0.002, seeds=2),
}


# ---------------------------------------------------------------- why: C5 to C8 and C10

ARMS = {
    "constructed": {"families": "plain", "depths": [20], "constructed": {"from_depth": 8}},
    "slower": {"families": "plain", "depths": [20], "constructed": {"from_depth": 8, "lr": 0.01}},
    "identity": {"families": "plain", "model": {"init": "dirac-mixed", "dirac": 1.0}},
    "orthogonal": {"families": "plain", "model": {"init": "orthogonal"}},
    "linear": {"families": "residual", "model": {"inner_activation": "none"}},
}
STATES = ("initial", 100, 200, 300, "final")


def causes(
    folder: Path, outcome: Verdict, more_arms: dict[str, object] | None = None, **tables: object
) -> SweepStore:
    """A sweep with arms and measured blocks in which C5 to C8 and C10 all come out alike."""
    seeds = 2 if outcome is Verdict.NOT_ASKED else 5
    supported = outcome is not Verdict.REFUTED
    spread = {Verdict.UNDECIDED: 0.4}.get(outcome, 0.001)

    def about(mean: float, turn: int, part: float = 1.0) -> list[float]:
        return _about(mean, part * spread, turn, seeds)

    def plain(deep: float, turn: int) -> dict[tuple[str, int], list[float]]:
        return {("plain", 8): about(0.72, turn, 0.25), ("plain", 20): about(deep, turn + 1, 0.25)}

    store = planted(
        folder,
        plain(0.52, 0) | {("residual", 8): about(0.71, 0, 0.1), ("residual", 20): about(0.81, 1, 0.1)},
        losses={("plain", 20): about(0.5 if supported else 0.3, 0)},
        of_arms={
            **{
                name: {
                    "accuracy": {("plain", 20): about(0.7, 0, 0)},
                    "losses": {("plain", 20): about(loss, turn)},
                }
                for name, loss, turn in (("constructed", 0.3, 1), ("slower", 0.31, 2))
            },
            "identity": {"accuracy": plain(0.72 if supported else 0.55, 3)},
            "orthogonal": {"accuracy": plain(0.54, 2)},
            **{
                name: {"accuracy": {("residual", depth): about(0.7, 0, 0) for depth in (8, 20)}}
                for name in ("linear", *(more_arms or {}))
            },
        },
        arms={**ARMS, **(more_arms or {})},
        **tables,
    )  # fmt: skip
    stays, halved = dict.fromkeys(STATES, 0.9), {"initial": 1.0, **dict.fromkeys(STATES[1:], 0.3)}
    relu, linear = (halved, stays) if supported else (stays, halved)
    branches(
        store,
        {
            (arm, "residual", depth, state): [
                ratio * 2.0**step  # a spread in halvings
                for step in about(0.0, turn + 2 * (state == "initial"), 5 if spread > 0.1 else 1)
            ]
            for turn, (arm, table) in enumerate((("", relu), ("linear", linear)))
            for depth in (8, 20)
            for state, ratio in table.items()
        },
    )
    middle, last = (0.65, 0.6) if supported else (0.6, 0.65)
    probes(store, {7: about(0.6, 0), 8: about(middle, 1), 9: about(last, 2)})
    return store


def probes(store: SweepStore, accuracies: dict[int, list[float]], images: int = 10_000) -> None:
    """Adds accuracies of probes behind blocks of the last stage of plain-20, a seed each."""
    config = validate(SweepConfig, {"sweep.toml": read_toml(store.plan)})
    for run in config.grid():
        if (run.family, run.depth) == ("plain", 20):
            records = [
                DiagnosticRecord(
                    kind="probes", state="final", name="accuracy", value=values[run.seed], images=images,
                    block=block, stage=3,
                )
                for block, values in accuracies.items()
            ]  # fmt: skip
            with (store.run(run.run_id).folder / "diagnostics.jsonl").open("a") as lines:
                lines.writelines(record.to_json() + "\n" for record in records)
