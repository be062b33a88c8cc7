"""Every kind of figure that `resdeg plot` draws."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Protocol

from resdeg.analysis.frame import SweepFrame
from resdeg.report.arm_charts import draw_arms
from resdeg.report.block_charts import draw_page
from resdeg.report.canvas import Figure
from resdeg.report.curve_chart import draw_curves
from resdeg.report.options import DEFAULTS, FigureOptions
from resdeg.report.panels import PAGES
from resdeg.report.style import Theme
from resdeg.report.training_chart import draw_training


class DrawFigure(Protocol):
    """Draws the sweeps as its kind of figure; the options are those that were checked for this kind."""

    def __call__(
        self, sweeps: Sequence[SweepFrame], look: Theme, options: FigureOptions = DEFAULTS
    ) -> Figure: ...


FIGURES: dict[str, DrawFigure] = {
    "curve": draw_curves,
    "training": draw_training,
    "arms": draw_arms,
    **{name: partial(draw_page, page) for name, page in PAGES.items()},
}
