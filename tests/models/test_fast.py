"""Norm, addition and ReLU at once, against torch's three operations."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from resdeg import data
from resdeg.config import ModelConfig
from resdeg.models import build_model, fast
from resdeg.models.block import BLOCKS
from resdeg.models.fast import norm_activation, use_fast_forward
from resdeg.models.parts import ACTIVATIONS, NORMS
from resdeg.runner import Training
from resdeg.runner.provenance import segment

CPU = torch.device("cpu")
RELU = nn.ReLU()
Results = list[Tensor]  # output; gradients of x, weight, bias, added; running mean and variance


@pytest.fixture(autouse=True)
def compiled() -> None:
    if fast.library() is None:
        pytest.skip("no C++ compiler was there when resdeg was installed")


def map_of(shape: tuple[int, ...], dtype: torch.dtype, seed: int) -> Tensor:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    shifted = values * 2 + torch.linspace(-3, 3, shape[1]).view(1, -1, 1, 1)  # means unlike the deviations
    return shifted.to(dtype).contiguous(memory_format=torch.channels_last)


def norm_of(channels: int, dtype: torch.dtype) -> nn.Module:
    norm = NORMS["batch"](channels).to(dtype)
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(-0.5, 1.5, channels))
        norm.bias.copy_(torch.linspace(1, -1, channels))
    return norm


def results(x: Tensor, added: Tensor | None, scale: float, dtype: torch.dtype, fusing: bool) -> Results:
    """Results of norm_activation(...) at values of `x`, in the type that x and added are given in."""
    norm = norm_of(x.shape[1], dtype)
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    given = [x, norm.weight, norm.bias]
    if added is not None:
        added = added.clone(memory_format=torch.preserve_format).requires_grad_()
        given.append(added)
    y = norm_activation(norm, RELU, x, added=added, scale=scale, compiled=fusing)
    towards = map_of(tuple(x.shape), x.dtype, 7)
    gradients = torch.autograd.grad(y, given, towards)
    return [y.detach(), *gradients, norm.running_mean, norm.running_var]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the compiled functions, as they are called."""
    made: list[str] = []
    original = fast.call

    def call(name: str, *arguments: object) -> None:
        made.append(name)
        original(name, *arguments)

    monkeypatch.setattr(fast, "call", call)
    return made


@pytest.mark.parametrize("scale", [None, 1.0, 0.5])
@pytest.mark.parametrize(
    "shape", [(3, 4, 8, 8), (2, 16, 6, 6), (5, 64, 3, 3), (3, 128, 5, 5), (4, 1, 4, 4), (300, 32, 4, 4)]
)
def test_it_is_the_three_operations(shape: tuple[int, ...], scale: float | None, calls: list[str]) -> None:
    """In float64, to rounding: output, all gradients, running statistics."""
    kind = torch.float64
    x, added = map_of(shape, kind, 0), None if scale is None else map_of(shape, kind, 1)
    ours = results(x, added, scale or 1.0, kind, fusing=True)
    assert calls == ["norm_relu", "norm_relu_backward"]
    for mine, torchs in zip(ours, results(x, added, scale or 1.0, kind, fusing=False), strict=True):
        torch.testing.assert_close(mine, torchs, rtol=1e-12, atol=1e-12)
    assert len(calls) == 2
    assert all(r.is_contiguous(memory_format=torch.channels_last) for r in ours if r.dim() == 4)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("adding", [False, True])
