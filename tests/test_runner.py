"""One run: to its end, stopped and continued with the same bits, diverged, failed."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

from resdeg import data
from resdeg.config import DataConfig, ExecutionConfig
from resdeg.errors import UsageError
from resdeg.records import Progress, TimingRecord
from resdeg.runner import Inputs, Trainer, check, execute, initial_model, load_model
from resdeg.store import RunSession, RunStore, SweepStore, open_run
from resdeg.training.evaluate import Score
from resdeg.training.state import load_weights
from tests.conftest import ON_CPU, TINY

CPU = torch.device("cpu")


def signature(store) -> tuple[bytes, str]:
    manifest, _ = store.checkpoint()
    return (store.folder / "metrics.jsonl").read_bytes(), manifest.sha256


def go(folder: Path, config, *, snapshots: int = 0, **options):
    store = SweepStore(folder).run(config.run_id)
    execution = ON_CPU.model_copy(update={"snapshots": snapshots})
    return store, execute(config, store, execution, **options)


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
    assert [record.step for record in store.metrics()] == [8, 16, 24]
    assert [line.step for line in store.timing()] == [8, 16, 24]
    assert summary.test_accuracy == store.metrics()[-1].test_accuracy
    assert summary.train_accuracy is not None
    assert store.environment().segments[0].threads == 1
    parts = (summary.training_seconds, summary.evaluation_seconds, summary.clean_seconds)
    assert min(*parts, summary.start_seconds) > 0
    assert summary.seconds == pytest.approx(sum(parts))
    assert all(line.clean_seconds > 0 for line in store.timing())
    assert summary.clean_seconds > sum(line.clean_seconds for line in store.timing())


def test_a_step_that_cannot_be_captured_is_taken_without_a_graph(
    tmp_path: Path, tiny_run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A CPU that claims to capture stands for an operation that CUDA cannot capture."""
    monkeypatch.setattr(ExecutionConfig, "captures", lambda self, device: True)
    seen = []
    store, summary = go(tmp_path / "auto", tiny_run(), report=seen.append)
    assert summary.status == "finished"
    [notice] = [progress.notice for progress in seen if progress.notice]
    assert "its step cannot be captured, so it trains more slowly" in notice
    monkeypatch.undo()
    plain, _ = go(tmp_path / "eager", tiny_run())
    assert signature(store) == signature(plain), "the failed capture has left no trace"


def test_a_graph_that_was_asked_for_is_no_less(tmp_path: Path, tiny_run) -> None:
    store = SweepStore(tmp_path).run(tiny_run().run_id)
    asked = ON_CPU.model_copy(update={"graph": True})
    assert execute(tiny_run(), store, asked).status == "failed"


def test_a_run_without_a_step_left_captures_none(tmp_path: Path, tiny_run) -> None:
    """A capture on a CPU is an error, so only a run that captures none can finish there."""
    store, summary = go(tmp_path, tiny_run(), stop=stopped_at(31))
    assert (summary.status, summary.step) == ("stopped", summary.steps)
    asked = ON_CPU.model_copy(update={"graph": True})
    assert execute(tiny_run(), store, asked).status == "finished"


def test_golden_losses(tmp_path: Path, tiny_run) -> None:
    """A change that should not move numbers shows the same loss; one that does raises SEMANTICS."""
    store, _ = go(tmp_path, tiny_run("residual"))
    assert [record.train_loss for record in store.metrics()] == pytest.approx(GOLDEN, rel=2e-3)


GOLDEN = [2.5412, 2.3614, 2.2145]


@pytest.mark.parametrize("family", ["plain", "residual"])
def test_stopped_at_every_few_steps_it_ends_with_the_same_bits(tmp_path: Path, tiny_run, family: str) -> None:
    config = tiny_run(family)
    straight, _ = go(tmp_path / "a", config)
    starts = 0
    while True:
        # More each time: the numbers at the end are taken in one go.
        store, summary = go(tmp_path / "b", config, stop=stopped_at(7 + starts))
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
from resdeg.config import ExecutionConfig, RunConfig
from resdeg.runner import execute
from resdeg.store import SweepStore
config = RunConfig.model_validate_json({config.model_dump_json()!r})
asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
def report(progress):
    if progress.step == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGTERM)
