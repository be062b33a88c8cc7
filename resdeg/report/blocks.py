"""What the report has of measured blocks: a row per network, and the figures of responses and of nearness."""

from __future__ import annotations

from dataclasses import dataclass

from resdeg.analysis.blocks import Blocks, Lost, measured_blocks
from resdeg.analysis.frame import SweepFrame
from resdeg.analysis.units import POINTS
from resdeg.errors import UsageError
from resdeg.report.diagnosed import page_figure
from resdeg.report.inline import Shown, inline_svg
from resdeg.report.panels import PAGES
from resdeg.report.style import THEMES
from resdeg.report.tables import Table
from resdeg.report.units import percent

PIXELS = 73  # of the page per inch of a figure: its words are then as small as a footnote's
DRAWN = ("responses", "identity")  # of PAGES
SAID = (
    "Trained networks on held-out images, means over seeds. Size of the branch, distance from the identity, "
    "debiased CKA and linear residual: the median block of the later half, of those that keep their shape; - "
    "where there is none. "
    "Probe: accuracy behind the best block of the last stage, and behind the last. Lost: points of accuracy "
    "without one block, the mean over blocks and the largest, by the intact network's statistics and by "
    "recomputed ones."
)
HEAD = [
    "network", "seeds", "images", "‖F(x)‖ / ‖x‖", "‖H(x) - x‖ / ‖x‖", "CKA", "linear residual",
    "probe, best / last", "intact", "lost", "lost, recomputed",
]  # fmt: skip


@dataclass(frozen=True)
class Wide(Shown):
    """A picture that is shown in its own size. pixels: how wide that is."""

    pixels: int


@dataclass(frozen=True)
class Told:
    """The section: a paragraph, a table, and the figures of what was measured in the grid."""

    said: str
    table: Table
    figures: list[Wide]


def told(sweep: SweepFrame) -> Told | None:
    """None where no block was measured."""
    found = measured_blocks(sweep)
    if not found:
        return None
    figures = [drawn for kind in DRAWN if (drawn := _figure(sweep, kind))]
    return Told(SAID, (HEAD, [_row(one) for one in found]), figures)


def _figure(sweep: SweepFrame, kind: str) -> Wide | None:
    """None where the grid was not measured so."""
    page = PAGES[kind]
    try:
        figure = page_figure(page, [sweep], THEMES["light"])
    except UsageError:
        return None
    frame, _ = sweep.diagnostics
    name = page.panels[0].lines[0].name
    of = frame[(frame["arm"] == "") & (frame["kind"] == kind) & (frame["name"] == name)]
    medians = of[of["state"] == "final"].groupby(["family", "depth"], as_index=False)["value"].median()
    each = ", ".join(f"{row.value:.2f} in {row.family}-{row.depth}" for row in medians.itertuples())
    text = f"{page.title}, a column per depth. {page.panels[0].label}, median of trained networks: {each}."
    svg = inline_svg(figure, kind, page.title, text)
    return Wide(svg, text, f"{page.title}, networks of the grid.", round(PIXELS * figure.get_figwidth()))


def _row(one: Blocks) -> list[str]:
    probes = "-" if one.probes is None else " / ".join(percent(value) for value in one.probes)
    return [
        one.name,
        str(one.seeds),
        one.images_shown,
        *one.late_told,
        probes.replace(" %", "\N{NO-BREAK SPACE}%"),
        percent(one.intact),
        _lost(one.lost),
        _lost(one.recomputed),
    ]


def _lost(of: Lost | None) -> str:
    if of is None:
        return "-"
    return f"{POINTS.spell(of.mean, signed=False)} ({POINTS.spell(of.largest, signed=False)})"
