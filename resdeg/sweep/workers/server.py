"""What the fork server imports before it forks the first worker."""

from __future__ import annotations

import signal
import sys

import torch._dynamo  # torch.optim imports it at the first optimiser: once here, not a second in every worker

import resdeg.runner
from resdeg.sweep.workers.entry import die_with_parent

__all__ = ["PATH", "resdeg", "torch"]

PATH = (*sys.path,)  # where this process imports from, before a worker gets the path of its caller

# It would leave by itself when the coordinator is gone, but takes two seconds to unload torch.
die_with_parent(signal.SIGKILL)
