"""From a trained shallow network to the deeper one that begins as its equal."""

from __future__ import annotations

import torch

from resdeg.errors import ResdegError
from resdeg.models import CifarNet
from resdeg.models.contexts import in_mode
from resdeg.models.surgery import insert_identities
from resdeg.records import DiagnosticRecord
from resdeg.runner.inputs import Inputs
from resdeg.runner.phases import Phase
from resdeg.training.evaluate import Stop

KIND = "construction"  # The record that says how equal the two networks are is of this kind.
LARGEST = 1e-3  # A larger difference of two logits is more than rounding.


def construct(shallow: CifarNet, phase: Phase, *, inputs: Inputs, stop: Stop) -> CifarNet:
    """Builds the network of `phase`, which computes what `shallow` does.

    The statistics of the new norms are those of all training images.

    Raises:
        Interrupted: `stop` came true.
    """
    config = phase.config
    batches = inputs.batches(inputs.images, config.training.batch_size, stop=stop)
    return insert_identities(shallow, config.model, config.depth, batches)


def compare_logits(
    shallow: CifarNet, deeper: CifarNet, *, phase: Phase, inputs: Inputs, stop: Stop
) -> DiagnosticRecord:
    """Records the largest difference of any logit of any test image, in evaluation mode and float32.

    Args:
        phase: the one that begins with `deeper`.

    Raises:
        Interrupted: `stop` came true.
        ResdegError: the difference is above LARGEST.
    """
    images, _ = inputs.held["test"]
    largest = 0.0
    with torch.no_grad(), in_mode(shallow, training=False), in_mode(deeper, training=False):
        for batch in inputs.batches(images, phase.config.training.batch_size, stop=stop):
            largest = max(largest, float((shallow(batch) - deeper(batch)).abs().max()))
    if not largest <= LARGEST:
        raise ResdegError(f"the constructed network differs from its own by {largest:g} in a logit")
    return DiagnosticRecord(
        kind=KIND,
        state=phase.schedule.first,
        name="logit_difference",
        value=largest,
        images=len(images),
    )