store = SweepStore(Path({str(tmp_path / "b")!r})).run(config.run_id)
execution = ExecutionConfig(device="cpu")
print(execute(config, store, execution, stop=lambda: bool(asked), report=report).status)
"""
    steps = sorted(random.Random(0).sample(range(2, 31), 3))
    for step, status in [*((s, "stopped") for s in steps), (-1, "finished")]:
        done = subprocess.run(
            [sys.executable, "-c", script, str(step)], capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == status, done.stderr
    assert signature(SweepStore(tmp_path / "b").run(config.run_id)) == signature(straight)


@pytest.mark.parametrize(
    "dropped", ["momentum.", "running.losses", "model.stem_norm.running_mean", "nothing"]
)
def test_the_signature_notices_any_state_that_is_not_saved(tmp_path: Path, tiny_run, dropped: str) -> None:
    """The guard above can fail: without the momentum (or a buffer) the bits differ."""
    config = tiny_run()
    straight, _ = go(tmp_path / "a", config)
    store, _ = go(tmp_path / "b", config, stop=stopped_at(11))
    forget(store, config, dropped)
    store, summary = go(tmp_path / "b", config)
    assert summary.status == "finished"
    assert (signature(store) == signature(straight)) == (dropped == "nothing")


def forget(store: RunStore, config, dropped: str) -> None:
    """Commit the run's checkpoint once more, with zeros in the tensors whose names begin with `dropped`."""
    with open_run(store, config) as session:
        tensors = safetensors.torch.load(session.tensors)
        for name, tensor in tensors.items():
            if name.startswith(dropped):
                tensor.zero_()
        session.commit(safetensors.torch.save(tensors), session.step, session.recorded)


def test_a_mid_epoch_save_changes_no_bit(tmp_path: Path, tiny_run) -> None:
    straight, _ = go(tmp_path / "a", tiny_run())
    store, _ = go(tmp_path / "b", tiny_run(), save_every=0.0)
    assert store.checkpoint()[0].generation > straight.checkpoint()[0].generation
    assert signature(store) == signature(straight)


class Killed(BaseException):
    """The process ends here; nothing catches this."""


def read_timing(store) -> list[TimingRecord]:
    """Every line, also those of a step that a later line replaces."""
    return [TimingRecord.from_json(line, "timing.jsonl") for line in store.lines("timing.jsonl")]


def test_a_run_that_is_killed_within_an_epoch_keeps_its_seconds(tmp_path: Path, tiny_run) -> None:
    """Every step is committed. The fifth is reported before its commit, and the kill comes then."""
    config = tiny_run()

    def kill(progress: Progress) -> None:
        if progress.step == 5:
            raise Killed

    with pytest.raises(Killed):
        go(tmp_path, config, save_every=0.0, report=kill)
    store = SweepStore(tmp_path).run(config.run_id)
    assert store.checkpoint()[0].step == 4
    spent = store.timing()
    assert [line.step for line in spent] == [1, 2, 3, 4]
    assert all(line.training_seconds > 0 for line in spent)
    store, summary = go(tmp_path, config)
    assert [line.step for line in store.timing()] == [1, 2, 3, 4, 8, 16, 24]
    assert store.timing()[:4] == spent
    assert summary.training_seconds == pytest.approx(sum(line.training_seconds for line in store.timing()))


@pytest.mark.parametrize("way", ["committed", "stopped"])
def test_an_epoch_that_is_scored_after_its_commit_has_the_seconds_of_its_steps(
    tmp_path: Path, tiny_run, way: str
) -> None:
    config = tiny_run()
    if way == "stopped":
        go(tmp_path, config, stop=stopped_at(8))
    store, _ = go(tmp_path, config, save_every=0.0 if way == "committed" else 600.0)
    before, after = (line for line in read_timing(store) if line.step == 8)
    assert (before.evaluation_seconds == 0) == (way == "committed")
    assert after.evaluation_seconds > before.evaluation_seconds
    assert after.training_seconds > before.training_seconds > 0
    assert store.timing()[[line.step for line in store.timing()].index(8)] == after


def snapshots(store) -> dict[int, bytes]:
    tensors = dict(store.snapshots(notices := []))
    assert notices == []
    return tensors


