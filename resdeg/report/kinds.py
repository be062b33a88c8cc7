"""Every kind of figure that `resdeg plot` draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from resdeg.analysis.frame import SweepFrame
from resdeg.report.arm_charts import draw_arms
from resdeg.report.block_charts import draw_page
from resdeg.report.canvas import Figure
from resdeg.report.curve_chart import draw_curves, draw_training
from resdeg.report.panels import PAGES
from resdeg.report.style import Theme

FIGURES: dict[str, Callable[[Sequence[SweepFrame], Theme], Figure]] = {
    "curve": draw_curves,
    "training": draw_training,
    "arms": draw_arms,
    **{name: partial(draw_page, page) for name, page in PAGES.items()},
}
