"""The table of diagnostics: each row measures one kind of evidence on what the layers of a network do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from resdeg.diagnostics import gradients, identity, lesions, probes, responses
from resdeg.diagnostics.sample import Number, Sample
from resdeg.models import CifarNet


@dataclass(frozen=True)
class Diagnostic:
    """A kind of measurement. It leaves weights, statistics, modes and the global random state as they were.

    measure: returns the numbers of a network.
    images: returns the number of images that `measure` uses.
    untrained: whether a network at its initial values can be measured; only such a kind is measured at
        snapshots, too.
    """

    measure: Callable[[CifarNet, Sample], list[Number]]
    images: Callable[[Sample], int] = len
    untrained: bool = True


DIAGNOSTICS: dict[str, Diagnostic] = {
    "responses": Diagnostic(responses.measure),
    "identity": Diagnostic(identity.measure),
    "probes": Diagnostic(probes.measure),
    # A network at chance has nothing to lose.
    "lesions": Diagnostic(lesions.measure, untrained=False),
    "gradients": Diagnostic(gradients.measure, images=gradients.count_images),
}
