"""The commit protocol: two generations, one rename, nothing unverified let in."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from resdeg import files
from resdeg.errors import BusyError, StorageError, UsageError
from resdeg.records import DiagnosticRecord, EvalRecord, Manifest, RunSummary, Segment, TimingRecord
from resdeg.store import RunStore, SweepStore, keep_measured, open_run
from tests.trust.faults import Operations

CLOCK = TimingRecord(step=0, training_seconds=1.0, evaluation_seconds=0.5)
SEGMENT = Segment(
    from_step=0, semantics=1, data_hash="d" * 64, resdeg="0", python="3", torch="2", numpy="2", device="cpu",
    processor="x", threads=1,
)  # fmt: skip


def record(step: int) -> EvalRecord:
    return EvalRecord(
        epoch=step, step=step, lr=0.1, train_loss=1.0, train_accuracy=0.5, test_loss=1.0, test_accuracy=0.5
    )


@pytest.fixture
def run(tmp_path: Path, tiny_run):
    """A run with two commits: steps 1 and 2, tensors b"one" and b"two"."""
    config = tiny_run()
    store = SweepStore(tmp_path).run(config.run_id)
    with open_run(store, config) as session:
        session.begin(SEGMENT)
        for step, tensors in ((1, b"one"), (2, b"two")):
            session.append(record(step), CLOCK)
            session.commit(tensors, step, step)
    return store, config


def reopened(run: tuple[RunStore, object]) -> tuple[int, bytes | None, list[str]]:
    store, config = run
    with open_run(store, config) as session:
        return session.step, session.tensors, session.notices


def test_the_newest_generation_is_continued(run) -> None:
    assert reopened(run) == (2, b"two", [])
    assert [r.step for r in run[0].metrics()] == [1, 2]


@pytest.mark.parametrize("name", ["manifest.json", "b.safetensors"])
@pytest.mark.parametrize("damage", ["flip", "cut", "gone"])
def test_damage_to_the_newest_falls_back_to_the_one_before(run, name: str, damage: str) -> None:
    path = run[0].folder / "checkpoint" / name
    content = bytearray(path.read_bytes())
    if damage == "gone":
        path.unlink()
    else:
        content[len(content) // 2] ^= 1
        path.write_bytes(content if damage == "flip" else content[:-1])
    step, tensors, notices = reopened(run)
    assert (step, tensors) == (1, b"one")
    assert notices or damage == "gone"
    assert [r.step for r in run[0].metrics()] == [1], "what is beyond the checkpoint is cut"


class Killed(BaseException):
    """The process ends here; nothing catches this."""


@pytest.mark.parametrize("name", ["manifest.json", "b.safetensors"])
def test_a_kill_in_the_first_commit_after_a_fallback_costs_no_generation(
    run, name: str, tmp_path: Path
) -> None:
    """The kill comes before the nth operation on the disk, for every n."""
    original, config = run
    path = original.folder / "checkpoint" / name
    path.write_bytes(path.read_bytes()[:-1])
    number, ended = 0, False
    while not ended:
        number += 1
        store = SweepStore(tmp_path / f"{number}").run(config.run_id)
        shutil.copytree(original.folder, store.folder)

        def stop(count: int, operation: str, call: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
            if count == number:  # noqa: B023
                raise Killed
            return call(*arguments)

        try:
            with open_run(store, config) as session, Operations(stop):
                session.append(record(2), CLOCK)
                session.commit(b"again", 2, 2)
            ended = True
        except Killed:
            pass
        step, tensors, notices = reopened((store, config))
        assert (step, tensors) in ((1, b"one"), (2, b"again")), f"operation {number}: {notices}"
        assert not (store.folder / "checkpoint.bad-1").exists()
    assert number > 10
    assert (step, tensors) == (2, b"again")


def test_every_single_bit_of_a_manifest_counts(run) -> None:
    path = run[0].folder / "checkpoint" / "manifest.json"
    whole = path.read_bytes()
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        found = run[0].checkpoint()
        assert found is not None
        assert found[1] == b"one", f"bit {bit} went unseen"


def test_without_a_usable_generation_the_old_files_are_kept(run) -> None:
    for name in "ab":
        (run[0].folder / "checkpoint" / f"{name}.safetensors").write_bytes(b"rot")
    step, tensors, notices = reopened(run)
    assert (step, tensors) == (0, None)
    assert "starting over" in notices[-1]
    assert (run[0].folder / "checkpoint.bad-1").is_dir()
    assert (run[0].folder / "metrics.jsonl.bad-1").is_file()
    assert run[0].metrics() == []


def test_a_torn_tail_is_cut_at_every_byte(run) -> None:
    store, config = run
    whole = (store.folder / "metrics.jsonl").read_bytes()
    extra = record(3).to_json().encode() + b"\n"
    for cut in range(len(extra)):
        (store.folder / "metrics.jsonl").write_bytes(whole + extra[:cut])
        assert [r.step for r in store.metrics()] == [1, 2]
        with open_run(store, config) as session:
            assert session.step == 2
        assert (store.folder / "metrics.jsonl").read_bytes() == whole


def test_an_epoch_computed_again_is_compared_with_what_was_recorded(run) -> None:
    store, config = run
    with (store.folder / "metrics.jsonl").open("ab") as log:
        log.write(record(3).to_json().encode() + b"\n" + record(9).to_json().encode() + b"\n")
    with open_run(store, config) as session:
        session.append(record(3), CLOCK)
        assert session.notices == []
        session.append(record(4), CLOCK)
        assert "differs from what was recorded" in session.notices[0]


def test_other_settings_under_the_same_name_are_refused(run) -> None:
    store, config = run
    path = store.folder / "config.json"
    path.write_text(path.read_text().replace('"lr": 0.1', '"lr": 0.2').replace('"lr":0.1', '"lr":0.2'))
    with pytest.raises(StorageError, match="identity mismatch"), open_run(store, config):
        pass


def test_other_data_and_other_semantics_are_refused_and_other_torch_is_said(run) -> None:
    store, config = run
    with open_run(store, config) as session:
        with pytest.raises(UsageError, match="begun on data"):
            session.begin(SEGMENT.model_copy(update={"data_hash": "e" * 64}))
        with pytest.raises(UsageError, match="other numbers"):
            session.begin(SEGMENT.model_copy(update={"semantics": 2}))
        session.begin(SEGMENT.model_copy(update={"torch": "3"}))
        assert "torch 2 -> 3" in session.notices[0]
    assert [s.torch for s in store.environment().segments] == ["2", "3"]


def test_a_run_has_one_owner_and_says_that_it_runs(run) -> None:
    store, config = run
    assert store.state() == "interrupted"
    with open_run(store, config):
        assert store.state() == "running"
        with pytest.raises(BusyError), open_run(store, config):
            pass
    assert SweepStore(store.folder / "x").run("none").state() == "missing"


def test_a_snapshot_that_is_whole_is_not_written_again(run, monkeypatch: pytest.MonkeyPatch) -> None:
    store, config = run
    with open_run(store, config) as session:
        session.snapshot(b"later", 10)
        session.snapshot(b"first", 9)
        with monkeypatch.context() as patch:
            patch.setattr(files, "write", lambda *_: pytest.fail("written again"))
            session.snapshot(b"first", 9)
        assert list(store.snapshots(notices := [])) == [(9, b"first"), (10, b"later")]
        assert notices == []
        session.snapshot(b"anew", 9)  # by a training that started over, on another machine
        assert list(store.snapshots(notices)) == [(9, b"anew"), (10, b"later")]


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_a_damaged_snapshot_is_named_and_never_used(run, damage: str) -> None:
    store, config = run
    with open_run(store, config) as session:
        session.snapshot(b"first", 9)
        session.snapshot(b"later", 10)
        path, _ = sorted((store.folder / "snapshots").iterdir())
        path.write_bytes({"flip": b"girst", "cut": b"firs", "empty": b""}[damage])
        (store.folder / "snapshots" / "notes.txt").write_bytes(b"foreign")
        assert list(store.snapshots(notices := [])) == [(10, b"later")]
        assert notices == [f"{config.run_id}: snapshots/{path.name} is damaged"]
        session.snapshot(b"first", 9)
        assert list(store.snapshots(notices := [])) == [(9, b"first"), (10, b"later")]
        assert notices == []


def test_set_aside_keeps_a_run(run, tmp_path: Path) -> None:
    sweep = SweepStore(tmp_path)
    run_id = sweep.run_ids()[0]
    aside = sweep.set_aside(run_id)
    assert (aside / "metrics.jsonl").is_file()
    assert sweep.run_ids() == []


def test_foreign_files_are_passed_over(run, tmp_path: Path) -> None:
    (tmp_path / "runs" / ".DS_Store").write_bytes(b"x")
    (tmp_path / "runs" / "empty").mkdir()
    assert len(SweepStore(tmp_path).run_ids()) == 1


def test_numbers_that_are_not_finite_stay_strict_json() -> None:
    line = record(1).model_copy(update={"test_loss": float("inf")}).to_json()
    tree = json.loads(line, parse_constant=lambda name: pytest.fail(name))
    assert tree["test_loss"] is None
    assert tree["not_finite"] == {"test_loss": "inf"}
    assert EvalRecord.from_json(line, "x").test_loss is None


def test_why_a_number_is_null_outlives_other_measures(run) -> None:
    store, _ = run
    odd, other = (
        DiagnosticRecord(kind=kind, state="final", name="x", value=float("nan"), images=1)
        for kind in ("identity", "probes")
    )
    keep_measured(store, "identity", "final", [odd])
    keep_measured(store, "probes", "final", [other])
    keep_measured(store, "probes", "final", [other])
    assert store.lines("diagnostics.jsonl") == [r.to_json().encode() for r in (odd, other)]
    assert store.lines("diagnostics.jsonl")[0].endswith(b'"not_finite":{"value":"nan"}}')


def test_records_of_schema_3_are_read_and_say_nothing_of_what_came_later() -> None:
    old = (
        '{"schema_version":3,"epoch":1,"step":8,"lr":0.1,"train_loss":1.0,"train_accuracy":0.5,'
        '"test_loss":null,"test_accuracy":0.5,"validation_loss":null,"validation_accuracy":null,'
        '"not_finite":{"test_loss":"inf"}}'
    )
    read = EvalRecord.from_json(old, "metrics.jsonl:1")
    assert (read.schema_version, read.clean_train_loss, read.clean_train_accuracy) == (3, None, None)
    clocks = '{"schema_version":3,"step":8,"training_seconds":2.0,"evaluation_seconds":1.0}'
    assert TimingRecord.from_json(clocks, "timing.jsonl:1").seconds == 3.0
    ended = (
        '{"schema_version":3,"run_id":"r","status":"finished","family":"plain","depth":8,"seed":0,"step":8,'
        '"parameters":1,"multiply_adds":1,"steps":8,"data_hash":"d","precision":"fp32","train_accuracy":0.5}'
    )
    summary = RunSummary.from_json(ended, "summary.json")
    assert (summary.train_accuracy, summary.recomputed_train_accuracy) == (0.5, None)


def test_a_newer_schema_and_a_damaged_record_are_refused() -> None:
    newer = record(1).model_copy(update={"schema_version": 99}).to_json()
    with pytest.raises(StorageError, match="newer resdeg"):
        EvalRecord.from_json(newer, "x")
    for text in ("", "[]", "{}", '{"epoch": "x"}', "nonsense"):
        with pytest.raises(StorageError, match="damaged"):
            RunSummary.from_json(text, "x")


def test_a_manifest_names_a_plain_file_of_the_folder() -> None:
    with pytest.raises(ValueError, match="file"):
        Manifest(
            generation=1, run_id="r", step=1, recorded=1, file="../x",  # type: ignore[arg-type]
            bytes=0, sha256="", metrics_bytes=0, metrics_sha256="",
        )  # fmt: skip
