"""Units of effects: how a number in them is written, and what one network's is taken to scatter by."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Unit:
    """A unit.

    scale, decimals: how a number is shown. scatter: standard deviation over seeds of one network's number,
    which planning assumes where one seed shows none.
    """

    name: str
    scale: float
    decimals: int
    scatter: float

    def spell(self, value: float, signed: bool = True) -> str:
        """A number, with a minus that is one.

        >>> POINTS.spell(-0.021), NATS.spell(0.01, signed=False)
        ('\u22122.1', '0.010')
        """
        shown = f"{self.scale * value:{'+' if signed else ''}.{self.decimals}f}"
        return shown.lstrip("+-") if float(shown) == 0 else shown.replace("-", "\N{MINUS SIGN}")


POINTS = Unit("points", 100.0, 1, 0.02)  # plain-56 at three epochs (results/precision)
POINTS_PER_DOUBLING = Unit("points per doubling of the depth", 100.0, 1, 0.02)
NATS = Unit("nats", 1.0, 3, 0.05)
HALVINGS = Unit("halvings", 1.0, 2, 0.1)
