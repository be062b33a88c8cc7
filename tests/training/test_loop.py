"""The loop computes what the recipe says: against plain code, and by its own laws."""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch import nn
from torch.nn import functional

from resdeg.config import TrainingConfig
from resdeg.errors import UsageError
from resdeg.models import build_model
from resdeg.records import EvalRecord
from resdeg.training.device import check_arithmetic, computes_bf16, prepare, resolve_device
from resdeg.training.evaluate import Interrupted, Score, evaluate
from resdeg.training.loop import Divergence, make_eager_step, train
from resdeg.training.schedule import Schedule
from resdeg.training.state import TrainState, load_bytes, new_state, to_bytes

CPU = torch.device("cpu")
CONFIG = TrainingConfig(steps=6, batch_size=8, lr=0.05, schedule="constant")
BF16 = CONFIG.model_copy(update={"precision": "bf16"})
SCHEDULE = Schedule(CONFIG, [3, 6])


def batch_at(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(step)
    return torch.randn(8, 3, 8, 8, generator=generator), torch.randint(0, 10, (8,), generator=generator)


def scores() -> dict[str, Score]:
    return {"test": Score(1.0, 0.5)}


def events_of(
    state: TrainState, schedule: Schedule = SCHEDULE, *, batch_at=batch_at, evaluate=scores, **options
):
    take_step = make_eager_step(state, schedule, batch_at=batch_at)
    return train(state, schedule, take_step=take_step, evaluate=evaluate, **options)


def run(schedule: Schedule = SCHEDULE, model: nn.Module | None = None):
    prepare(schedule.config, torch.device("cpu"))
    state = new_state(build_model("plain", 8) if model is None else model, schedule)
    return state, list(events_of(state, schedule))


def interrupted(events) -> list[EvalRecord | Divergence]:
    """Return what is yielded before the interruption that must follow."""
    before: list[EvalRecord | Divergence] = []
    with pytest.raises(Interrupted):
        before.extend(events)
    return before


def test_records_hold_the_epoch_s_means() -> None:
    state, records = run()
    assert [(record.epoch, record.step) for record in records] == [(1, 3), (2, 6)]
    assert records[1].train_loss == pytest.approx(state.losses.double().mean().item())
    assert all(0 <= record.train_accuracy <= 1 and record.test_accuracy == 0.5 for record in records)


def test_training_learns() -> None:
    schedule = Schedule(CONFIG, [15, 30])
    prepare(CONFIG, torch.device("cpu"))
    state = new_state(build_model("residual", 8), schedule)
    record = next(events_of(state, schedule, batch_at=lambda step: batch_at(0)))
    assert isinstance(record, EvalRecord)
    assert state.losses[14] < 0.3 * state.losses[0]


def test_divergence_is_an_outcome_with_its_place() -> None:
    class Poisoned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.calls = build_model("plain", 8), 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            return self.net(x) * (float("nan") if self.calls == 5 else 1.0)

    _, events = run(model=Poisoned())
    assert isinstance(events[-1], Divergence)
    assert (events[-1].epoch, events[-1].step) == (2, 5)
    assert "nan" in events[-1].reason
    assert len(events) == 2, "the epoch before it has its record"


def test_a_loss_that_is_not_finite_in_evaluation_is_a_divergence_too() -> None:
    state = new_state(build_model("plain", 8), SCHEDULE)
    bad = {"test": Score(float("inf"), 0.1)}
    events = list(events_of(state, evaluate=lambda: bad))
    assert [type(event) for event in events] == [EvalRecord, Divergence]


def test_stop_interrupts_between_two_steps_and_a_record_is_never_given_twice() -> None:
    calls = iter(range(100))
    state = new_state(build_model("plain", 8), SCHEDULE)
    records = interrupted(events_of(state, stop=lambda: next(calls) == 4))
    assert state.step == 4
    assert [record.step for record in records] == [3]
    assert [record.step for record in events_of(state, recorded=3)] == [6]


def test_an_interrupted_evaluation_is_done_again() -> None:
    def stopped() -> dict[str, Score]:
        raise Interrupted

    state = new_state(build_model("plain", 8), SCHEDULE)
    assert interrupted(events_of(state, evaluate=stopped)) == []
    assert state.step == 3
    assert [record.step for record in events_of(state)] == [3, 6]


def test_state_round_trips_and_refuses_another_network() -> None:
    state, _ = run()
    content = to_bytes(state)
    fresh = new_state(build_model("plain", 8, seed=9), SCHEDULE)
    load_bytes(fresh, content, state.step)
    assert to_bytes(fresh) == content
    assert fresh.step == 6
    other = new_state(build_model("plain", 14), SCHEDULE)
    for bad in (lambda: load_bytes(other, content, 6), lambda: load_bytes(fresh, content[:-9], 6)):
        with pytest.raises(Exception, match="checkpoint"):
            bad()


def test_evaluation_is_exact_and_leaves_everything_as_found() -> None:
    model = build_model("plain", 8)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    images = torch.randint(0, 256, (1100, 8, 8, 3), dtype=torch.uint8)
    labels = torch.randint(0, 10, (1100,))
    cast = torch.autocast("cpu", torch.bfloat16, enabled=False)

    def standardise(pixels: torch.Tensor) -> torch.Tensor:
        return pixels.permute(0, 3, 1, 2).float() / 255

    score = evaluate(model, (images, labels), standardise=standardise, cast=cast)
    assert model.training
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    with torch.no_grad():
        logits = model.eval()(standardise(images))
    assert score.accuracy == pytest.approx((logits.argmax(1) == labels).double().mean().item(), abs=1e-3)
    assert score.loss == pytest.approx(functional.cross_entropy(logits, labels).item(), rel=1e-5)
    with pytest.raises(Interrupted):
        evaluate(model, (images, labels), standardise=standardise, cast=cast, stop=lambda: True)


def test_devices_and_precisions_that_are_not_there_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_device("cpu").type == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto").type in ("cpu", "mps")
    with pytest.raises(ValueError, match="device cuda is not on this machine"):
        resolve_device("cuda")
    with pytest.raises(ValueError, match="bf16 is not supported"):
        check_arithmetic(BF16, torch.device("meta"))


@pytest.mark.parametrize(
    ("capabilities", "computed"),
    [
        ({"architecture": "x86_64", "avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, False),
        ({"architecture": "x86_64", "avx512_f": True, "avx512_bf16": True, "amx_bf16": False}, True),
        ({"architecture": "x86_64", "avx512_f": False, "avx512_bf16": False, "amx_bf16": True}, True),
        ({"architecture": "arm64", "bf16": False}, False),
        ({"architecture": "arm64", "bf16": True}, True),
    ],
)
def test_bf16_that_a_cpu_only_emulates_is_refused(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, object], computed: bool
) -> None:
    """torch's own check, which passes every CPU with AVX-512, is not enough."""
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    with contextlib.nullcontext() if computed else pytest.raises(UsageError, match="bf16 is not supported"):
        check_arithmetic(BF16, CPU)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    with pytest.raises(UsageError, match="bf16 is not supported by this cpu"):
        check_arithmetic(BF16, CPU)


@pytest.mark.parametrize("supported", [True, False])
def test_an_older_torch_is_asked_by_its_private_functions(
    monkeypatch: pytest.MonkeyPatch, supported: bool
) -> None:
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: supported, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False, raising=False)
    assert computes_bf16(CPU) == supported


def test_fast_math_is_for_cuda() -> None:
    config = CONFIG.model_copy(update={"fast_math": True})
    check_arithmetic(config, torch.device("cuda"))
    for other in ("cpu", "mps"):
        with pytest.raises(UsageError, match="fast math is for CUDA"):
            check_arithmetic(config, torch.device(other))
    with pytest.raises(UsageError, match="fast math is for CUDA"):
        prepare(config, CPU)


def test_bf16_keeps_weights_statistics_and_momentum_in_fp32() -> None:
    if not computes_bf16(CPU):
        pytest.skip("this CPU has no bf16")
    config = CONFIG.model_copy(update={"precision": "bf16"})
    state, records = run(Schedule(config, [3, 6]))
    assert records[-1].train_loss > 0
    assert {v.dtype for v in state.model.state_dict().values()} == {torch.float32}
    assert {s["momentum_buffer"].dtype for s in state.optimizer.state.values()} == {torch.float32}


@pytest.mark.gpu
def test_the_loop_runs_on_cuda() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    state = new_state(build_model("residual", 8).cuda(), SCHEDULE)

    def on_cuda(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        images, labels = batch_at(step)
        return images.cuda(), labels.cuda()

    assert [record.step for record in events_of(state, batch_at=on_cuda)] == [3, 6]
