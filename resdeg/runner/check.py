"""What can be known of a run before its first step: that it can be, and how large its network is."""

from __future__ import annotations

import torch
from torch import nn

from resdeg import data
from resdeg.config import RunConfig
from resdeg.data.images import Shape
from resdeg.errors import UsageError
from resdeg.models import CifarNet, build_model
from resdeg.models.contexts import in_mode
from resdeg.models.structure import Census, census, passes
from resdeg.models.surgery import check_insertable
from resdeg.runner.phases import plan_phases
from resdeg.training.device import check_arithmetic
from resdeg.training.schedule import learning_rate


def check(config: RunConfig, device: torch.device) -> Census:
    """Builds and counts the network of a run that will be trained, so that typos fail before the first step.

    Raises:
        UsageError: a name stands in no table, `device` lacks the arithmetic, or the weights were adopted.
    """
    config.check_trainable()
    return count_network(config, device)


def count_network(config: RunConfig, device: torch.device) -> Census:
    """Builds and counts the network of any run, an adopted one too.

    Raises:
        UsageError: a name stands in no table, `device` lacks the arithmetic, or a batch has no variance.
    """
    check_arithmetic(config.training, device)
    learning_rate(config.training, 0, 1)
    shape = data.shape(config.data)
    plan_phases(config, shape.train)
    if config.constructed is not None:
        check_insertable(config.model)
    # The network is a real one on the CPU: on the meta device torch would import sympy, a second in each run.
    model = build_model(config.family, config.depth, config.seed, config.model, classes=shape.classes)
    _check_batches(model, shape, config.training.batch_size)
    return census(model, shape.side)


def _check_batches(model: CifarNet, shape: Shape, size: int) -> None:
    """Refuses a batch of one image whose maps shrink to one pixel, because one number has no variance.

    Training takes full batches. At its end statistics are recomputed over all images in equal batches, and
    the smallest of these may have one image less than `size`.
    """
    if shape.train // -(-shape.train // size) > 1:
        return
    image = torch.zeros(1, 3, shape.side, shape.side)
    with torch.no_grad(), in_mode(model, training=False):
        sides = [output.shape[-1] for _, _, output in passes(model, image)]
    if 1 in sides and any(isinstance(module, nn.BatchNorm2d) for module in model.modules()):
        raise UsageError(
            f"training.batch_size = {size}: {shape.train} training images leave one alone in a batch, whose "
            "maps of 1x1 have no variance for a batch norm",
            "give a greater training.batch_size",
        )
