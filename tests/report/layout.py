"""Measures of a drawn figure: which texts touch each other, leave it, or lie on its axes."""

from __future__ import annotations

from itertools import combinations

from matplotlib.transforms import Bbox

from resdeg.report.canvas import Figure
from resdeg.report.fitting import list_texts


def _overlap(first: Bbox, last: Bbox, slack: float = 0.5) -> bool:
    across = min(first.x1, last.x1) - max(first.x0, last.x0)
    along = min(first.y1, last.y1) - max(first.y0, last.y0)
    return across > slack and along > slack


def list_faults(figure: Figure) -> list[str]:
    """Returns a line for each text that touches another or leaves the figure, and each legend on axes."""
    figure.draw_without_rendering()
    boxes = [
        (text.get_text(), text.get_window_extent())
        for text in list_texts(figure)
        if text.get_text() != "chance"
    ]
    slack = figure.dpi / 72
    faults = [
        f"{first!r} touches {last!r}"
        for (first, own), (last, other) in combinations(boxes, 2)
        if _overlap(own, other)
    ]
    for text, box in boxes:
        if min(box.x0, box.y0) < -slack or box.x1 > figure.bbox.x1 + slack or box.y1 > figure.bbox.y1 + slack:
            faults.append(f"{text!r} leaves the figure")
    for legend in figure.legends:
        box = legend.get_window_extent()
        faults += [
            "the legend lies on axes" for axes in figure.axes if _overlap(box, axes.get_window_extent())
        ]
    return faults


def list_ticks(figure: Figure, axes: int = 0) -> list[str]:
    """Returns the labels of the ticks along x that are in sight and not empty."""
    figure.draw_without_rendering()
    shown = {id(text) for text in list_texts(figure)}
    return [label.get_text() for label in figure.axes[axes].get_xticklabels() if id(label) in shown]
