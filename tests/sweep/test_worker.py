"""What a worker does between two messages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from resdeg.config import ExecutionConfig
from resdeg.sweep.workers.entry import train_run


class Asked:
    """A stop flag without the signal: `raised` is what a handler would set."""

    raised = False

    def __call__(self) -> bool:
        return self.raised


@pytest.mark.parametrize("listens", [True, False])
def test_a_signal_that_comes_during_a_message_is_heard(tmp_path: Path, tiny_run, listens: bool) -> None:
    """And so is that nobody listens any more."""
    asked, said = Asked(), []

    def send(**message: object) -> bool:
        said.append(message)
        asked.raised |= listens  # the handler, while the message is on its way
        return listens

    train_run(tiny_run("plain"), tmp_path, settings=ExecutionConfig(), stop=asked, send=send)  # type: ignore[arg-type]
    assert json.loads(said[-1]["summary"])["status"] == "stopped"
