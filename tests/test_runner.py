"""One run: to its end, stopped and continued with the same bits, diverged, failed."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from resdeg import runner
from resdeg.runner import check, execute
from resdeg.store import SweepStore
from resdeg.training import state as training_state

CPU = torch.device("cpu")


def signature(store) -> tuple[bytes, str]:
    manifest, _ = store.checkpoint()
    return (store.folder / "metrics.jsonl").read_bytes(), manifest.sha256


def go(folder: Path, config, **options):
    store = SweepStore(folder).run(config.run_id)
    return store, execute(config, store, None, CPU, **options)


def stopped_at(steps):
    """A `stop` that comes true when the run has made one of `steps` in this process."""
    calls = iter(range(10**6))
    return lambda: next(calls) >= steps


def test_a_run_leaves_what_it_should(tmp_path: Path, tiny_run) -> None:
    seen = []
    store, summary = go(tmp_path, tiny_run(), report=seen.append)
    assert (summary.status, summary.step, summary.steps) == ("finished", 24, 24)
    assert [p.record.step for p in seen if p.record] == [8, 16, 24]
    assert store.state() == "finished"
    assert [r.step for r in store.metrics()] == [t.step for t in store.timing()] == [8, 16, 24]
    assert summary.test_accuracy == store.metrics()[-1].test_accuracy
    assert summary.train_accuracy is not None
    assert store.environment().segments[0].threads == 1
    parts = (summary.training_seconds, summary.evaluation_seconds, summary.clean_seconds)
    assert min(*parts, summary.start_seconds) > 0
    assert summary.seconds == pytest.approx(sum(parts))


def test_golden_losses(tmp_path: Path, tiny_run) -> None:
    """A change that should not move numbers shows the same loss; one that does raises SEMANTICS."""
    store, _ = go(tmp_path, tiny_run("residual"))
    assert [r.train_loss for r in store.metrics()] == pytest.approx(GOLDEN, rel=2e-3)


GOLDEN = [2.5412, 2.3614, 2.2145]


@pytest.mark.parametrize("family", ["plain", "residual"])
def test_stopped_at_every_few_steps_it_ends_with_the_same_bits(tmp_path: Path, tiny_run, family: str) -> None:
    config = tiny_run(family)
    straight, _ = go(tmp_path / "a", config)
    starts = 0
    while True:
        store, summary = go(tmp_path / "b", config, stop=stopped_at(7))
        starts += 1
        if summary.status != "stopped":
            break
    assert starts >= 3
    assert signature(store) == signature(straight)
    assert summary.test_loss == straight.summary().test_loss


@pytest.mark.slow
def test_fresh_processes_continue_with_the_same_bits(tmp_path: Path, tiny_run) -> None:
    """Stopped by a real SIGTERM at three random steps, each time continued by a new interpreter."""
    config = tiny_run("residual", training={"epochs": 4})
    straight, _ = go(tmp_path / "a", config)
    script = f"""
import os, signal, sys
from pathlib import Path
import torch
from resdeg.config import RunConfig
from resdeg.runner import execute
from resdeg.store import SweepStore
config = RunConfig.model_validate_json({config.model_dump_json()!r})
asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
def report(progress):
    if progress.step == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGTERM)
