"""What can be known of a run before its first step: that it can be, and how large its network is."""

from __future__ import annotations

import torch

from resdeg import data
from resdeg.config import RunConfig
from resdeg.models import build_model
from resdeg.models.structure import Census, census
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
        UsageError: a name stands in no table, or `device` lacks the arithmetic.
    """
    check_arithmetic(config.training, device)
    learning_rate(config.training, 0, 1)
    shape = data.shape(config.data)
    plan_phases(config, shape.train)
    if config.constructed is not None:
        check_insertable(config.model)
    # The network is a real one on the CPU: on the meta device torch would import sympy, a second in each run.
    model = build_model(config.family, config.depth, config.seed, config.model, classes=shape.classes)
    return census(model, shape.side)
