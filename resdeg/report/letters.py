"""Letters that the font of figures lacks: drawn from an installed font that has them, or replaced."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

from resdeg.report.canvas import Figure, FT2Font, Text, findSystemFonts, fontManager

STAND_IN = "?"
_EMPTY = "LastResort"  # in the name of a font with a box for every letter, which comes with matplotlib


def fill_letters(figure: Figure, fonts: Iterable[str] | None = None) -> bool:
    """Gives each text of `figure` fonts for its letters; a letter that no font has is replaced.

    Fonts are searched only if there is such a letter, because that takes a second or more.

    Args:
        fonts: paths of the fonts to search; without them, all that are installed.

    Returns:
        whether every font can be embedded as Type 42; one whose outlines are of PostScript's kind cannot.
    """
    texts = {text: lost for text in figure.findobj(Text) if (lost := _list_lost(text))}
    if not texts:
        return True
    chosen = choose_fonts(frozenset().union(*texts.values()), fonts)
    covered = {letter for path in chosen for letter in map(chr, read_letters(path))}
    families = [_register(path) for path in chosen]
    for text, lost in texts.items():
        assert isinstance(text, Text)
        if lost & covered:
            # Such a font may have no bold letters, and matplotlib would then say so.
            text.set(fontfamily=["sans-serif", *families], fontweight="normal")
        without = {ord(letter): STAND_IN if letter.isprintable() else "" for letter in lost - covered}
        text.set_text(text.get_text().translate(without))
    return all(map(has_truetype_outlines, chosen))


def choose_fonts(letters: frozenset[str], fonts: Iterable[str] | None = None) -> list[str]:
    """Returns the paths of few fonts that have `letters` together, as far as any has them."""
    paths = list(dict.fromkeys(_list_fonts() if fonts is None else fonts))
    coverage = {path: {letter for letter in letters if ord(letter) in read_letters(path)} for path in paths}
    chosen, missing = [], set(letters)
    while missing:
        # TrueType outlines first, then the font with most of the letters, then the first one.
        best = max(
            coverage,
            key=lambda path: (
                bool(coverage[path] & missing),
                has_truetype_outlines(path),
                len(coverage[path] & missing),
            ),
            default=None,
        )
        if best is None or not coverage[best] & missing:
            break
        chosen.append(best)
        missing -= coverage[best]
    return chosen


@cache
def read_letters(path: str) -> frozenset[int]:
    """Returns the code points that a font has; none if it cannot be read."""
    try:
        return frozenset(FT2Font(path).get_charmap())
    except (OSError, RuntimeError, ValueError):
        return frozenset()


@cache
def has_truetype_outlines(path: str) -> bool:
    """Whether a font has outlines of TrueType's kind, in a collection its first font."""
    with Path(path).open("rb") as file:
        kind = file.read(4)
        if kind == b"ttcf":
            file.seek(12)
            file.seek(int.from_bytes(file.read(4), "big"))
            kind = file.read(4)
    return kind != b"OTTO"


def _list_lost(text: Text) -> frozenset[str]:
    """Returns the letters of `text` that its own font lacks."""
    words = text.get_text()
    if words.isascii() or len(text.get_fontfamily()) > 1:
        return frozenset()
    known = read_letters(str(fontManager.findfont(text.get_fontproperties())))
    return frozenset(letter for letter in words if ord(letter) not in known and letter != "\n")


def _list_fonts() -> list[str]:
    """Returns the installed fonts, upright ones of usual weight first.

    Matplotlib's own list is as old as its cache, so fonts that were installed later are added.
    """
    listed = sorted(fontManager.ttflist, key=lambda font: (font.style != "normal", _weigh(font.weight)))
    paths = [str(font.fname) for font in listed] + sorted(map(str, findSystemFonts()))
    return [path for path in paths if _EMPTY not in Path(path).name]


def _weigh(weight: object) -> int:
    return abs(weight - 400) if isinstance(weight, int) else {"normal": 0, "regular": 0}.get(str(weight), 200)


def _register(path: str) -> str:
    """Returns the name of a font's family, by which matplotlib knows the font from now on."""
    if all(str(font.fname) != path for font in fontManager.ttflist):
        fontManager.addfont(path)
    return next(font.name for font in fontManager.ttflist if str(font.fname) == path)