def test_it_rounds_no_more_than_they_do(kind: torch.dtype, adding: bool) -> None:
    shape = (64, 16, 16, 16)
    x, added = map_of(shape, kind, 0), map_of(shape, kind, 1) if adding else None
    exact = results(x.double(), None if added is None else added.double(), 1.0, torch.float64, fusing=False)
    zero_alike = exact[0].abs() > 0.05  # elsewhere rounding decides whether a gradient passes at all
    for n, (mine, torchs, true) in enumerate(
        zip(
            results(x, added, 1.0, torch.float32, fusing=True),
            results(x, added, 1.0, torch.float32, fusing=False),
            exact,
            strict=True,
        )
    ):
        assert (mine.dtype, mine.shape) == (torchs.dtype, torchs.shape)
        at = zero_alike if n in (0, 1) else torch.ones_like(true, dtype=torch.bool)
        errors = [(r.double() - true)[at].square().mean().sqrt() for r in (mine, torchs)]
        assert errors[0] <= 1.1 * errors[1] + 1e-6 * true.abs().max()


def test_bf16_is_the_arithmetic_of_fp32_rounded_once() -> None:
    x, added = map_of((8, 16, 8, 8), torch.bfloat16, 0), map_of((8, 16, 8, 8), torch.bfloat16, 1)
    half = results(x, added, 1.0, torch.float32, fusing=True)
    whole = results(x.float(), added.float(), 1.0, torch.float32, fusing=True)
    assert torch.equal(half[0], whole[0].bfloat16())
    assert half[0].count_nonzero() > 1000
    for mine, theirs in zip(half[5:], whole[5:], strict=True):
        assert torch.equal(mine, theirs), "the statistics"


def test_its_gradients_are_those_of_its_values() -> None:
    norm = norm_of(4, torch.float64)
    x, added = (map_of((4, 4, 4, 4), torch.float64, seed).requires_grad_() for seed in (3, 4))
    assert torch.autograd.gradcheck(
        lambda x, added: norm_activation(norm, RELU, x, added=added, scale=0.7, compiled=True), (x, added)
    )


def test_a_mean_far_from_zero_costs_no_digits() -> None:
    """A variance as the difference of two sums of squares would have none left at 10,000 deviations."""
    x = (map_of((16, 16, 8, 8), torch.float64, 0) + 20_000).float()
    mine = results(x, None, 1.0, torch.float32, fusing=True)
    true = results(x.double(), None, 1.0, torch.float64, fusing=False)
    torch.testing.assert_close(mine[5].double(), true[5], rtol=1e-5, atol=0)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), "all ones"])
def test_what_is_not_finite_stays_so(kind: torch.dtype, bad: float | str) -> None:
    """In its channel, where it makes every number one that is not; the others' bits are left alone."""
    x = map_of((4, 16, 8, 8), kind, 0)
    sound = results(x, None, 1.0, torch.float64 if kind == torch.float64 else torch.float32, fusing=True)
    if isinstance(bad, float):
        x[2, 5, 3, 3] = bad
    else:  # the NaN that a carry would turn into -0
        whole = {2: torch.int16, 4: torch.int32, 8: torch.int64}[kind.itemsize]
        x.view(whole)[2, 5, 3, 3] = torch.iinfo(whole).max
    spoilt = results(x, None, 1.0, sound[2].dtype, fusing=True)
    others = torch.arange(16) != 5
    for n, (before, after) in enumerate(zip(sound, spoilt, strict=True)):
        channel = 1 if before.dim() == 4 else 0
        kept = [r.movedim(channel, 0)[others] for r in (before, after)]
        assert torch.equal(*kept)
        if n != 3:  # of the bias: the sum of the gradients that came
            assert after.movedim(channel, 0)[5].isnan().any(), n


def test_without_gradients_it_normalises_and_counts_statistics() -> None:
    norm = norm_of(16, torch.float32)
    x = map_of((4, 16, 8, 8), torch.float32, 0)
    with torch.no_grad():
        y = norm_activation(norm, RELU, x, compiled=True)
    torch.testing.assert_close(y, results(x, None, 1.0, torch.float32, fusing=False)[0])
    assert not torch.equal(norm.running_mean, torch.zeros(16))