def test_snapshots_are_the_weights_after_evenly_spaced_epochs(tmp_path: Path, tiny_run) -> None:
    """Records and checkpoint are those of a run without; the weights those of one that stopped there."""
    config = tiny_run("residual", training={"epochs": 4})
    without, _ = go(tmp_path / "a", config)
    assert not (without.folder / "snapshots").exists()
    store, _ = go(tmp_path / "b", config, snapshots=3)
    assert signature(store) == signature(without)
    weights = snapshots(store)
    assert list(weights) == [8, 16, 24]
    assert len(weights[8]) < 0.6 * len(store.checkpoint()[1]), "no momentum"
    stopped, _ = go(tmp_path / "c", config, stop=stopped_at(20))
    manifest, tensors = stopped.checkpoint()
    assert manifest.step == 16
    there, here = (initial_model(config) for _ in range(2))
    load_weights(there, tensors)
    for step, content in weights.items():
        load_weights(here, content)
        same = map(torch.equal, here.state_dict().values(), there.state_dict().values())
        assert all(same) == (step == 16)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_resumed_run_has_the_same_snapshots(
    tmp_path: Path, tiny_run, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Killed within an epoch's end: just before its weights are kept, or between that and its commit."""
    config = tiny_run()
    straight, _ = go(tmp_path / "a", config, snapshots=2)
    assert list(snapshots(straight)) == [8, 16]
    keep = RunSession.snapshot

    def killed(self, tensors: bytes, step: int) -> None:
        if moment == "after":
            keep(self, tensors, step)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunSession, "snapshot", killed)
        with pytest.raises(KeyboardInterrupt):
            go(tmp_path / "b", config, snapshots=2)
    go(tmp_path / "b", config, snapshots=2, stop=stopped_at(11))
    store, _ = go(tmp_path / "b", config, snapshots=2)
    assert signature(store) == signature(straight)
    assert snapshots(store) == snapshots(straight)


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

    monkeypatch.setattr(Inputs, "batch", broken)
    store, summary = go(tmp_path, tiny_run())
    assert (summary.status, summary.reason) == ("failed", "RuntimeError: boom")
    assert "Traceback" in (store.folder / "error.txt").read_text()
    assert not store.ended()


def test_check_counts_and_refuses(tiny_run) -> None:
    assert check(tiny_run(), CPU).depth == 8
    for bad, near in (({"norm": "bacth"}, "batch"), ({"block": "basics"}, "basic")):
        with pytest.raises(ValueError, match=f"did you mean '{near}'"):
            check(tiny_run(model=bad), CPU)
    with pytest.raises(ValueError, match="schedule"):
        check(tiny_run(training={"schedule": "x"}), CPU)


@pytest.mark.parametrize(
    ("images", "size", "cell", "norm", "possible"),
    [
        (65, 2, 2, "batch", False),
        (65, 3, 2, "batch", True),
        (64, 2, 2, "batch", True),
        (65, 2, 4, "batch", True),
        (65, 2, 2, "none", True),
    ],
)
def test_an_image_alone_in_a_batch_has_no_statistics_where_its_maps_are_of_one_pixel(
    tmp_path: Path, tiny_run, images: int, size: int, cell: int, norm: str, possible: bool
) -> None:
    """It is refused before the first step, and only where the scores at the end would fail."""
    hierarchy = TINY.model_copy(update={"levels": 1, "cell": cell, "train_images": images})
    small = DataConfig(name="hierarchy", hierarchy=hierarchy)
    config = tiny_run(
        data=small, model={"norm": norm}, training={"batch_size": size, "epochs": None, "steps": 40, "pad": 0}
    )
    if possible:
        assert go(tmp_path, config)[1].status == "finished"
    else:
        with pytest.raises(UsageError, match="leave one alone in a batch"):
            go(tmp_path, config)
        assert SweepStore(tmp_path).run(config.run_id).metrics() == []


def test_a_validation_split_is_scored_beside_the_test_set(tmp_path: Path, tiny_run) -> None:
    config = tiny_run()
    held = config.model_copy(update={"data": config.data.model_copy(update={"validation": 56})})
    store, summary = go(tmp_path, held)
    assert summary.steps == round(3 * 200 / 32)
    assert summary.validation_accuracy == store.metrics()[-1].validation_accuracy is not None


def test_paired_seeds_see_the_same_batches(tiny_run) -> None:
    pair = [tiny_run(family, seed=3) for family in ("plain", "residual")]
    trainers = [Trainer.from_config(config, data.load(config.data), device=CPU) for config in pair]
    for step in (0, 7, 8, 20):
        (images, labels), (other_images, other_labels) = (trainer.batch_at(step) for trainer in trainers)
        assert torch.equal(images, other_images)
        assert torch.equal(labels, other_labels)


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
    last = straight.metrics()[-1]
    assert None not in (last.clean_train_loss, last.image_clean_train_loss)
    assert last.image_clean_train_loss != last.clean_train_loss
    assert (summary.recomputed_train_loss, summary.recomputed_train_accuracy) == (None, None)


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_recomputed_statistics_are_scored_where_there_are_any(tmp_path: Path, tiny_run, norm: str) -> None:
    _, summary = go(tmp_path, tiny_run(model={"norm": norm}))
    if norm == "none":
        assert summary.recomputed_train_loss is None
        assert summary.recomputed_train_accuracy is None
    else:
        assert summary.recomputed_train_loss is not None
        assert abs(summary.recomputed_train_loss - summary.train_loss) > 1e-4, "they are two scores"
        assert 0 <= summary.recomputed_train_accuracy <= 1


