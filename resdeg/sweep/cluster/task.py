"""What runs inside a Ray task: the training of one run."""

from __future__ import annotations

import contextlib
import functools
import importlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray

from resdeg import files
from resdeg.config import ExecutionConfig, RunConfig
from resdeg.errors import BusyError, UsageError
from resdeg.store import OpenSession, RunStore, Session, open_run
from resdeg.sweep.cluster.streamed import stream_run
from resdeg.sweep.workers.entry import StopFlag, train_run
from resdeg.sweep.workers.messages import pack_error

# Seconds between two messages, whose answers say whether to stop. Each wakes the driver, the recorder and
# Ray's own threads.
MESSAGE_EVERY = 1.0
LINGER = 60.0  # seconds after which a process of a node that was lost has left the run


def warm_up() -> None:
    """Imports what a training needs, so that the first run of this process begins at once."""
    for name in ("torch._dynamo", "resdeg.runner"):
        importlib.import_module(name)


def train_in_task(
    run: str, folder: str, execution: str, *, recorder: Any, probe: tuple[str, str] | None, lease: bool
) -> dict[str, Any]:
    """Trains one run, and returns its last message; see `resdeg.sweep.workers.entry.train_run`.

    Args:
        run: a RunConfig as JSON. execution: an ExecutionConfig as JSON.
        recorder: the actor that hears the run, and writes its records where `probe` is None.
        probe: the path and the content of a file that is seen by every node that shares the folder.
        lease: whether the run needs a lease, because flock does not hold between the hosts.
    """
    config, last = RunConfig.model_validate_json(run), dict[str, Any]()

    def send(**message: Any) -> bool:
        if "summary" in message or "failed" in message:
            last.update(message)
            return True
        try:
            return bool(ray.get(recorder.post.remote(config.run_id, message)))
        except ray.exceptions.RayError:  # the driver is gone
            return False

    send(alive=True)
    if probe is None:
        open_session: OpenSession = functools.partial(stream_run, recorder)
    elif files.read(Path(probe[0])) == probe[1].encode():
        open_session = functools.partial(open_when_left, lease=lease)
    else:
        host = socket.gethostname()
        error = UsageError(f"node {host} does not share {folder}", "go on with --ray-stream")
        return {"failed": pack_error(error)}
    train_run(
        config,
        Path(folder),
        settings=ExecutionConfig.model_validate_json(execution),
        stop=StopFlag(),
        send=send,
        progress_every=MESSAGE_EVERY,
        alive_every=MESSAGE_EVERY,
        open_session=open_session,
    )
    return last


@contextlib.contextmanager
def open_when_left(store: RunStore, config: RunConfig, *, lease: bool) -> Iterator[Session]:
    """Opens a run as `open_run` does, and waits a while for a process of its last attempt to leave it.

    Ray says that a node is lost when it is not heard any more, which its processes may outlive.
    """
    end = time.monotonic() + LINGER
    with contextlib.ExitStack() as stack:
        while True:
            try:
                session = stack.enter_context(open_run(store, config, lease=lease))
                break
            except BusyError:
                if time.monotonic() > end:
                    raise
        yield session