@pytest.mark.parametrize("scale", [None, 1.0, 0.5])
def test_in_evaluation_it_normalises_by_the_running_statistics(scale: float | None, calls: list[str]) -> None:
    """In bf16, where a map is rounded once instead of two or three times; the statistics are left alone."""
    norm = norm_of(16, torch.float32).eval()
    with torch.no_grad():
        norm.running_mean.copy_(torch.linspace(-3, 3, 16))
        norm.running_var.copy_(torch.linspace(1, 6, 16))
    before = {name: value.clone() for name, value in norm.named_buffers()}
    x, added = map_of((8, 16, 8, 8), torch.bfloat16, 0), None
    if scale is not None:
        added = map_of((8, 16, 8, 8), torch.bfloat16, 1)
    whole = norm.double()(x.double())
    if added is not None:
        whole = whole + scale * added.double()
    norm.float()
    with torch.inference_mode():
        torchs = norm_activation(norm, RELU, x, added=added, scale=scale or 1.0, compiled=False)
        assert not calls
        mine = norm_activation(norm, RELU, x, added=added, scale=scale or 1.0, compiled=True)
    assert calls == ["norm_relu"]
    errors = [(y.double() - whole.clamp(min=0)).square().mean().sqrt() for y in (mine, torchs)]
    assert errors[0] <= errors[1]
    assert errors[0] < 0.01
    assert all(torch.equal(value, before[name]) for name, value in norm.named_buffers())
    norm_activation(norm, RELU, x.clone().requires_grad_(), added=added, compiled=True)
    assert calls == ["norm_relu"], "with gradients, it is torch's"


