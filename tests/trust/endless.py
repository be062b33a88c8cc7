"""The command, measuring one network without end.

Run as `python -m tests.trust.endless THERE ARGUMENT...`: in the second state `identity` is measured again and
again, however slow this machine is; THERE is a file that gets the worker's process id when it begins to be.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from resdeg.cli import app
from resdeg.sweep import measuring

_measure = measuring._measure


def worker(*arguments: Any) -> None:
    from resdeg.diagnostics import DIAGNOSTICS

    identity, there, states = DIAGNOSTICS["identity"], Path(os.environ["THERE"]), 0

    def measure(model: Any, sample: Any) -> Any:
        nonlocal states
        states += 1
        if states == 2:  # all at once: whoever sees it reads a whole number
            there.with_suffix(".new").write_text(str(os.getpid()))
            there.with_suffix(".new").rename(there)
        while states == 2:
            identity.measure(model, sample)
        return identity.measure(model, sample)

    DIAGNOSTICS["identity"] = replace(identity, measure=measure)
    _measure(*arguments)


if __name__ == "__main__":
    os.environ["THERE"], *arguments = sys.argv[1:]
    measuring._measure = worker
    sys.argv = ["resdeg", *arguments]
    app.main()
