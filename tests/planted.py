"""Records planted by hand, for tests of what reads them."""

from __future__ import annotations

from pathlib import Path

from resdeg.analysis.judge import Verdict
from resdeg.config import RunConfig, SweepConfig, read_toml, validate
from resdeg.records import DiagnosticRecord, EvalRecord, RunSummary
from resdeg.store import SweepStore
from resdeg.sweep.plan import resolve

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


def _about(mean: float, spread: float, turn: int) -> list[float]:
    """Three seeds about a mean, in one of six patterns."""
    patterns = ((-1, 0, 1), (1, -1, 0), (0, 1, -1), (1, 0, -1), (0, -1, 1), (-1, 1, 0))
    return [mean + spread * step for step in patterns[turn % 6]]


def _near(means: tuple[float, ...], spread: float, turn: int) -> dict[int, list[float]]:
    """Three seeds about each mean, by depth; the same pattern at no two depths, nor for two turns."""
    by_depth = enumerate(zip((8, 20, 56), means, strict=True))
    return {depth: _about(mean, spread, number + turn) for number, (depth, mean) in by_depth}


def _plant(plain: tuple[float, ...], training: tuple[float, ...], residual: tuple[float, ...], spread: float):
    tables = {"plain": _near(plain, spread, 0), "residual": _near(residual, spread, 3)}
    accuracy = {(f, depth): values for f, table in tables.items() for depth, values in table.items()}
    trained = {("plain", depth): values for depth, values in _near(training, spread, 1).items()}
    return {"accuracy": accuracy, "trained": trained}


# Sweeps in which C1 to C4 all come out alike.
PLANTS = {
    Verdict.SUPPORTED: _plant((0.6, 0.9, 0.5), (0.7, 0.95, 0.6), (0.6, 0.9, 0.95), 0.002),
    Verdict.REFUTED: _plant((0.6, 0.7, 0.9), (0.6, 0.8, 0.95), (0.85, 0.9, 0.7), 0.002),
    Verdict.UNDECIDED: _plant((0.7, 0.8, 0.75), (0.7, 0.8, 0.78), (0.7, 0.8, 0.78), 0.1),
}


# ---------------------------------------------------------------- why: C5 to C8

ARMS = {
    "constructed": {"families": "plain", "depths": [20], "constructed": {"from_depth": 8}},
    "slower": {"families": "plain", "depths": [20], "constructed": {"from_depth": 8, "lr": 0.01}},
    "identity": {"families": "plain", "model": {"init": "dirac-mixed", "dirac": 1.0}},
    "linear": {"families": "residual", "model": {"inner_activation": "none"}},
}
_SPREADS = {Verdict.SUPPORTED: 0.001, Verdict.REFUTED: 0.001, Verdict.UNDECIDED: 0.4}


def causes(folder: Path, outcome: Verdict, more_arms: dict[str, object] | None = None) -> SweepStore:
    """A sweep with arms and measured blocks in which C5 to C8 all come out alike."""
    supported, spread = outcome is not Verdict.REFUTED, _SPREADS[outcome]

    def about(mean: float, turn: int) -> list[float]:
        return _about(mean, spread, turn)

    gain = 0.05 if supported else -0.05
    own = 0.5 if supported else 0.3
    store = planted(
        folder,
        {
            ("plain", 8): [0.70, 0.72, 0.71], ("plain", 20): [0.62] * 3,
            ("residual", 8): [0.70, 0.71, 0.72], ("residual", 20): [0.80, 0.82, 0.81],
        },
        losses={("plain", 20): about(own, 0)},
        of_arms={
            "constructed": {"accuracy": {("plain", 20): [0.7] * 3}, "losses": {("plain", 20): about(0.3, 1)}},
            "slower": {"accuracy": {("plain", 20): [0.7] * 3}, "losses": {("plain", 20): about(0.31, 2)}},
            "identity": {
                "accuracy": {
                    ("plain", 8): [0.70, 0.72, 0.71],
                    ("plain", 20): [0.62 + g for g in _about(gain, spread / 4, 3)],
                }
            },
            **{
                name: {"accuracy": {("residual", depth): [0.7] * 3 for depth in (8, 20)}}
                for name in ("linear", *(more_arms or {}))
            },
        },
        arms={**ARMS, **(more_arms or {})},
    )  # fmt: skip
    deep, linear = (0.5, 0.9) if supported else (1.2, 0.4)
    return branches(
        store,
        {
            ("", "residual", 8, "initial"): about(1.3, 0),
            ("", "residual", 8, "final"): about(0.8, 1),
            ("", "residual", 20, "initial"): about(1.0, 2),
            ("", "residual", 20, "final"): about(deep, 3),
            ("linear", "residual", 8, "initial"): about(1.3, 0),
            ("linear", "residual", 8, "final"): about(linear + 0.3 * supported, 4),
            ("linear", "residual", 20, "initial"): about(1.0, 2),
            ("linear", "residual", 20, "final"): about(linear, 5),
        },
    )
