"""The figures of diagnostics as a table: pages of panels, over layers, blocks or steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Dashes = Literal["-", "--", ":"]


@dataclass(frozen=True)
class Trace:
    """One line of each family in a panel.

    state: None stands for every state, each at its step. ranked: values from the largest down, wherever they
    were measured. whole: a number of the whole network, one level instead of a line.
    """

    name: str
    state: str | None = "final"
    dashes: Dashes = "-"
    ranked: bool = False
    whole: bool = False


@dataclass(frozen=True)
class PanelRow:
    """A row of panels. name: for --panel. floor: the axis starts at 0, or below it where values do."""

    name: str
    label: str
    traces: tuple[Trace, ...]
    floor: bool = True
    percent: bool = False
    log: bool = False


@dataclass(frozen=True)
class Page:
    """One figure of one kind of diagnostic: its panels from the top.

    over: what the axis counts; over steps, a line is the median over the blocks.
    note: what a reader of the figure must know about the axis. images: which images were used.
    """

    kind: str
    title: str
    over: Literal["layer", "block", "step"]
    note: str
    panels: tuple[PanelRow, ...]
    styles: tuple[tuple[Dashes, str], ...] = (("-", "trained"), ("--", "at initial values"))
    x: str = ""
    images: str = "held-out images"


def _both_states(name: str, *, ranked: bool = False, whole: bool = False) -> tuple[Trace, ...]:
    return Trace(name, "initial", "--", ranked=ranked, whole=whole), Trace(name, ranked=ranked, whole=whole)


_BRANCH, _DISTANCE = "||F(x)|| / ||x||", "||H(x) - x|| / ||x||"

PAGES: dict[str, Page] = {
    "responses": Page(
        "responses",
        "Standard deviation of layer responses",
        "layer",
        "layers from the stem on, broken between stages; ranked: from the largest down",
        (
            PanelRow("in-order", "std, in order", _both_states("std")),
            PanelRow("ranked", "std, ranked", _both_states("std", ranked=True)),
        ),
        x="layer above, rank below",
    ),
    "identity": Page(
        "identity",
        "How far blocks are from the identity (those that keep their shape)",
        "block",
        "blocks that change the shape are left out",
        (
            PanelRow("branch", _BRANCH, _both_states("branch")),
            PanelRow("distance", _DISTANCE, _both_states("distance")),
            PanelRow("cosine", "cosine of x, H(x)", _both_states("cosine"), floor=False),
            PanelRow("cka", "debiased CKA", _both_states("cka"), floor=False),
            PanelRow("linear-residual", "linear residual", _both_states("linear_residual")),
        ),
    ),
    "development": Page(
        "identity",
        "How far blocks are from the identity, while they are trained",
        "step",
        "median over the blocks that keep their shape; step 0: initial values",
        (
            PanelRow("branch", _BRANCH, (Trace("branch", None),)),
            PanelRow("distance", _DISTANCE, (Trace("distance", None),)),
        ),
        styles=(),
    ),
    "probes": Page(
        "probes",
        "Accuracy of a linear probe after each block",
        "block",
        "block 0 is the stem; to be compared within a stage, where lines are unbroken",
        (PanelRow("accuracy", "probe accuracy", _both_states("accuracy"), percent=True),),
    ),
    "lesions": Page(
        "lesions",
        "Accuracy with blocks replaced by the identity",
        "block",
        "blocks that change the shape stay in",
        tuple(
            PanelRow(
                name,
                label,
                (
                    Trace(f"accuracy{extent}_recomputed", dashes="--"),
                    Trace(f"accuracy{extent}"),
                    Trace("intact_accuracy", dashes=":", whole=True),
                ),
                percent=True,
            )
            for name, label, extent in (
                ("block", "without this block", ""),
                ("later", "without it and later ones", "_cumulative"),
            )
        ),
        styles=(("-", "statistics of the intact net"), ("--", "statistics recomputed"), (":", "intact net")),
    ),
    "gradients": Page(
        "gradients",
        "Gradients: norm of each layer's, correlation between images",
        "layer",
        "layers from the stem on, broken between stages; the correlation is of the whole net",
        (
            PanelRow("norm", "||d loss / d weight||", _both_states("norm"), floor=False, log=True),
            PanelRow("correlation", "correlation", _both_states("correlation", whole=True)),
        ),
        images="training images",
    ),
}
