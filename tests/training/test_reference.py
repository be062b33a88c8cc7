"""The engine against separate code: numpy augmentation, NCHW float64, hand-written SGD and batch norm."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from resdeg import data
from resdeg.config import DataConfig, HierarchyConfig
from resdeg.data.batch_plan import batch_plan
from resdeg.models import fast
from resdeg.runner import Trainer
from resdeg.training.loop import make_eager_step
from resdeg.training.schedule import Schedule

PAD, BATCH, STEPS, RATE = 2, 16, 3, 0.05
DATA = DataConfig(
    name="hierarchy", hierarchy=HierarchyConfig(levels=3, cell=1, train_images=40, test_images=10)
)


def reference_batch(split, plan: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Image by image: standardise, pad with zeros, crop, flip. (B, 3, H, W) float64."""
    images = []
    for packed in plan.tolist():
        index, row, column, flip = packed >> 9, packed >> 5 & 15, packed >> 1 & 15, packed & 1
        image = (split.images[index].astype(np.float64) / 255 - mean) / scale
        side = image.shape[0]
        padded = np.pad(image, ((PAD, PAD), (PAD, PAD), (0, 0)))
        crop = padded[row : row + side, column : column + side]
        images.append((crop[:, ::-1] if flip else crop).transpose(2, 0, 1))
    return np.stack(images)


def reference_forward(
    values: dict[str, torch.Tensor], x: torch.Tensor, family: str, blocks: int
) -> torch.Tensor:
    """The network of He et al. 2015 by functions alone, batch norm written out, option A by hand."""

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        mean = x.mean((0, 2, 3), keepdim=True)
        variance = ((x - mean) ** 2).mean((0, 2, 3), keepdim=True)
        shape = (1, -1, 1, 1)
        normed = (x - mean) / torch.sqrt(variance + 1e-5)
        return normed * values[f"{name}.weight"].view(shape) + values[f"{name}.bias"].view(shape)

    x = norm(functional.conv2d(x, values["stem.weight"], padding=1), "stem_norm").clamp(min=0)
    for stage in range(3):
        for block in range(blocks):
            name, stride = f"stages.{stage}.{block}", 2 if stage and not block else 1
            inner = functional.conv2d(x, values[f"{name}.conv1.weight"], stride=stride, padding=1)
            inner = norm(inner, f"{name}.norm1").clamp(min=0)
            out = norm(functional.conv2d(inner, values[f"{name}.conv2.weight"], padding=1), f"{name}.norm2")
            if family == "residual":
                around = x[:, :, ::stride, ::stride]
                zeros = torch.zeros(len(x), out.shape[1] - x.shape[1], *around.shape[2:], dtype=x.dtype)
                out = out + torch.cat([around, zeros], 1)
            x = out.clamp(min=0)
    return x.mean((2, 3)) @ values["head.weight"].T + values["head.bias"]


@pytest.mark.parametrize("kind", ["eager", "static"])
@pytest.mark.parametrize("family", ["plain", "residual"])
@pytest.mark.parametrize("fusing", [True, False])
def test_three_steps_equal_separate_code_to_rounding(
    tiny_run, family: str, kind: str, fusing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights, momentum and losses, in float64, over batches that straddle an epoch."""
    if fusing and fast.library() is None:
        pytest.skip("the norms are torch's: no C++ compiler was there when resdeg was installed")
    calls: list[str] = []
    compiled = fast.call
    monkeypatch.setattr(
        fast, "call", lambda name, *arguments: (calls.append(name), compiled(name, *arguments))
    )
    settings = {"batch_size": BATCH, "pad": PAD, "flip": True, "lr": RATE, "schedule": "constant"}
    settings |= {"fused": fusing}
    config = tiny_run(family, 14, data=DATA, training=settings)
    dataset = data.load(DATA)
    trainer = Trainer.from_config(config, dataset, device=torch.device("cpu"))
    state = trainer.state
    state.model.double()
    state.losses = state.losses.double()
    for parameter in state.model.parameters():
        state.optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    values = {
        name: value.detach().clone().contiguous().requires_grad_()
        for name, value in state.model.named_parameters()
    }
    velocity = {name: torch.zeros_like(value) for name, value in values.items()}

    pixels = dataset.train.images.astype(np.float64) / 255
    mean, scale = pixels.mean(0), np.sqrt(((pixels - pixels.mean((0, 1, 2))) ** 2).mean((0, 1, 2)))
    given: list[tuple[torch.Tensor, torch.Tensor]] = []
    if kind == "eager":
        schedule = Schedule(config.training, [STEPS])
        take_step = make_eager_step(state, schedule, batch_at=lambda step: given[0])
    else:
        take_step = trainer.make_static_step()
        take_step.batch_from_plan = lambda plan: given[0]
    losses = []
    for step in range(STEPS):
        plan = batch_plan(config.seed, step, batch=BATCH, images=len(dataset.train), pad=PAD, flip=True)
        images = torch.from_numpy(reference_batch(dataset.train, plan, mean, scale))
        labels = torch.from_numpy(dataset.train.labels[plan >> 9].astype(np.int64))
        ours, our_labels = trainer.batch_at(step)
        assert torch.equal(our_labels, labels)
        # The engine standardises in float32: the batch agrees to its rounding, then goes on in float64.
        assert torch.allclose(ours.double(), images, atol=2e-6)
        logits = reference_forward(values, images, family, blocks=2)
        loss = (logits.logsumexp(1) - logits.gather(1, labels[:, None])[:, 0]).mean()
        gradients = torch.autograd.grad(loss, list(values.values()))
        with torch.no_grad():
            for (name, value), gradient in zip(values.items(), gradients, strict=True):
                velocity[name] = 0.9 * velocity[name] + gradient + 1e-4 * value
                value -= RATE * velocity[name]
        losses.append(loss.item())
        given[:] = [(images.to(memory_format=torch.channels_last), labels)]
        take_step(step, step)
    assert len(calls) == (2 * 13 * STEPS if fusing else 0)
    assert state.losses[:STEPS].tolist() == pytest.approx(losses, rel=1e-10)
    for name, parameter in state.model.named_parameters():
        torch.testing.assert_close(parameter, values[name], rtol=1e-10, atol=1e-10)
        momentum = state.optimizer.state[parameter]["momentum_buffer"]
        torch.testing.assert_close(momentum, velocity[name], rtol=1e-9, atol=1e-10)


def test_the_reference_can_disagree(tiny_run) -> None:
    """The other family is another function, and a shifted crop another batch."""
    config = tiny_run("residual", 14, data=DATA)
    trainer = Trainer.from_config(config, data.load(DATA), device=torch.device("cpu"))
    model = trainer.state.model.double()
    values = {name: value.detach() for name, value in model.named_parameters()}
    x = torch.randn(4, 3, 8, 8, dtype=torch.float64)
    with torch.no_grad():
        assert torch.allclose(model(x), reference_forward(values, x, "residual", 2), atol=1e-10)
        assert not torch.allclose(model(x), reference_forward(values, x, "plain", 2), atol=1e-3)
