"""EPS and PGF, for papers: without transparency, without a date, and without LaTeX at hand."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable, Iterator
from functools import partial

from resdeg.report.canvas import (
    Collection,
    Figure,
    FontProperties,
    Line2D,
    Patch,
    RendererPgf,
    default_settings,
    text_to_path,
    to_rgba_array,
)

_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_",
    "%": r"\%", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "|": r"\textbar{}",
    "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip
_HEAD = r"""%% Creator: resdeg, {description}
%% Needs in the preamble: \usepackage{{pgf}}; in the text: \input{{FILE.pgf}}
\begingroup%
\makeatletter%
\begin{{pgfpicture}}%
\pgfpathrectangle{{\pgfpointorigin}}{{\pgfqpoint{{{width:f}in}}{{{height:f}in}}}}%
\pgfusepath{{use as bounding box, clip}}%
"""
_FOOT = "\\end{pgfpicture}%\n\\makeatother%\n\\endgroup%\n"


class MeasuredPgf(RendererPgf):
    """Draws commands of LaTeX's package pgf without LaTeX: it measures text in the font of other formats.

    The text itself is set by LaTeX in the paper's own fonts. Matplotlib's canvas would start LaTeX for the
    measures, whose fonts and version would then change the file.
    """

    def get_text_width_height_descent(
        self, s: str, prop: FontProperties, ismath: object
    ) -> tuple[float, float, float]:
        width, height, descent = text_to_path.get_text_width_height_descent(s, prop, ismath=False)
        pixels = self.dpi / 72
        return width * pixels, height * pixels, descent * pixels

    def draw_text(self, gc, x, y, s, prop, angle, ismath=False, mtext=None):  # type: ignore[no-untyped-def] # noqa: FBT002, PLR0917
        escaped = "".join(_SPECIAL.get(letter, letter) for letter in s)
        super().draw_text(gc, x, y, escaped, prop, angle, ismath, mtext)  # type: ignore[no-untyped-call]


def write_pgf(figure: Figure, description: str) -> bytes:
    """Returns the commands that draw `figure` in a LaTeX document."""
    buffer = io.StringIO()
    width, height = figure.get_size_inches()
    buffer.write(_HEAD.format(description=" ".join(description.split()), width=width, height=height))
    # With another program fonts are named that a paper need not have.
    with default_settings({"pgf.texsystem": "pdflatex"}):
        figure.draw(MeasuredPgf(figure, buffer))  # type: ignore[no-untyped-call]
    buffer.write(_FOOT)
    return buffer.getvalue().encode()


def remove_date(eps: bytes) -> bytes:
    """Removes the line with the date of the drawing."""
    return re.sub(rb"^%%CreationDate:.*\n", b"", eps, count=1, flags=re.MULTILINE)


@contextlib.contextmanager
def without_transparency(figure: Figure) -> Iterator[None]:
    """Mixes transparent colours with that of the paper, because EPS has none; it is undone at the end."""
    paper = to_rgba_array(figure.get_facecolor())[0, :3]
    undo: list[Callable[[], object]] = []

    def mix(artist: Line2D | Collection | Patch, name: str, alpha: float | None) -> None:
        before = getattr(artist, f"get_{name}")()
        rgba = to_rgba_array(before, alpha)
        opacity = rgba[:, 3:]
        if len(rgba) and ((opacity > 0) & (opacity < 1)).all():
            change = getattr(artist, f"set_{name}")
            undo.append(partial(change, before))
            mixed = rgba[:, :3] * opacity + paper * (1 - opacity)
            change(mixed if isinstance(artist, Collection) else tuple(mixed[0]))

    for artist in figure.findobj(lambda artist: isinstance(artist, (Line2D, Collection, Patch))):
        assert isinstance(artist, (Line2D, Collection, Patch))
        alpha = artist.get_alpha()
        assert alpha is None or isinstance(alpha, float)
        lines = isinstance(artist, Line2D)
        artist.set_alpha(None)
        for name in ("color", "markerfacecolor", "markeredgecolor") if lines else ("facecolor", "edgecolor"):
            mix(artist, name, alpha)
        undo.append(partial(artist.set_alpha, alpha))
    try:
        yield
    finally:
        for restore in undo:
            restore()
