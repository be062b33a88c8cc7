"""Where the time of a training step goes, operation by operation."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from resdeg.bench.contenders import LOOPS, Contender
from resdeg.sweep.workers.process import call

WARM_UP = 4  # steps: the first ones fetch memory from the kernel

# What each operation of torch is counted as; any other is of the rest.
_PARTS = {
    "convolution": "convolution, forward",
    "convolution_backward": "convolution, backward",
    "native_batch_norm": "batch norm, forward",
    "native_batch_norm_backward": "batch norm, backward",
    "relu_": "activation",
    "threshold_backward": "activation",
    "add": "addition",
    "add_": "addition",
    "_fused_sgd_": "optimiser",
    "norm_relu": "norm and relu, forward",  # what resdeg.models.fast compiled, additions included
    "norm_relu_backward": "norm and relu, backward",
}
_REST, _OUTSIDE = "input, casts, the rest", "between operations"


@dataclass(frozen=True)
class Part:
    """Operations of one kind in one step: how many, their seconds, their share of the step."""

    name: str
    calls: float
    seconds: float
    share: float


def profile(contender: Contender, steps: int) -> list[Part]:
    """Time every operation of `steps` steps of an engine, in a process of its own; largest first.

    On a CPU an operation has ended when it returns, so its time is its own; timing it costs some
    microseconds, which count as between operations (Python and autograd).

    Raises:
        LostError: the process died.
    """
    answer = call(answer_profile, contender.model_dump_json(), steps, subject="bench: the profiled loop")
    return [Part(**part) for part in answer]


def answer_profile(contender: str, steps: int) -> list[dict[str, object]]:
    """Answer `profile`, in a worker: a Contender as JSON in, what each Part holds out."""
    from torch.utils._python_dispatch import TorchDispatchMode

    from resdeg.models import fast

    seconds: dict[str, float] = defaultdict(float)
    calls: dict[str, int] = defaultdict(int)

    def timed(name: str, operation: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        out = operation()
        part = _PARTS.get(name.removeprefix("aten::"), _REST)
        seconds[part] += time.perf_counter() - start
        calls[part] += 1
        return out

    class Timer(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            return timed(func._schema.name, lambda: func(*args, **(kwargs or {})))

    settings = Contender.model_validate_json(contender)
    run = LOOPS[settings.kind](settings)
    run(WARM_UP)
    compiled = fast.call
    fast.call = lambda name, *arguments: timed(name, lambda: compiled(name, *arguments))
    start = time.perf_counter()
    with Timer():  # type: ignore[no-untyped-call]
        run(steps)
    whole = time.perf_counter() - start
    seconds[_OUTSIDE] = whole - sum(seconds.values())
    return [
        asdict(Part(name, calls[name] / steps, spent / steps, spent / whole))
        for name, spent in sorted(seconds.items(), key=lambda item: -item[1])
    ]
