"""What a user may choose about a figure: its size, text, panels and axes; each choice is checked here."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Literal, cast, get_args

from resdeg.errors import UsageError, did_you_mean

X = Literal["depth", "parameters", "multiply-adds"]
Scale = Literal["log", "linear"]
Y = Literal["accuracy", "error", "log-error"]

DPI = 160
INCHES = (1.0, 60.0)
PIXELS = 30_000  # along one side of a PNG; matplotlib draws no more than 65,536
DOTS = (20, 2400)
POINTS = (4.0, 40.0)
TEXT = 10.0  # points
SMALL_TEXT, NARROW = 8.0, 8.0  # points of text in a figure of a --size narrower than so many inches
_UNITS = {"": 1.0, "in": 1.0, "cm": 1 / 2.54, "mm": 1 / 25.4, "pt": 1 / 72.27}
_SIDE = r"(\d+(?:\.\d+)?|\.\d+)\s*(in|cm|mm|pt)?"
_SIZE = re.compile(rf"{_SIDE}\s*[x×,]\s*{_SIDE}", re.IGNORECASE)

_EVERY = {"size", "dpi", "title", "font_size", "panel", "labels"}
_MORE = {"curve": {"x", "scale", "y", "overlay"}, "arms": {"x", "scale", "y"}, "training": {"y"}}


@dataclass(frozen=True)
class FigureOptions:
    """The choices; without any a figure is what it has always been.

    Args:
        size: width and height in inches. dpi: pixels per inch of a PNG.
        title: None stands for one that says what was run, "" for none.
        font_size: that of most text, in points. panel: names of panels; without any, all of them.
        x: what the axis of networks counts. scale: of that axis. y: what the other axis shows; None stands
            for what each panel shows by itself.
        labels: names of the sweeps in titles, legends and tables. overlay: all sweeps share one pair of axes.
    """

    size: tuple[float, float] | None = None
    dpi: int | None = None
    title: str | None = None
    font_size: float | None = None
    panel: tuple[str, ...] = ()
    x: X = "depth"
    scale: Scale = "log"
    y: Y | None = None
    labels: tuple[str, ...] = ()
    overlay: bool = False

    @property
    def given(self) -> list[str]:
        """The names of the choices that were made."""
        return [field.name for field in fields(self) if getattr(self, field.name) != field.default]

    def choose_size(self, width: float, height: float) -> tuple[float, float]:
        """Returns the chosen width and height in inches, or those that the figure would have by itself."""
        return (width, height) if self.size is None else self.size

    @property
    def fitted(self) -> bool:
        """Whether the figure is laid out anew: the legend below the axes, and text broken to fit."""
        return any(name != "dpi" for name in self.given)

    @property
    def points(self) -> float:
        """The size of most text."""
        if self.font_size is not None:
            return self.font_size
        return TEXT if self.size is None or self.size[0] >= NARROW else SMALL_TEXT

    @property
    def spelled_size(self) -> str:
        """The size as a refusal names it."""
        return "this size" if self.size is None else "--size {:.3g}x{:.3g}".format(*self.size)

    def check(self, kind: str, *, sweeps: int) -> None:
        """Refuses choices that a figure of this kind and so many sweeps cannot follow.

        Raises:
            UsageError: there is such a choice.
        """
        for name in self.given:
            if name not in _EVERY | _MORE.get(kind, set()):
                kinds = [other for other, more in _MORE.items() if name in more]
                raise UsageError(
                    f"--{name.replace('_', '-')} is not for --kind {kind}", f"it is for {' and '.join(kinds)}"
                )
        if self.labels and len(self.labels) != sweeps:
            raise UsageError(
                f"--labels names {len(self.labels)}, and {sweeps} {'is' if sweeps == 1 else 'are'} drawn",
                "give a name for each sweep, with commas between them",
            )
        if self.overlay and sweeps == 1:
            raise UsageError("--overlay needs two sweeps", "name the folder of another one")


DEFAULTS = FigureOptions()


def read_options(
    *,
    size: str | Sequence[float] | None = None,
    dpi: int | None = None,
    title: str | None = None,
    font_size: float | None = None,
    panel: str | Iterable[str] | None = None,
    x: str = "depth",
    scale: str = "log",
    y: str | None = None,
    labels: str | Iterable[str] | None = None,
    overlay: bool = False,
) -> FigureOptions:
    """Checks choices as a user writes them.

    Args:
        size: such as "3.25x2.4" in inches, "8cmx6cm", or two numbers in inches.
        panel, labels: names, or text with commas between them; a name in "quotes" may hold a comma.

    Raises:
        UsageError: one of them is unknown or absurd; it says which, and what is possible.
    """
    inches = _read_size(size) if size is not None else None
    if dpi is not None and not DOTS[0] <= dpi <= DOTS[1]:
        raise UsageError(f"--dpi {dpi} is not between {DOTS[0]} and {DOTS[1]}", "300 is usual in print")
    if inches is not None and max(inches) * (DPI if dpi is None else dpi) > PIXELS:
        raise UsageError(f"--size and --dpi together make more than {PIXELS:,} pixels", "make one smaller")
    if font_size is not None and not POINTS[0] <= font_size <= POINTS[1]:
        raise UsageError(
            f"--font-size {font_size:g} is not between {POINTS[0]:g} and {POINTS[1]:g} points",
            "8 or 9 is usual in print",
        )
    return FigureOptions(
        size=inches,
        dpi=dpi,
        title=title,
        font_size=font_size,
        panel=_split("--panel", panel),
        x=cast("X", _choose("--x", x, get_args(X))),
        scale=cast("Scale", _choose("--scale", scale, get_args(Scale))),
        y=None if y is None else cast("Y", _choose("--y", y, get_args(Y))),
        labels=_split("--labels", labels),
        overlay=overlay,
    )


def choose_panels(names: Sequence[str], options: FigureOptions, *, kind: str) -> list[str]:
    """Returns the chosen ones among the names of a figure's panels, in the figure's order.

    Raises:
        UsageError: a chosen one is none of them.
    """
    for name in options.panel:
        if name not in names:
            raise UsageError(
                f"--panel {name} is none of --kind {kind}",
                f"{did_you_mean(name, names)}; its panels: {', '.join(names)}",
            )
    return [name for name in names if name in options.panel] if options.panel else list(names)


def _choose(flag: str, value: str, known: Sequence[str]) -> str:
    if value not in known:
        raise UsageError(f"{flag} {value} is not known", did_you_mean(value, known))
    return value


def _read_size(size: str | Sequence[float]) -> tuple[float, float]:
    example = "give width and height, such as 3.25x2.4 in inches, or 8cmx6cm"
    if isinstance(size, str):
        match = _SIZE.fullmatch(size.strip())
        if match is None:
            raise UsageError(f"--size {size} is not understood", example)
        width, first, height, last = match.groups(default="")
        # 8x6cm is 8 cm wide: who writes one unit means both.
        units = (first or last, last or first)
        sides = [
            float(side) * _UNITS[unit.lower()] for side, unit in zip((width, height), units, strict=True)
        ]
    else:
        sides = [float(side) for side in size]
    shown = size if isinstance(size, str) else "x".join(f"{side:g}" for side in sides)
    if len(sides) != 2 or not all(INCHES[0] <= side <= INCHES[1] for side in sides):
        raise UsageError(f"--size {shown} is not between {INCHES[0]:g} and {INCHES[1]:g} inches", example)
    return sides[0], sides[1]


def _split(flag: str, names: str | Iterable[str] | None) -> tuple[str, ...]:
    if names is None:
        return ()
    listed = next(csv.reader([names], skipinitialspace=True), []) if isinstance(names, str) else [*names]
    stripped = tuple(str(name).strip() for name in listed)
    if not stripped or not all(stripped):
        raise UsageError(f"{flag}: a name is empty", "give names with commas between them")
    return stripped
