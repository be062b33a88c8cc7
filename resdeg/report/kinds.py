"""Every kind of figure that `resdeg plot` draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from matplotlib.figure import Figure

from resdeg.analysis.frame import SweepFrame
from resdeg.report.arms import arms_figure
from resdeg.report.diagnosed import page_figure
from resdeg.report.figures import curve_figure, training_figure
from resdeg.report.panels import PAGES
from resdeg.report.style import Theme

FIGURES: dict[str, Callable[[Sequence[SweepFrame], Theme], Figure]] = {
    "curve": curve_figure,
    "training": training_figure,
    "arms": arms_figure,
    **{name: partial(page_figure, page) for name, page in PAGES.items()},
}
