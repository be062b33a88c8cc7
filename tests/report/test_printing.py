"""Formats that publishers take: fonts, text, transparency, dates; and letters that the font lacks."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen

from resdeg.analysis.frame import SweepFrame, load_sweep
from resdeg.report.canvas import Figure, Text, fontManager
from resdeg.report.figures import draw_sweeps
from resdeg.report.letters import choose_fonts, fill_letters, has_truetype_outlines
from resdeg.report.options import read_options
from resdeg.report.page import make_report, render_html
from resdeg.report.style import render
from tests.planted import CELLS, planted

CHINESE = "实验"


@pytest.fixture
def sweep(tmp_path: Path) -> SweepFrame:
    arms = {"arms": {"wide": {"model": {"width": 2.0}}}, "of_arms": {"wide": {"accuracy": CELLS}}}
    planted(tmp_path / "s", CELLS, **arms)
    return load_sweep(tmp_path / "s")


def draw(*sweeps: SweepFrame, kind: str = "curve", **options: object) -> Figure:
    return draw_sweeps(sweeps, kind, options=read_options(**options)).figure  # type: ignore[arg-type]


# ---------------------------------------------------------------- formats


def test_fonts_of_a_pdf_are_type_42(sweep) -> None:
    pdf = render(draw(sweep, size="3.25x3"), "pdf", "about")
    assert b"/Subtype /CIDFontType2" in pdf, "TrueType outlines"
    assert b"/FontFile2" in pdf, "embedded"
    assert b"/Type3" not in pdf


def test_text_of_an_svg_is_text_but_on_a_page_it_needs_no_font(sweep) -> None:
    svg = render(draw(sweep, title="Depth & <degradation>"), "svg", "about").decode()
    assert re.search(r"<text [^>]*>Depth &amp; &lt;degradation&gt;</text>", svg)
    assert "<text" not in render_html(make_report(sweep))


def test_eps_has_no_transparency_no_date_and_type_42(sweep, caplog: pytest.LogCaptureFixture) -> None:
    figure = draw(sweep, kind="arms")
    before = render(figure, "png", "about")
    with caplog.at_level(logging.WARNING):
        eps = render(figure, "eps", "about")
    assert caplog.records == [], "matplotlib warns of transparent artists"
    assert eps.startswith(b"%!PS-Adobe-3.0 EPSF-3.0")
    assert b"/FontType 42 def" in eps
    assert b"CreationDate" not in eps
    assert render(figure, "png", "about") == before, "the figure is as transparent as it was"


def test_pgf_is_written_without_latex_and_escapes_its_words(sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    title = r"50 % of $x_1 & {y} #2 ~^ \z |F(x)| <1"
    pgf = render(draw(sweep, title=title, size="3.25x3"), "pgf", "about 95 %\nof it").decode()
    assert pgf.startswith("%% Creator: resdeg, about 95 % of it\n")
    assert r"\begin{pgfpicture}" in pgf
    assert r"{\pgfqpoint{3.250000in}{3.000000in}}" in pgf
    assert r"50 \% of \$x\_1 \& \{y\} \#2 \textasciitilde{}\textasciicircum{} \textbackslash{}z" in pgf
    assert r"\textbar{}F(x)\textbar{} \textless{}1" in pgf
    assert "setmainfont" not in pgf, "the paper's own fonts set the text"


@pytest.mark.parametrize("form", ["eps", "pgf", "svg", "pdf"])
@pytest.mark.parametrize("kind", ["curve", "arms"])
def test_equal_data_give_equal_bytes(sweep, kind: str, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = render(draw(sweep, kind=kind, size="6x5"), form, "about")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "12")
    assert render(draw(sweep, kind=kind, size="6x5"), form, "about") == first


# ---------------------------------------------------------------- letters


def make_font(path: Path, letters: str) -> str:
    """Writes a TrueType font in which each of `letters` is a square, and returns its path."""
    names = [".notdef", *(f"u{ord(letter):04X}" for letter in letters)]
    pen = TTGlyphPen(None)
    pen.moveTo((100, 0))
    for point in ((900, 0), (900, 800), (100, 800)):
        pen.lineTo(point)
    pen.closePath()
    square = pen.glyph()
    font = FontBuilder(1000)
    font.setupGlyphOrder(names)
    font.setupCharacterMap({ord(letter): name for letter, name in zip(letters, names[1:], strict=True)})
    font.setupGlyf(dict.fromkeys(names, square))
    font.setupHorizontalMetrics(dict.fromkeys(names, (1000, 100)))
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable({"familyName": path.stem, "styleName": "Regular", "psName": f"{path.stem}-Regular"})
    font.setupOS2()
    font.setupPost()
    font.save(path)
    return str(path)


@pytest.fixture
def font(tmp_path: Path):
    path = make_font(tmp_path / "Tiny.ttf", CHINESE[0])
    yield path
    fontManager.ttflist[:] = [own for own in fontManager.ttflist if str(own.fname) != path]


def read_texts(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text))  # type: ignore[union-attr]


def test_a_letter_is_drawn_from_a_font_that_has_it(sweep, font: str) -> None:
    figure = draw(sweep, title=f"{CHINESE[0]} of depth")
    assert fill_letters(figure, [font])
    assert CHINESE[0] in read_texts(figure)
    pdf = render(figure, "pdf", "about")
    assert b"Tiny" in pdf, "the font is embedded"
    assert render(figure, "png", "about")
    assert f">{CHINESE[0]} of depth</text>" in render(figure, "svg", "about").decode()


def test_a_letter_that_no_font_has_is_replaced_in_silence(sweep, font: str) -> None:
    figure = draw(sweep, title=f"{CHINESE} of depth")
    fill_letters(figure, [font])
    assert f"{CHINESE[0]}? of depth" in read_texts(figure)
    none = draw(sweep, title=f"{CHINESE}\x07\U0001f9ea of depth")
    fill_letters(none, [])
    assert "??? of depth" in read_texts(none)
    assert render(none, "png", "about")


def test_no_font_is_searched_where_no_letter_lacks(sweep) -> None:
    def search():
        raise AssertionError("fonts were searched")
        yield ""

    assert fill_letters(draw(sweep, title="Grenzen der Tiefe: ä, é, ‖F(x)‖"), search())


def test_few_fonts_are_chosen_and_unreadable_ones_passed_over(tmp_path: Path, font: str) -> None:
    both = make_font(tmp_path / "Both.ttf", CHINESE)
    broken = tmp_path / "broken.ttf"
    broken.write_bytes(b"no font")
    letters = frozenset(CHINESE)
    assert choose_fonts(letters, [str(broken), font, both]) == [both]
    assert choose_fonts(letters, [font]) == [font]
    assert choose_fonts(letters, [str(broken)]) == []
    assert has_truetype_outlines(both)


def test_chinese_folder_names_stop_no_figure(tmp_path: Path) -> None:
    sweeps = []
    for name in (CHINESE, "残差"):
        planted(tmp_path / name, CELLS)
        sweeps.append(load_sweep(tmp_path / name))
    for options in ({}, {"overlay": True, "size": "3.25x3"}):
        for form in ("png", "pdf", "eps", "svg", "pgf"):
            assert render(draw(*sweeps, **options), form, "about")
