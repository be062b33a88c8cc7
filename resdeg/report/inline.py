"""A figure inside a page: its colours are the page's, its ids its own, and it says what it shows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape

from matplotlib.figure import Figure

from resdeg.report.style import THEMES, Theme, render


@dataclass(frozen=True)
class Shown:
    """A picture, its text alternative, and the line below it."""

    svg: str
    text: str
    caption: str


def colours(look: Theme) -> dict[str, str]:
    """The page's name of each colour of a theme, and its value."""
    inks = {f"--{family}": ink.colour for family, ink in look.families.items()}
    return {"--paper": look.paper, "--text": look.text, "--faint": look.faint, **inks}


def inline_svg(figure: Figure, name: str, title: str, description: str) -> str:
    """`figure`, drawn in the light theme, as an element of an HTML page.

    Args:
        name: unique in the page; every id in the picture starts with it.
        title, description: the text alternative.
    """
    drawn = render(figure, "svg", description).decode()
    body = drawn[drawn.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r"<style .*?</style>", "", body, flags=re.DOTALL)  # it would style the whole page
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = re.sub(r'(href="|url\()#', rf"\1#{name}-", body)
    for variable, colour in colours(THEMES["light"]).items():
        body = body.replace(colour, f"var({variable})")
    size = re.search(r'viewBox="[^"]*"', body)
    assert size, "matplotlib writes a viewBox"
    opening = (
        f'<svg {size[0]} xmlns:xlink="http://www.w3.org/1999/xlink" role="img" '
        f'aria-labelledby="{name}-title {name}-text">\n'
        f'<title id="{name}-title">{escape(title)}</title>\n'
        f'<desc id="{name}-text">{escape(description)}</desc>'
    )
    return re.sub(r"<svg\b[^>]*>", lambda found: opening, body, count=1).strip()
