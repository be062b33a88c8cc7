"""What the fork server imports before it forks the first worker."""

from __future__ import annotations

import signal

# Ctrl-C is for the coordinator. Python lets its fork server ignore it only after these imports of seconds.
signal.signal(signal.SIGINT, signal.SIG_IGN)

import torch._dynamo  # noqa: E402 - torch.optim imports it at the first optimiser: once here, not in every worker

import resdeg.runner  # noqa: E402
from resdeg.sweep.workers.entry import die_with_parent  # noqa: E402

__all__ = ["resdeg", "torch"]

# It would leave by itself when the coordinator is gone, but takes two seconds to unload torch.
die_with_parent(signal.SIGKILL)
