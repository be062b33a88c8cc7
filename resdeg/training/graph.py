"""A training step that reads everything from tensors at fixed addresses, so that CUDA can replay it.

Learning rate, batch plan and the slot of the running sums lie on the device; a replay needs nothing
from the host but the call. On a CPU the same step is computed without a graph, which is how it is
tested there.
"""

from __future__ import annotations

import gc
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from resdeg.training.device import autocast
from resdeg.training.gate import GATE, CaptureGate
from resdeg.training.loop import Batch, update
from resdeg.training.schedule import Schedule
from resdeg.training.state import TrainState, load_bytes, to_bytes

CHUNK = 512  # The plans and rates of this many steps are sent to the device at once.
WARM_UP = 3  # A capture takes this many steps before it, and undoes them.

Compute = Callable[[], None]
Record = Callable[[Compute, Compute], Compute]


def record_cuda_graph(warm_up: Compute, compute: Compute) -> Compute:
    """Records what `compute` sends to the device, after `warm_up` on the same stream; returns its replay.

    Raises:
        RuntimeError: the device is not CUDA, or an operation cannot be captured.
    """
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    gc.collect()
    gc.disable()  # A collection inside a capture may free what is being captured.
    try:
        with torch.cuda.stream(stream):
            warm_up()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            compute()
    finally:
        gc.enable()
    replay: Compute = graph.replay
    return replay


class StaticStep:
    """Takes steps of `state`; the host writes its tensors every CHUNK steps and where steps jump.

    Args:
        plan_at: returns the plan (B,) int32 of any step, on the host.
        batch_from_plan: returns the batch of a plan (B,) int32 on the device.
    """

    def __init__(
        self,
        state: TrainState,
        schedule: Schedule,
        *,
        plan_at: Callable[[int], npt.NDArray[np.int32]],
        batch_from_plan: Callable[[Tensor], Batch],
    ) -> None:
        device = state.losses.device
        self.state, self.schedule = state, schedule
        self.plan_at, self.batch_from_plan = plan_at, batch_from_plan
        self.cast = autocast(schedule.config, device)
        self.plans = torch.zeros(CHUNK, len(plan_at(0)), dtype=torch.int32, device=device)
        self.rates = torch.zeros(CHUNK, dtype=state.losses.dtype, device=device)
        self.row = torch.zeros(1, dtype=torch.int64, device=device)
        self.slot = torch.zeros(1, dtype=torch.int64, device=device)
        self.rate = torch.zeros((), dtype=state.losses.dtype, device=device)
        for group in state.optimizer.param_groups:
            group["lr"] = self.rate
        self._chunk = -1
        self._next: tuple[int, int] | None = None  # The device expects this step and this slot.
        self._replay: Compute | None = None

    def __call__(self, step: int, slot: int) -> None:
        """Takes `step`, whose loss and correct count go to `slot` of the running sums."""
        self._prepare(step, slot)
        if self._replay is not None:
            self._replay()
        else:
            self.compute()
        self._next = (step + 1, slot + 1)

    def compute(self) -> None:
        """Computes one step from what lies in the tensors; nothing in it waits for the host."""
        self.rate.copy_(self.rates.index_select(0, self.row)[0])
        batch = self.batch_from_plan(self.plans.index_select(0, self.row)[0])
        loss, correct = update(self.state, batch, self.cast)
        with torch.no_grad():
            self.state.losses.index_copy_(0, self.slot, loss.view(1))
            self.state.correct.index_copy_(0, self.slot, correct.view(1))
            self.row += 1
            self.slot += 1

    def _prepare(self, step: int, slot: int) -> None:
        chunk = step // CHUNK
        if chunk != self._chunk:
            steps = range(chunk * CHUNK, min((chunk + 1) * CHUNK, self.schedule.last))
            rates = [self.schedule.rate_at(each) for each in steps]
            self.plans[: len(steps)] = torch.from_numpy(np.stack([self.plan_at(each) for each in steps]))
            self.rates[: len(steps)] = torch.tensor(rates, dtype=self.rates.dtype)
            self._chunk = chunk
            self._next = None
        if self._next != (step, slot):
            self.row.fill_(step % CHUNK)
            self.slot.fill_(slot)

    def capture(self, *, gate: CaptureGate = GATE, record: Record = record_cuda_graph) -> None:
        """Captures `compute` in one CUDA graph; weights, momentum and sums end as they began.

        A capture takes WARM_UP steps and one more, while no other thread works on the device.

        Args:
            record: records a computation after a warm-up, and returns its replay.

        Raises:
            RuntimeError: the device is not CUDA, or an operation cannot be captured.
        """
        step = self.state.step

        def warm_up() -> None:
            for _ in range(WARM_UP):
                self._next = None
                self._prepare(step, 0)
                self.compute()
            self.state.optimizer.zero_grad(set_to_none=True)

        with gate.capturing():
            before = to_bytes(self.state)
            try:
                self._replay = record(warm_up, self.compute)
            finally:
                load_bytes(self.state, before, step)
                self._next = None
