"""The way of the registered sweep on a small grid: its order, stops, and what of it is published."""

from __future__ import annotations

import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from resdeg.config import SweepConfig, read_toml, resolve, validate
from resdeg.store import SweepStore
from resdeg.sweep import conduct
from resdeg.sweep.supervisor import StopRequests
from tests.export import export

ROOT = Path(__file__).parents[2]
GRID = (
    "--depths", "2,8", "--seeds", "10-11", "--jobs", "1", "--epochs", "4",
    "--set", "execution.order=seed", "--set", "execution.snapshots=2",
)  # fmt: skip


def small(resdeg, tiny_toml: Path, out: str, *more: object) -> str:
    done = resdeg("sweep", tiny_toml, *GRID, "--out", out, *more)
    assert done.returncode == 0, done.stderr
    return str(done.stderr)


@pytest.mark.slow
def test_a_sweep_that_was_stopped_has_the_bits_and_the_order_of_one_that_was_not(
    resdeg, tiny_toml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal after every third event of a worker, until nothing is left."""
    whole = small(resdeg, tiny_toml, "whole")
    ends = re.findall(r"^(\S+-s\d+)-\S+ finished", whole, re.MULTILINE)
    in_order = ["plain-d8", "residual-d8", "plain-d2"]
    assert ends == [f"{network}-s{seed}" for seed in (10, 11) for network in in_order]
    run_sweep = conduct.run_sweep

    def stopping(*arguments, **named) -> Iterator[object]:
        requests = StopRequests()
        for number, event in enumerate(run_sweep(*arguments, requests=requests, **named)):
            if number == 3 and not isinstance(event, conduct.Over):  # the first event is that it has begun
                requests.number = signal.SIGINT
            yield event

    monkeypatch.setattr(conduct, "run_sweep", stopping)
    stops = 0
    while resdeg("sweep", tiny_toml, *GRID, "--out", "parts").returncode == 128 + signal.SIGINT:
        stops += 1
        assert stops < 100
    assert stops > 3
    unbroken, stopped = SweepStore(tmp_path / "whole"), SweepStore(tmp_path / "parts")
    assert unbroken.run_ids() == stopped.run_ids()
    segments = [len(stopped.run(run_id).environment().segments) for run_id in stopped.run_ids()]
    assert max(segments) > 1, "some run was continued"
    for run_id in unbroken.run_ids():
        for name in ("metrics.jsonl", "config.json"):
            bits = [(store.run(run_id).folder / name).read_bytes() for store in (unbroken, stopped)]
            assert bits[0] == bits[1], (run_id, name)


@pytest.mark.slow
def test_only_ended_runs_are_published_and_without_weights(resdeg, tiny_toml: Path, tmp_path: Path) -> None:
    small(resdeg, tiny_toml, "out")
    store = SweepStore(tmp_path / "out")
    stopped = next(run_id for run_id in store.run_ids() if run_id.startswith("plain-d8-s11"))
    folder = store.run(stopped).folder
    summary = store.run(stopped).summary().model_copy(update={"status": "stopped"})
    (folder / "summary.json").write_text(summary.to_json())
    names = export(tmp_path / "out", tmp_path / "published")
    assert stopped not in names
    assert sorted(path.name for path in (tmp_path / "published" / "runs").iterdir()) == names
    assert len(names) == len(store.run_ids()) - 1
    left = {path.name for path in (tmp_path / "published").rglob("*")}
    assert not left & {"checkpoint", "snapshots", "lock"}
    said = resdeg("report", "published")
    assert "interim, 1 of 2 seeds" in said.stdout, said.stderr
    shutil.rmtree(folder)
    assert export(tmp_path / "out", tmp_path / "published") == names, (
        "a second export leaves the first one whole"
    )


def test_the_registered_sweep_is_as_it_was_registered() -> None:
    """Its configuration is planned as the published folder says, as far as there is one."""
    config = resolve(ROOT / "configs" / "cifar10.toml", {}, [], {})
    assert (config.seeds, config.depths) == (tuple(range(10, 17)), (2, 8, 14, 20, 56))
    assert (config.claims.depth, config.execution.order, config.execution.snapshots) == (20, "seed", 3)
    published = ROOT / "results" / "cifar10" / "sweep.toml"
    if published.is_file():
        begun = validate(SweepConfig, {"sweep": read_toml(published)})
        assert begun.registration is not None
        assert (begun.registration.version, begun.registration.seeds, begun.registration.depth) == (2, 7, 20)
        assert [run.run_id for run in begun.runs()] == [run.run_id for run in config.runs()]
