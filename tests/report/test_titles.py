"""A title never leaves its figure."""

from __future__ import annotations

from resdeg.report.canvas import Figure
from resdeg.report.fitting import title_figure

LONG = (
    "Accuracy against depth on generated images (hierarchy), early in training and much more of it than fits"
)


def test_a_long_line_is_broken_and_a_short_one_is_left() -> None:
    figure = Figure(figsize=(5, 3))
    title_figure(figure, f"Error\n{LONG}", fontsize=12, weight="bold")
    title = figure.texts[0]
    first, *broken = title.get_text().split("\n")
    assert first == "Error"
    assert len(broken) > 1
    assert " ".join(broken) == LONG
    assert title.get_window_extent().x1 <= figure.bbox.width


def test_a_word_that_is_too_long_is_broken() -> None:
    figure = Figure(figsize=(1, 1))
    title_figure(figure, f"on {'a' * 38} b", fontsize=12)
    title = figure.texts[0]
    first, *broken = title.get_text().split("\n")
    assert first == "on"
    assert "".join(broken) == "a" * 38 + " b"
    assert title.get_window_extent().x1 <= figure.bbox.width


def test_a_title_that_fits_is_what_it_was() -> None:
    figure = Figure(figsize=(8, 3))
    title_figure(figure, "Accuracy against depth on CIFAR-10\nrecipe short, 10 epochs", fontsize=9)
    assert figure.texts[0].get_text() == "Accuracy against depth on CIFAR-10\nrecipe short, 10 epochs"
