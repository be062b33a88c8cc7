"""What the recorder answers its tasks: messages in order, sessions that a token guards. It needs no Ray."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from resdeg.config import RunConfig
from resdeg.errors import BusyError, StorageError
from resdeg.records import EvalRecord, TimingRecord
from resdeg.store import SweepStore, open_run
from resdeg.sweep.cluster.recorder import Recorder
from resdeg.sweep.workers.messages import unpack_error
from tests.trust.faults import Operations

RECORD = EvalRecord(
    epoch=1, step=8, lr=0.1, train_loss=2.0, train_accuracy=0.2, test_loss=2.0, test_accuracy=0.1
)
TIMING = TimingRecord(step=8, training_seconds=1.0, evaluation_seconds=0.1, clean_seconds=0.0)


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    return Recorder(str(tmp_path))


def claim(recorder: Recorder, run: RunConfig) -> tuple[str, bytes | None]:
    token, tensors = recorder.open(run.model_dump_json())["result"]
    return token, tensors


def test_messages_come_in_their_order_and_once(recorder: Recorder) -> None:
    for number in range(3):
        assert recorder.post("run", {"progress": number})
    assert recorder.take(1.0) == [("run", {"progress": number}) for number in range(3)]
    assert recorder.take(0.0) == []
    recorder.stop()
    assert not recorder.post("run", {"alive": True}), "the answer says whether to stop"


def test_a_session_that_is_called_from_afar_writes_what_it_writes_here(
    recorder: Recorder, tmp_path: Path, tiny_run
) -> None:
    far, near = tiny_run(), tiny_run(seed=1)
    token, tensors = claim(recorder, far)
    assert tensors is None
    calls: list[tuple[str, tuple[Any, ...]]] = [("append", (RECORD, TIMING)), ("commit", (b"tensors", 8, 8))]
    for method, arguments in calls:
        reply = recorder.perform(far.run_id, token, method, arguments)
    assert (reply["step"], reply["recorded"], reply["notices"]) == (8, 8, [])
    recorder.close(far.run_id, token)
    with open_run(SweepStore(tmp_path).run(near.run_id), near) as session:
        for method, arguments in calls:
            getattr(session, method)(*arguments)
    folders = [SweepStore(tmp_path).run(run.run_id).folder for run in (far, near)]
    for name in ("metrics.jsonl", "timing.jsonl", "checkpoint/a.safetensors"):
        assert len({(folder / name).read_bytes() for folder in folders}) == 1, name
    assert claim(recorder, far)[1] == b"tensors", "it goes on from its checkpoint"


def test_a_task_that_was_given_up_writes_nothing_more(recorder: Recorder, tmp_path: Path, tiny_run) -> None:
    run = tiny_run()
    late, _ = claim(recorder, run)
    token, _ = claim(recorder, run)
    reply = recorder.perform(run.run_id, late, "append", (RECORD, TIMING))
    assert isinstance(unpack_error(reply["failed"]), BusyError)
    recorder.close(run.run_id, late)  # what the late one leaves is not the other's
    store = SweepStore(tmp_path).run(run.run_id)
    assert store.metrics() == []
    assert recorder.perform(run.run_id, token, "append", (RECORD, TIMING))["result"] is None
    assert store.metrics() == [RECORD]
    recorder.give_up(run.run_id)
    assert not store.is_running()


def test_a_run_is_given_up_when_what_is_being_written_is_whole(
    recorder: Recorder, tmp_path: Path, tiny_run
) -> None:
    """A task hangs in the write of its record, while another one that tries the run again opens it."""
    run = tiny_run()
    late, _ = claim(recorder, run)
    writing, go_on, opened = threading.Event(), threading.Event(), threading.Event()
    replies: list[dict[str, Any]] = []

    def hang(number: int, name: str, call: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        if name == "write" and arguments[1] == RECORD.to_json().encode() + b"\n":
            writing.set()
            assert go_on.wait(10.0)
        return call(*arguments)

    def append() -> None:
        replies.append(recorder.perform(run.run_id, late, "append", (RECORD, TIMING)))

    def reopen() -> None:
        claim(recorder, run)
        opened.set()

    threads = [threading.Thread(target=target) for target in (append, reopen)]
    with Operations(hang):
        threads[0].start()
        assert writing.wait(10.0)
        threads[1].start()
        early = opened.wait(0.5)
        go_on.set()
        for thread in threads:
            thread.join(10.0)
    assert not early, "two tasks had the run at once"
    assert [reply["result"] for reply in replies] == [None], "the record that was begun was written"
    assert opened.is_set()
    reply = recorder.perform(run.run_id, late, "append", (RECORD, TIMING))
    assert isinstance(unpack_error(reply["failed"]), BusyError)


def test_what_a_session_raises_keeps_its_kind(recorder: Recorder, tmp_path: Path, tiny_run) -> None:
    run = tiny_run()
    store = SweepStore(tmp_path).run(run.run_id)
    store.folder.mkdir(parents=True)
    with open_run(store, run):
        reply = recorder.open(run.model_dump_json())
    assert isinstance(unpack_error(reply["failed"]), BusyError)
    (store.folder / "config.json").write_text("{}")
    assert isinstance(unpack_error(recorder.open(run.model_dump_json())["failed"]), StorageError)
    assert not store.is_running(), "a run that could not be opened is left to others"
