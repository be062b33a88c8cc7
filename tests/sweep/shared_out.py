"""Planted sweeps whose runs are shared out over folders of shards, and ways to change them."""

from __future__ import annotations

import shutil
from pathlib import Path

from resdeg.store import RunStore, SweepStore
from resdeg.sweep.shards import Shard, choose_share

RUNS = 12  # of the fixture `whole`


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of the runs and the plan, without locks."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith("lock")
    }


def split(store: SweepStore, count: int, folder: Path) -> list[Path]:
    """Shares the runs of a sweep out over folders of shards, as sweeps of them would have left them."""
    config = store.planned()
    assert config is not None
    shards = []
    for number in range(1, count + 1):
        shard = folder / f"shard-{number}"
        (shard / "runs").mkdir(parents=True)
        shutil.copy(store.plan, shard)
        for run in choose_share(config.runs(), Shard(number, count)):
            own = store.run(run.run_id).folder
            if own.exists():
                shutil.copytree(own, shard / "runs" / run.run_id)
        (shard / "shard.json").write_text('{"shard": "of another test", "run_ids": []}')
        (shard / "lock").touch()
        shards.append(shard)
    return shards


def repeated(shards: list[Path], run_id: str) -> tuple[RunStore, RunStore]:
    """Puts a second copy of a run into another shard; returns the first and the second."""
    first = next(shard for shard in shards if (shard / "runs" / run_id).exists())
    second = next(shard for shard in shards if shard != first)
    shutil.copytree(first / "runs" / run_id, second / "runs" / run_id)
    return RunStore(first / "runs" / run_id), RunStore(second / "runs" / run_id)


def change(path: Path, before: bytes, after: bytes) -> None:
    content = path.read_bytes()
    assert before in content
    path.write_bytes(content.replace(before, after))


def unfinished(run: RunStore, lines: int) -> None:
    (run.folder / "summary.json").unlink()
    metrics = run.folder / "metrics.jsonl"
    metrics.write_bytes(b"".join(metrics.read_bytes().splitlines(keepends=True)[:lines]))


def cut_the_end(folder: Path) -> None:
    path = folder / "metrics.jsonl"
    path.write_bytes(path.read_bytes()[:-9])