store = SweepStore(Path({str(tmp_path / "b")!r})).run(config.run_id)
print(execute(config, store, None, torch.device("cpu"), stop=lambda: bool(asked), report=report).status)
"""
    steps = sorted(random.Random(0).sample(range(2, 31), 3))
    for step, status in [*((s, "stopped") for s in steps), (-1, "finished")]:
        done = subprocess.run(
            [sys.executable, "-c", script, str(step)], capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == status, done.stderr
    assert signature(SweepStore(tmp_path / "b").run(config.run_id)) == signature(straight)


@pytest.mark.parametrize("dropped", ["momentum.", "running.losses", "model.stem_norm.running_mean"])
def test_the_signature_notices_any_state_that_is_not_saved(
    tmp_path: Path, tiny_run, monkeypatch: pytest.MonkeyPatch, dropped: str
) -> None:
    """The guard above can fail: without the momentum (or a buffer) the bits differ."""
    config = tiny_run()
    straight, _ = go(tmp_path / "a", config)
    load = training_state.load_bytes

    def forgetful(state, content, step):
        load(state, content, step)
        for name, tensor in training_state._tensors(state).items():
            if name.startswith(dropped):
                tensor.zero_()

    monkeypatch.setattr(runner, "load_bytes", forgetful)
    go(tmp_path / "b", config, stop=stopped_at(11))
    store, summary = go(tmp_path / "b", config)
    assert summary.status == "finished"
    assert signature(store) != signature(straight)


def test_a_mid_epoch_save_changes_no_bit(tmp_path: Path, tiny_run, monkeypatch: pytest.MonkeyPatch) -> None:
    straight, _ = go(tmp_path / "a", tiny_run())
    monkeypatch.setattr(runner, "SAVE_EVERY", 0.0)
    store, _ = go(tmp_path / "b", tiny_run())
    assert store.checkpoint()[0].generation > straight.checkpoint()[0].generation
    assert signature(store) == signature(straight)


def test_a_killed_last_evaluation_is_all_that_is_done_again(tmp_path: Path, tiny_run) -> None:
    config = tiny_run()
    store, first = go(tmp_path, config)
    (store.folder / "summary.json").unlink()
    seen = []
    _, again = go(tmp_path, config, report=seen.append)
    assert {p.step for p in seen} == {24}, "no step was trained"
    assert again.test_accuracy == first.test_accuracy


def test_divergence_is_a_result(tmp_path: Path, tiny_run) -> None:
    config = tiny_run(training={"lr": 1e9, "schedule": "constant"}, model={"norm": "none"})
    store, summary = go(tmp_path, config)
    assert summary.status == "diverged"
    assert "diverged at epoch 1, step" in summary.reason
    assert store.ended()
    assert summary.test_accuracy is None


def test_an_exception_is_a_failed_run_with_its_traceback(
    tmp_path: Path, tiny_run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("boom\nmore")

    monkeypatch.setattr(runner.Inputs, "batch", broken)
    store, summary = go(tmp_path, tiny_run())
    assert (summary.status, summary.reason) == ("failed", "RuntimeError: boom")
    assert "Traceback" in (store.folder / "error.txt").read_text()
    assert not store.ended()


def test_check_counts_and_refuses(tiny_run) -> None:
    assert check(tiny_run(), CPU).depth == 8
    for bad, told in (({"norm": "bacth"}, "batch"), ({"block": "basics"}, "basic")):
        with pytest.raises(ValueError, match=f"did you mean '{told}'"):
            check(tiny_run(model=bad), CPU)
    with pytest.raises(ValueError, match="schedule"):
        check(tiny_run(training={"schedule": "x"}), CPU)


def test_a_validation_split_is_scored_beside_the_test_set(tmp_path: Path, tiny_run) -> None:
    config = tiny_run()
    held = config.model_copy(update={"data": config.data.model_copy(update={"validation": 56})})
    store, summary = go(tmp_path, held)
    assert summary.steps == round(3 * 200 / 32)
    assert summary.validation_accuracy == store.metrics()[-1].validation_accuracy is not None


def test_paired_seeds_see_the_same_batches(tiny_run) -> None:
    from resdeg import data
    from resdeg.runner import Training

    pair = [tiny_run(family, seed=3) for family in ("plain", "residual")]
    trainings = [Training.of(config, data.load(config.data), CPU) for config in pair]
    for step in (0, 7, 8, 20):
        (a, la), (b, lb) = (t.batch_at(step) for t in trainings)
        assert torch.equal(a, b)
        assert torch.equal(la, lb)


def test_a_net_with_instance_norms_is_scored_in_both_ways(tmp_path: Path, tiny_run) -> None:
    """The bits of training do not depend on the second evaluation, and a resumed run keeps both."""
    config = tiny_run("residual", model={"block": "stargan", "layout": "isotropic", "width": 0.5})
    straight, summary = go(tmp_path / "a", config)
    for record in straight.metrics():
        assert record.image_test_loss is not None
        assert abs(record.image_test_loss - record.test_loss) > 1e-4, "they are two evaluations"
    assert summary.image_test_accuracy == straight.metrics()[-1].image_test_accuracy
    assert summary.image_train_loss is not None
    _, stopped = go(tmp_path / "b", config, stop=stopped_at(9))
    assert stopped.status == "stopped"
    resumed, _ = go(tmp_path / "b", config)
    assert signature(resumed) == signature(straight)
    batch, _ = go(tmp_path / "c", tiny_run("residual"))
    assert batch.metrics()[-1].image_test_loss is None
