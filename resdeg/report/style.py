"""The look of figures: two themes, one colour and one marker per family, bytes that repeat."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from resdeg.errors import UsageError, did_you_mean
from resdeg.report.canvas import Figure, default_settings

LineStyle = Literal["-", "--", "-.", ":"]


@dataclass(frozen=True)
class Ink:
    """The look of one family.

    The colours come from Okabe and Ito's set, which every kind of eye can distinguish; in grey print the
    marker and its filling differ.
    """

    colour: str
    marker: str
    filled: bool


@dataclass(frozen=True)
class Theme:
    paper: str
    text: str
    faint: str
    families: dict[str, Ink]


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
FORMATS = ("png", "svg", "pdf")


def theme(name: str) -> Theme:
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
        "font.size": 10,
        "axes.titlesize": 11,
        "legend.frameon": False,
        "legend.fontsize": 9,
        "text.parse_math": False,  # A folder may be called $x.
    }
    with default_settings(settings):
        yield


def render(figure: Figure, kind: str, description: str) -> bytes:
    """Returns the figure as a file's bytes, without date and version, so that equal data gives equal bytes.

    Args:
        kind: one of FORMATS.
        description: what a reader who cannot see it needs to know.
    """
    metadata: dict[str, dict[str, Any]] = {
        "png": {"Software": None, "Description": description},
        "svg": {"Date": None, "Creator": "resdeg", "Description": description},
        "pdf": {"CreationDate": None, "Creator": "resdeg", "Producer": None, "Subject": description},
    }
    buffer = io.BytesIO()
    # Some settings are read only when a figure is saved, so those of the user are replaced here too.
    with default_settings({"svg.hashsalt": "resdeg", "svg.fonttype": "path"}):
        figure.savefig(buffer, format=kind, dpi=160, metadata=metadata[kind])
    return buffer.getvalue()
