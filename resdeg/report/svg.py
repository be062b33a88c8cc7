"""A figure inside a page: its colours are the page's, its ids its own, and it says what it shows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape

from resdeg.report.canvas import Figure
from resdeg.report.chart import Chart
from resdeg.report.style import THEMES, Theme, render

PIXELS = 73  # per inch of a figure: text in a figure is then as small as a footnote


@dataclass(frozen=True)
class Picture:
    """A drawn chart: its SVG element, the alternative text, the caption, and its own width in pixels."""

    svg: str
    text: str
    caption: str
    pixels: int


def embed(chart: Chart, *, name: str, title: str) -> Picture | None:
    """Draws a chart for an HTML page, in the light theme; None where it has no figure.

    Args:
        name: unique in the page; every id in the picture starts with it.
    """
    if chart.draw is None:
        return None
    figure = chart.draw(THEMES["light"])
    svg = _inline(figure, name=name, title=title, text=chart.text)
    return Picture(svg, chart.text, chart.caption, round(PIXELS * figure.get_figwidth()))


def colour_variables(look: Theme) -> dict[str, str]:
    """Returns the colours of a theme by their names in the page."""
    inks = {f"--{family}": ink.colour for family, ink in look.families.items()}
    return {"--paper": look.paper, "--text": look.text, "--faint": look.faint, **inks}


def _inline(figure: Figure, *, name: str, title: str, text: str) -> str:
    drawn = render(figure, "svg", text, outlines=True).decode()
    body = drawn[drawn.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r"<style .*?</style>", "", body, flags=re.DOTALL)  # It would style the whole page.
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = re.sub(r'(href="|url\()#', rf"\1#{name}-", body)
    for variable, colour in colour_variables(THEMES["light"]).items():
        body = body.replace(colour, f"var({variable})")
    size = re.search(r'viewBox="[^"]*"', body)
    assert size, "matplotlib writes a viewBox"
    opening = (
        f'<svg {size[0]} xmlns:xlink="http://www.w3.org/1999/xlink" role="img" '
        f'aria-labelledby="{name}-title {name}-text">\n'
        f'<title id="{name}-title">{escape(title)}</title>\n'
        f'<desc id="{name}-text">{escape(text)}</desc>'
    )
    return re.sub(r"<svg\b[^>]*>", lambda _: opening, body, count=1).strip()
