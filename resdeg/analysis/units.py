"""Units of effects: how a number in them is written."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Unit:
    """A unit: a number is shown times `scale`, with so many decimals."""

    name: str
    scale: float
    decimals: int

    def spell(self, value: float, signed: bool = True) -> str:
        """A number, with a minus that is one.

        >>> POINTS.spell(-0.021), NATS.spell(0.01, signed=False)
        ('\u22122.1', '0.010')
        """
        shown = f"{self.scale * value:{'+' if signed else ''}.{self.decimals}f}"
        return shown.lstrip("+-") if float(shown) == 0 else shown.replace("-", "\N{MINUS SIGN}")


POINTS = Unit("points", 100.0, 1)
NATS = Unit("nats", 1.0, 3)
HALVINGS = Unit("halvings", 1.0, 2)
