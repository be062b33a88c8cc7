"""Measures of a live network, by name: each is one piece of evidence on what its layers do.

Each leaves weights, statistics, modes and the global random state as it found them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from resdeg.diagnostics import gradients, identity, lesions, probes, responses
from resdeg.diagnostics.sample import Number, Sample
from resdeg.models import CifarNet


@dataclass(frozen=True)
class Diagnostic:
    """measure: numbers of one network; images: how many it says it used.

    untrained: whether it says anything of a network at its initial values; only then is it measured at
        snapshots, too.
    """

    measure: Callable[[CifarNet, Sample], list[Number]]
    images: Callable[[Sample], int] = len
    untrained: bool = True


DIAGNOSTICS: dict[str, Diagnostic] = {
    "responses": Diagnostic(responses.measure),
    "identity": Diagnostic(identity.measure),
    "probes": Diagnostic(probes.measure),
    # A net at chance has nothing to lose.
    "lesions": Diagnostic(lesions.measure, untrained=False),
    "gradients": Diagnostic(gradients.measure, images=gradients.count),
}
