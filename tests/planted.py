"""Records planted by hand, for tests of what reads them."""

from __future__ import annotations

from pathlib import Path

from resdeg.records import EvalRecord, RunSummary
from resdeg.store import SweepStore
from resdeg.sweep.plan import resolve


def planted(folder: Path, accuracy: dict[tuple[str, int], list[float]], missing: int = 0) -> SweepStore:
    """A finished sweep with these test accuracies by family and depth, a seed each."""
    depths = sorted({depth for _, depth in accuracy})
    seeds = len(next(iter(accuracy.values())))
    config = resolve(None, {}, [], {"depths": depths, "seeds": list(range(seeds)), "training": {"epochs": 2}})
    store = SweepStore(folder)
    folder.mkdir(parents=True)
    store.plan.write_text(config.to_toml())
    for run in list(config.runs())[missing:]:
        run_folder = store.run(run.run_id).folder
        run_folder.mkdir(parents=True)
        (run_folder / "config.json").write_text(run.model_dump_json())
        value = accuracy[run.family, run.depth][run.seed]
        lines = [
            EvalRecord(
                epoch=epoch, step=391 * epoch, lr=0.1, train_loss=1.0,
                train_accuracy=value - 0.02 * (3 - epoch), test_loss=1.0,
                test_accuracy=value - 0.05 * (2 - epoch),
            ).to_json()
            for epoch in (1, 2)
        ]  # fmt: skip
        (run_folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
        summary = RunSummary(
            run_id=run.run_id, status="finished", family=run.family, depth=run.depth, seed=run.seed,
            parameters=1, multiply_adds=1, step=782, steps=782, data_hash="d", precision="fp32",
            train_accuracy=value + 0.01, train_loss=1.0, running_train_accuracy=value, running_train_loss=1.0,
            test_accuracy=value, test_loss=1.0,
        )  # fmt: skip
        (run_folder / "summary.json").write_text(summary.to_json())
    return store


CELLS = {
    ("plain", 8): [0.70, 0.72, 0.71], ("plain", 20): [0.60, 0.64, 0.62],
    ("residual", 8): [0.70, 0.71, 0.72], ("residual", 20): [0.80, 0.82, 0.81],
}  # fmt: skip