def test_a_library_of_another_source_is_not_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a `git pull` without an installation: its functions may take other arguments."""
    here = Path(fast.__file__).parent
    for name in (*here.glob("_norm_relu*.so"), here / "norm_relu.cpp"):
        shutil.copy(name, tmp_path)
    monkeypatch.setattr(fast, "__file__", str(tmp_path / "fast.py"))
    fast.library.cache_clear()
    try:
        assert fast.library() is not None
        fast.library.cache_clear()
        (tmp_path / "norm_relu.cpp").write_text("// another")
        assert fast.library() is None
    finally:
        fast.library.cache_clear()


Change = Callable[[nn.Module, Tensor], tuple[nn.Module, Tensor]]
ELSEWHERE: dict[str, Change] = {
    "evaluation": lambda norm, x: (norm.eval(), x),
    "NCHW": lambda norm, x: (norm, x.contiguous()),
    "a number of channels that rows do not hold": lambda norm, x: (
        norm_of(12, torch.float32),
        x[:, :12].contiguous(memory_format=torch.channels_last),
    ),
    "no whole rows": lambda norm, x: (norm, x[:1, :, :1, :3].contiguous(memory_format=torch.channels_last)),
    "another norm": lambda norm, x: (NORMS["instance"](16), x),
    "no norm": lambda norm, x: (NORMS["none"](16), x),
}


@pytest.mark.parametrize("change", ELSEWHERE)
def test_elsewhere_the_operations_are_torch_s(change: str, calls: list[str]) -> None:
    norm, x = ELSEWHERE[change](norm_of(16, torch.float32), map_of((4, 16, 8, 8), torch.float32, 0))
    before = x.clone()
    y = norm_activation(norm, RELU, x, added=x, scale=0.5, compiled=True)
    assert not calls
    assert torch.equal(x, before), "the input is left alone"
    running = {name: value.clone() for name, value in norm.named_buffers()}
    torch.testing.assert_close(y, functional.relu(norm(x) + 0.5 * x))
    assert running.keys() == dict(norm.named_buffers()).keys()


@pytest.mark.parametrize("name", sorted(set(ACTIVATIONS) - {"relu"}))
def test_other_activations_are_torch_s(name: str, calls: list[str]) -> None:
    x = map_of((4, 16, 8, 8), torch.float32, 0)
    y = norm_activation(norm_of(16, torch.float32), ACTIVATIONS[name](), x, compiled=True)
    assert not calls
    torch.testing.assert_close(y, ACTIVATIONS[name]()(norm_of(16, torch.float32)(x)))


@pytest.mark.parametrize("other", ["layout", "type"])
def test_an_addition_of_another_form_is_torch_s(other: str, calls: list[str]) -> None:
    x = map_of((4, 16, 8, 8), torch.float32, 0)
    added = x.contiguous() if other == "layout" else x.bfloat16()
    y = norm_activation(norm_of(16, torch.float32), RELU, x, added=added, compiled=True)
    assert not calls
    torch.testing.assert_close(y, functional.relu(norm_of(16, torch.float32)(x) + added))


@pytest.mark.parametrize("family", ["plain", "residual"])
@pytest.mark.parametrize(("block", "norms"), [("basic", 13), ("preact", 13)])
def test_every_norm_of_a_training_takes_along_what_follows(
    tiny_run, family: str, block: str, norms: int, calls: list[str]
) -> None:
    config = tiny_run(family, depth=14, model={"block": block})
    training = Training.of(config, data.load(config.data), CPU)
    training.eager()(0, 0)
    assert calls == ["norm_relu"] * norms + ["norm_relu_backward"] * norms
    assert segment(config, data.load(config.data), CPU, 0).norms == "fused"
    calls.clear()
    training.scores("test", *training.inputs.held["test"], lambda: False)
    assert not calls, "evaluation in fp32 is torch's, here as in `resdeg diagnose`"


@pytest.mark.parametrize("changed", [{"fused": False}, {"threads": 2}])
def test_a_training_may_do_without(tiny_run, changed: dict[str, object], calls: list[str]) -> None:
    config = tiny_run("residual", training=changed)
    training = Training.of(config, data.load(config.data), CPU)
    try:
        training.eager()(0, 0)
    finally:
        torch.set_num_threads(1)
    assert not calls
    assert segment(config, data.load(config.data), CPU, 0).norms == "torch"


def test_where_it_is_not_compiled_a_training_does_without(tiny_run, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_run("residual")
    dataset = data.load(config.data)
    one = Training.of(config, dataset, CPU)
    assert segment(config, dataset, CPU, 0).norms == "fused"
    monkeypatch.setattr(fast, "library", lambda: None)
    assert segment(config, dataset, CPU, 0).norms == "torch"
    other = Training.of(config, dataset, CPU)
    monkeypatch.undo()
    for training in (one, other):
        take = training.eager()
        for step in range(3):
            take(step, step)
    assert not torch.equal(one.state.losses, other.state.losses), "they differ by rounding,"
    torch.testing.assert_close(one.state.losses, other.state.losses, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("block", sorted(BLOCKS))
@pytest.mark.parametrize("norm", sorted(NORMS))
@pytest.mark.parametrize("family", ["plain", "residual"])
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_a_fast_network_computes_what_its_definition_says(
    activation: str, family: str, norm: str, block: str, compiled: bool
) -> None:
    """Logits and gradients in float64, by maps of 8x8 whose last stage is 2x2; and no name has moved."""
    config = ModelConfig(block=block, norm=norm, activation=activation, width=0.25, shortcut_scale=0.7)
    defined, exchanged = (build_model(family, 14, 1, config).double() for _ in range(2))
    use_fast_forward(exchanged, compiled=compiled)
    assert [*exchanged.state_dict()] == [*defined.state_dict()]
    images = map_of((6, 3, 8, 8), torch.float64, 2)
    for training in (True, False):
        logits = [net.train(training)(images) for net in (defined, exchanged)]
        torch.testing.assert_close(*logits, rtol=1e-10, atol=1e-10)
    losses = [net.train()(images).square().mean() for net in (defined, exchanged)]
    gradients = [
        torch.autograd.grad(loss, [*net.parameters()])
        for loss, net in zip(losses, (defined, exchanged), strict=True)
    ]
    for mine, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-10)
