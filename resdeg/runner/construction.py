"""From a trained shallow network to the deeper one that begins as its equal."""

from __future__ import annotations

import torch

from resdeg.errors import ResdegError
from resdeg.models import CifarNet
from resdeg.models.contexts import in_mode
from resdeg.models.surgery import insert_identities
from resdeg.records import DiagnosticRecord
from resdeg.runner.live import Stop, Training

KIND = "construction"  # of the record that says how equal they are
LARGEST = 1e-3  # difference of two logits that is still rounding


def construct(training: Training, stop: Stop) -> tuple[Training, DiagnosticRecord]:
    """The next part of a run, on a network that computes what the present one does; and how nearly.

    Statistics of the new norms are those of all training images; the difference is the largest of any
    logit of any test image, in evaluation mode and float32.

    Raises:
        Interrupted: `stop` came true.
        ResdegError: the logits are not equal to LARGEST.
    """
    shallow, inputs, after = training.state.model, training.inputs, training.rest[0].config
    assert isinstance(shallow, CifarNet)
    size = after.training.batch_size
    deeper = insert_identities(shallow, after.model, after.depth, inputs.batches(inputs.images, size, stop))
    following = training.followed_by(deeper)
    images, _ = inputs.held["test"]
    largest = 0.0
    with torch.no_grad(), in_mode(shallow, training=False), in_mode(deeper, training=False):
        for batch in inputs.batches(images, size, stop):
            largest = max(largest, float((shallow(batch) - deeper(batch)).abs().max()))
    if not largest <= LARGEST:
        raise ResdegError(f"the constructed network differs from its own by {largest:g} in a logit")
    return following, DiagnosticRecord(
        kind=KIND, state=following.state.step, name="logit_difference", value=largest, images=len(images)
    )
