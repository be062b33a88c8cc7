"""The look of figures: two themes, one colour and one marker per family, bytes that repeat."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

from resdeg.errors import UsageError, did_you_mean
from resdeg.report.canvas import Figure, default_settings
from resdeg.report.letters import fill_letters
from resdeg.report.options import DPI
from resdeg.report.printing import remove_date, without_transparency, write_pgf

LineStyle = Literal["-", "--", "-.", ":"]
Stroke = LineStyle | tuple[int, tuple[int, ...]]
# The strokes of sweeps that share one pair of axes.
STROKES: tuple[Stroke, ...] = ("-", "--", ":", "-.", (0, (7, 2, 2, 2, 2, 2)), (0, (1, 4)))


@dataclass(frozen=True)
class Ink:
    """The look of one family. weight: of its lines and markers, compared with those beside text of 10 points.

    The colours come from Okabe and Ito's set, which every kind of eye can distinguish; in grey print the
    marker and its filling differ.
    """

    colour: str
    marker: str
    filled: bool
    weight: float = 1.0


@dataclass(frozen=True)
class Theme:
    """Colours, the size of text compared with 10 points, and the pixels per inch of a program's figure."""

    paper: str
    text: str
    faint: str
    families: dict[str, Ink]
    weight: float = 1.0
    dpi: float = 100.0

    def points(self, size: float) -> float:
        """Returns the size of a text that has `size` points where most text has 10."""
        return size * self.weight

    def scaled(self, points: float) -> Theme:
        """Returns the same look with most text of so many points, and with lines and markers to match."""
        weight = points / 10
        inks = {family: replace(ink, weight=weight) for family, ink in self.families.items()}
        return replace(self, families=inks, weight=weight)


THEMES = {
    "light": Theme(
        paper="#ffffff",
        text="#1f2328",
        faint="#d0d7de",
        families={"plain": Ink("#c2410c", "o", filled=True), "residual": Ink("#0b5fa5", "s", filled=False)},
    ),
    "dark": Theme(
        paper="#0d1117",
        text="#e6edf3",
        faint="#3d444d",
        families={"plain": Ink("#f59e5b", "o", filled=True), "residual": Ink("#6cb6ff", "s", filled=False)},
    ),
}
FORMATS = ("png", "svg", "pdf", "eps", "pgf")


def find_theme(name: str) -> Theme:
    """Returns the theme of a name.

    Raises:
        UsageError: there is none.
    """
    if name not in THEMES:
        raise UsageError(f"theme '{name}' is not known", did_you_mean(name, THEMES))
    return THEMES[name]


@contextmanager
def applied(look: Theme) -> Iterator[None]:
    """Sets matplotlib up for one figure, whatever the user's own settings are."""
    settings: dict[str, Any] = {
        "figure.dpi": look.dpi,
        "figure.facecolor": look.paper,
        "axes.facecolor": look.paper,
        "savefig.facecolor": look.paper,
        "text.color": look.text,
        "axes.labelcolor": look.text,
        "axes.edgecolor": look.text,
        "xtick.color": look.text,
        "ytick.color": look.text,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.grid.axis": "y",
        "grid.color": look.faint,
        "grid.linewidth": 0.6,
        "axes.axisbelow": True,
        "font.size": look.points(10),
        "axes.titlesize": look.points(11),
        "legend.frameon": False,
        "legend.fontsize": look.points(9),
        "text.parse_math": False,  # A folder may be called $x.
    }
    with default_settings(settings), warnings.catch_warnings():
        # A letter may be measured before `fill_letters` has a font for it.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")
        yield


def render(
    figure: Figure, kind: str, description: str, *, dpi: int | None = None, outlines: bool = False
) -> bytes:
    """Returns the figure as a file's bytes, without date and version, so that equal data gives equal bytes.

    Args:
        kind: one of FORMATS.
        description: what a reader who cannot see it needs to know.
        dpi: pixels per inch of a PNG.
        outlines: whether the text of an SVG is drawn by its outlines, which need no font where it is shown.
    """
    metadata: dict[str, dict[str, Any]] = {
        "png": {"Software": None, "Description": description},
        "svg": {"Date": None, "Creator": "resdeg", "Description": description},
        "pdf": {"CreationDate": None, "Creator": "resdeg", "Producer": None, "Subject": description},
        "eps": {"Creator": "resdeg"},
    }
    # Publishers refuse Type 3, matplotlib's default.
    fonts = 42 if fill_letters(figure) else 3
    settings = {
        "svg.hashsalt": "resdeg", "svg.fonttype": "path" if outlines else "none",
        "pdf.fonttype": fonts, "ps.fonttype": fonts,
    }  # fmt: skip
    buffer = io.BytesIO()
    # Some settings are read only when a figure is saved, so those of the user are replaced here too.
    with default_settings(settings):
        if kind == "pgf":
            return write_pgf(figure, description)
        with without_transparency(figure) if kind == "eps" else contextlib.nullcontext():
            figure.savefig(buffer, format=kind, dpi=DPI if dpi is None else dpi, metadata=metadata[kind])
    return remove_date(buffer.getvalue()) if kind == "eps" else buffer.getvalue()


def finish(figure: Figure, look: Theme) -> Figure:
    """Returns the figure laid out for a program, whose own settings it then does not follow."""
    fill_letters(figure)
    with applied(look):
        for axes in figure.axes:  # Ticks that are made later look like those that are there.
            axes.tick_params(labelsize=look.points(10), color=look.text, labelcolor=look.text)
        figure.draw_without_rendering()
    return figure
