"""The command, measuring one network without end.

Run as `python -m tests.trust.endless THERE ARGUMENT...`: in the second state `identity` is measured again and
again, however slow this machine is; THERE is a file that gets the worker's process id when it begins to be.
"""

from __future__ import annotations

import functools
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from resdeg.cli import app
from resdeg.sweep import measuring
from tests.trust import endless


def measure_run(*arguments: Any) -> object:
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
    return measuring.measure_run(*arguments)


if __name__ == "__main__":
    os.environ["THERE"], *arguments = sys.argv[1:]
    # By the module's name: a worker does not import the program that started it.
    measuring.measure = functools.partial(measuring.measure, entry=endless.measure_run)
    sys.argv = ["resdeg", *arguments]
    app.main()
