"""Where the seconds of a run go, on a clock that never steps back."""

from __future__ import annotations

import time
from typing import Literal

from resdeg.records import TimingRecord

Part = Literal["training", "evaluation", "clean"]


class Clock:
    """Seconds of each part since the last record; a run begins with training."""

    def __init__(self) -> None:
        self._spent: dict[Part, float] = {"training": 0.0, "evaluation": 0.0, "clean": 0.0}
        self._part: Part = "training"
        self._turned = self._saved = time.monotonic()

    def turn_to(self, part: Part) -> None:
        """From now on seconds are those of `part`."""
        now = time.monotonic()
        self._spent[self._part] += now - self._turned
        self._part, self._turned = part, now

    def record(self, step: int) -> TimingRecord:
        """The line of `step`; what follows is training, and of the next line."""
        self.turn_to("training")
        spent = {f"{part}_seconds": seconds for part, seconds in self._spent.items()}
        self._spent = dict.fromkeys(self._spent, 0.0)
        return TimingRecord(step=step, **spent)

    def saved(self) -> None:
        self._saved = time.monotonic()

    def since_save(self) -> float:
        return time.monotonic() - self._saved
