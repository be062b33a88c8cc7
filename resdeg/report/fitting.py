"""Text and legends that fit: labels that do not touch, lines broken to a width, nothing beyond the edge."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from resdeg.errors import UsageError
from resdeg.report.canvas import Axes, Axis, Figure, FontProperties, Formatter, Line2D, Text, text_to_path
from resdeg.report.options import FigureOptions
from resdeg.report.style import Theme

GAP = 0.25  # between labels of ticks, in heights of their text
TITLE_SHARE = 0.2  # of the height of a figure, which the lines of its title may take
PANEL_WIDTH = 14  # of a panel among others, in heights of text
LEAST_LABEL = 0.7  # of the size of other text, to which the label of an axis may shrink
LEAST = 3.5  # width and height of axes, in heights of text
EDGE = 0.5  # points by which a text may come beyond the edge, because its box is wider than its ink


class SpacedLabels(Formatter):
    """Labels ticks as far as labels do not touch; the first and the last in sight are always labelled.

    What fits is decided whenever the axis is drawn, so it holds when the figure is made smaller.

    Args:
        spell: the label of a value. size: that of its text, in points.
    """

    def __init__(self, spell: Callable[[float], str], *, size: float) -> None:
        self.spell, self.size = spell, size

    def __call__(self, x: float, pos: int | None = None) -> str:
        return self.spell(x)

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        axis = self.axis
        assert isinstance(axis, Axis)
        axes = axis.axes
        across = axis is axes.xaxis
        low, high = sorted(axis.get_view_interval())
        points = 72 / axes.figure.dpi
        blended = axes.get_xaxis_transform() if across else axes.get_yaxis_transform()

        def spread(value: float) -> tuple[float, float]:
            """Returns the ends of the label of `value` along the axis, in points."""
            pixels = blended.transform((value, 0) if across else (0, value))[0 if across else 1]
            width, height, _ = text_to_path.get_text_width_height_descent(
                self.spell(value), FontProperties(size=self.size), ismath=False
            )
            half = (width if across else height) / 2 + GAP * self.size / 2
            return pixels * points - half, pixels * points + half

        seen = [value for value in values if low <= value <= high]
        if not seen:
            return ["" for _ in values]
        ends = (min(seen), max(seen))
        chosen, edge = {*ends}, spread(ends[0])[1]
        limit = spread(ends[1])[0]
        for value in sorted(seen)[1:-1]:
            start, end = spread(value)
            if start >= edge and end <= limit:
                chosen.add(value)
                edge = end
        return [self.spell(value) if value in chosen else "" for value in values]


def fit_title(figure: Figure, head: str, details: str = "", **style: Any) -> None:
    """Sets a title of broken lines at the left edge, without those `details` that take too much room."""
    title = figure.suptitle("", x=0.01, ha="left", **style)
    room = TITLE_SHARE * figure.bbox.height
    lines = break_lines(title, head, 0.98 * figure.bbox.width)
    for line in filter(None, details.split("\n")):
        longer = lines + break_lines(title, line, 0.98 * figure.bbox.width)
        title.set_text("\n".join(longer))
        if title.get_window_extent().height > room:
            break
        lines = longer
    title.set_text("\n".join(lines))


def count_across(options: FigureOptions, *, most: int) -> int:
    """Returns how many panels, at most `most`, stand side by side in a figure of the size of `options`."""
    assert options.size is not None
    return max(1, min(most, int(options.size[0] / (PANEL_WIDTH * options.points / 72))))


def add_title(figure: Figure, head: str, details: str, *, look: Theme, options: FigureOptions) -> None:
    """Adds the title that `options` ask for, or else `head` and `details`; a fitted figure is settled."""
    if not options.fitted:
        title_figure(figure, f"{head}\n{details}", fontsize=9)
        return
    if options.title is None:
        fit_title(figure, head, details, fontsize=look.points(9))
    elif options.title:
        fit_title(figure, options.title, weight="bold", fontsize=look.points(10))
    settle(figure, size=look.points(10), tried=options.spelled_size)


def break_lines(text: Text, words: str, width: float) -> list[str]:
    """Breaks `words` into lines of at most `width` pixels in the font of `text`, if possible at spaces."""

    def fits(line: str) -> bool:
        text.set_text(line)
        box = text.get_window_extent()
        return max(box.width, box.height) <= width if text.get_rotation() else box.width <= width

    before, lines = text.get_text(), [""]
    for word in words.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if fits(longer):
            lines[-1] = longer
            continue
        lines = lines if lines[-1] else lines[:-1]
        rest = word
        while rest:
            count = len(rest)
            while count > 1 and not fits(rest[:count]):
                count -= 1
            lines.append(rest[:count])
            rest = rest[count:]
    text.set_text(before)
    return lines


def add_legend(
    figure: Figure, handles: Sequence[Line2D], *, columns: int, look: Theme, options: FigureOptions
) -> None:
    """Adds a legend of so many columns below the axes.

    In a fitted figure it has as many columns as fit, and a label that is too long is broken.
    """
    if not options.fitted:
        figure.legend(handles=handles, loc="outside lower center", ncols=columns)
        return
    size = look.points(9)
    room = 0.97 * figure.bbox.width
    style: dict[str, Any] = {"loc": "outside lower center", "fontsize": size, "handlelength": 2.4}
    if len(handles) > 1:
        style["columnspacing"] = 1.2
    for columns in range(len(handles), 0, -1):
        legend = figure.legend(handles=handles, ncols=columns, **style)
        if legend.get_window_extent().width <= room or columns == 1:
            break
        legend.remove()
    pixels = size * figure.dpi / 72
    for text in legend.get_texts():
        text.set_text("\n".join(break_lines(text, text.get_text(), room - 4.5 * pixels)))


def settle(figure: Figure, *, size: float, tried: str) -> None:
    """Lays `figure` out, breaks labels that are longer than their axes, and refuses what has no room.

    Args:
        size: that of most text, in points. tried: what the refusal calls the size.

    Raises:
        UsageError: axes become too small to be read, or text would leave the figure.
    """
    axes = [own for own in figure.axes if own.axison]
    for own in axes:
        own.tick_params(labelsize=size)
    _lay_out(figure, tried)
    for own in axes:
        box = own.get_window_extent()
        for label, room in ((own.xaxis.label, box.width), (own.yaxis.label, box.height)):
            _fit_label(label, room)
    _lay_out(figure, tried)
    pixels = figure.dpi / 72
    for own in axes:
        box = own.get_window_extent()
        if min(box.width, box.height) < LEAST * size * pixels:
            raise _no_room(tried, "its axes would be too small to be read")
    for text in list_texts(figure):
        box = text.get_window_extent()
        beyond = (-box.x0, -box.y0, box.x1 - figure.bbox.width, box.y1 - figure.bbox.height)
        if max(beyond) > EDGE * pixels:
            raise _no_room(tried, f"'{text.get_text()}' would leave it")


def list_texts(figure: Figure) -> list[Text]:
    """Lists the texts in sight, as they were drawn last."""
    hidden: set[int] = set()
    for axes in figure.axes:
        if not axes.axison:
            hidden |= {id(text) for axis in (axes.xaxis, axes.yaxis) for text in axis.findobj(Text)}
            continue
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            slack = 1e-9 * (high - low)
            for tick in axis.get_major_ticks():
                if not low - slack <= tick.get_loc() <= high + slack:
                    hidden |= {id(tick.label1), id(tick.label2)}
    return [
        text
        for text in figure.findobj(Text)
        if isinstance(text, Text)
        and text.get_visible()
        and text.get_text().strip()
        and id(text) not in hidden
    ]


def title_figure(figure: Figure, text: str, **style: Any) -> None:
    """Sets the title of a figure at its left edge, broken to fit."""
    _set_lines(figure.suptitle("", x=0.01, ha="left", **style), text, 0.98 * figure.bbox.width)


def title_panel(axes: Axes, text: str, *, across: int, options: FigureOptions, **style: Any) -> None:
    """Sets the title of a panel, one of `across` side by side, in a fitted figure broken to fit."""
    title = axes.set_title(text, loc="left", **style)
    if options.fitted:
        _set_lines(title, text, 0.8 * axes.figure.bbox.width / across)


def _set_lines(title: Text, text: str, width: float) -> None:
    """Sets `title` to the lines of `text`, each broken to `width` pixels."""
    title.set_text("\n".join(part for line in text.split("\n") for part in break_lines(title, line, width)))


def _lay_out(figure: Figure, tried: str) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        figure.draw_without_rendering()
    if any("collapsed to zero" in str(warning.message) for warning in caught):
        raise _no_room(tried, "nothing would be left for its axes")


def _fit_label(label: Text, room: float) -> None:
    """Breaks the label of an axis between words, and makes it smaller where a word is still too long."""

    words = label.get_text()
    if not words:
        return
    label.set_text(max(words.split(" "), key=len))
    box = label.get_window_extent()
    longest = max(box.width, box.height)
    if longest > room:
        label.set_fontsize(float(label.get_fontsize()) * max(LEAST_LABEL, room / longest))
    label.set_text("\n".join(break_lines(label, words, max(room, longest))))


def _no_room(tried: str, why: str) -> UsageError:
    return UsageError(
        f"{tried} has too little room for this figure: {why}",
        "give a larger --size, fewer panels (--panel), a smaller --font-size or a shorter --title",
    )
