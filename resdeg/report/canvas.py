"""Matplotlib as figures use it: imported without the settings of the user, and set to its defaults."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

_MOST = 4  # decimals of a label in percent
_WHOLE = 1e-6  # percent; what rounding of a tick may leave
_VARIABLES = {"MPLBACKEND": None, "MATPLOTLIBRC": os.devnull}


@contextlib.contextmanager
def hide_settings() -> Iterator[None]:
    """Hides what matplotlib reads of the user's while it is imported, unless another program imported it.

    A notebook names a backend that only its own kernel has, and a matplotlibrc may be no text at all: either
    ends the import. The file in the current folder comes before all others and cannot be named away, so the
    import happens in another folder.
    """
    if "matplotlib" in sys.modules:
        yield
        return
    before = {name: os.environ.pop(name, None) for name in _VARIABLES}
    os.environ.update({name: value for name, value in _VARIABLES.items() if value is not None})
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # a folder that is gone holds no file either
            stack.enter_context(contextlib.chdir("/"))
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value


with hide_settings():
    import matplotlib as mpl
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.backends.backend_pgf import RendererPgf
    from matplotlib.collections import Collection
    from matplotlib.colors import to_rgba_array
    from matplotlib.figure import Figure as PlainFigure
    from matplotlib.font_manager import FontProperties, findSystemFonts, fontManager
    from matplotlib.ft2font import FT2Font
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    from matplotlib.text import Text
    from matplotlib.textpath import text_to_path
    from matplotlib.ticker import (
        FixedLocator,
        Formatter,
        LogLocator,
        MaxNLocator,
        NullLocator,
        PercentFormatter,
    )

__all__ = [
    "Axes", "Axis", "Collection", "FT2Font", "Figure", "FixedLocator", "FontProperties", "Formatter",
    "Line2D", "LogLocator", "MaxNLocator", "NullLocator", "Patch", "PercentTicks", "RendererPgf",
    "Text", "default_settings", "findSystemFonts", "fontManager", "hide_settings", "text_to_path",
    "to_rgba_array",
]  # fmt: skip


class Figure(PlainFigure):
    """A figure that a notebook shows, whether or not pyplot was imported there."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()


class PercentTicks(PercentFormatter):
    """Labels of shares in percent, with the decimals that they need: 2.5 % must not be called 2 %."""

    def __init__(self, decimals: int = 0) -> None:
        """Makes labels with at least so many decimals."""
        super().__init__(1.0, decimals=decimals)
        self._least = decimals

    def format_ticks(self, values: list[float]) -> list[str]:
        """Spells the ticks of an axis, all with the same decimals."""
        percents = [100 * float(value) for value in values]
        fitting = (
            n for n in range(self._least, _MOST) if all(abs(round(x, n) - x) < _WHOLE for x in percents)
        )
        self.decimals = next(fitting, _MOST)
        return super().format_ticks(values)


@contextlib.contextmanager
def default_settings(changes: Mapping[str, Any]) -> Iterator[None]:
    """Sets matplotlib to its defaults and `changes`, whatever it was set to; it is set back at the end.

    Its own `rcdefaults` is not called, because it reads the user's folder of styles first.
    """
    with mpl.rc_context():
        with warnings.catch_warnings():  # A default may be deprecated, and nobody here chose it.
            warnings.simplefilter("ignore", mpl.MatplotlibDeprecationWarning)
            settings: dict[str, Any] = dict(mpl.rcParamsDefault)  # type: ignore[arg-type]
            del settings["backend"]  # It would not be set back, and no figure here needs one.
            mpl.rcParams.update(settings | dict(changes))  # type: ignore[arg-type]
        yield