def test_a_network_is_loaded_from_within_its_folder(
    tmp_path: Path, tiny_run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run's name is that of its folder, which '.' has none of."""
    store, _ = go(tmp_path, tiny_run())
    expected = load_model(store.folder).state_dict()
    monkeypatch.chdir(store.folder)
    here = load_model(".").state_dict()
    assert all(torch.equal(here[name], value) for name, value in expected.items())


def test_the_fixed_images_are_the_same_for_every_run(tiny_run) -> None:
    runs = [tiny_run(), tiny_run("residual", depth=14, seed=7)]
    (images, labels), (other_images, other_labels) = (
        Trainer.from_config(run, data.load(run.data), device=CPU).inputs.fixed for run in runs
    )
    assert torch.equal(images, other_images)
    assert torch.equal(labels, other_labels)
    assert len(labels) == data.shape(runs[0].data).fixed == 60
    few = runs[0].data.model_copy(update={"validation": 226})
    assert len(Inputs.from_dataset(data.load(few), CPU).fixed[1]) == data.shape(few).fixed == 30


def test_a_record_s_clean_score_is_that_of_the_fixed_images(tmp_path: Path, tiny_run) -> None:
    config = tiny_run("residual")
    store, _ = go(tmp_path, config)
    inputs = Inputs.from_dataset(data.load(config.data), CPU)
    images, labels = inputs.fixed
    with torch.no_grad():
        right = load_model(store.folder)(inputs.standardise(images)).argmax(dim=1) == labels
    assert store.metrics()[-1].clean_train_accuracy == pytest.approx(right.double().mean().item())


def test_stopped_while_it_evaluates_it_ends_with_the_same_bits(tmp_path: Path, tiny_run) -> None:
    """At each call of `stop` from the eighth step to the next epoch: test images, then the fixed ones."""
    config = tiny_run()
    straight, _ = go(tmp_path / "a", config)
    for calls in (8, 9, 10):
        store, summary = go(tmp_path / f"b{calls}", config, stop=stopped_at(calls))
        assert (summary.status, summary.step) == ("stopped", 8)
        assert [record.step for record in store.metrics()] == ([8] if calls == 10 else [])
        store, summary = go(tmp_path / f"b{calls}", config)
        assert signature(store) == signature(straight)
        assert summary.clean_seconds > 0
        assert summary.seconds == pytest.approx(
            summary.training_seconds + summary.evaluation_seconds + summary.clean_seconds
        )
        assert min(min(line.training_seconds, line.evaluation_seconds) for line in store.timing()) >= 0


def test_numbers_at_the_end_honour_a_stop(tmp_path: Path, tiny_run) -> None:
    """Three calls of `stop` to score all images, eight for the statistics, three to score by them."""
    config = tiny_run()
    for calls in (31, 35, 42):
        _, summary = go(tmp_path / f"{calls}", config, stop=stopped_at(calls))
        assert (summary.status, summary.step) == ("stopped", 24)
    assert go(tmp_path / "all", config, stop=stopped_at(45))[1].status == "finished"


def test_a_clean_training_loss_that_is_not_finite_is_a_divergence(
    tmp_path: Path, tiny_run, monkeypatch: pytest.MonkeyPatch
) -> None:
    score, calls = Trainer.score, iter(range(9))

    def broken(self: Trainer, name: str, *arguments: object, **options: object) -> dict[str, Score]:
        scores = score(self, name, *arguments, **options)
        if next(calls) == 3:  # It is called for test, clean, test, and the clean images of the second epoch.
            assert name == "clean_train"
            scores[name] = Score(float("nan"), scores[name].accuracy)
        return scores

    monkeypatch.setattr(Trainer, "score", broken)
    store, summary = go(tmp_path, tiny_run())
    assert (summary.status, summary.step) == ("diverged", 16)
    assert store.metrics()[-1].clean_train_loss is None
    assert store.metrics()[-1].test_loss is not None
    (store.folder / "summary.json").unlink()  # as if it had been killed just before
    seen: list[Progress] = []
    _, again = go(tmp_path, tiny_run(), report=seen.append)
    assert (again.status, again.step, again.reason) == ("diverged", 16, summary.reason)
    assert {progress.step for progress in seen} == {16}, "no step was trained"
