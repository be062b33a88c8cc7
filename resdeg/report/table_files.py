"""Tables as files of their own: LaTeX and Markdown for papers, CSV for spreadsheets."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from resdeg.analysis.frame import SweepFrame
from resdeg.errors import UsageError
from resdeg.report.chart import spell_pipes
from resdeg.report.tables import PaperTable, make_table

TABS = ("\t", "\\t", "tab")  # what a tab is called on a command line


# ---------------------------------------------------------------- CSV


@dataclass(frozen=True)
class Dialect:
    """What separates the cells of a CSV file, and what is the decimal point of its numbers."""

    sep: str = ","
    decimal: str = "."

    @classmethod
    def from_options(cls, sep: str | None, decimal: str | None) -> Dialect:
        """Returns the dialect that the options name; None stands for the default of one.

        Raises:
            UsageError: a value cannot be used, or both are the same.
        """
        chosen = "," if sep is None else "\t" if sep in TABS else sep
        point = "." if decimal is None else decimal
        if len(chosen) != 1 or chosen.isalnum() or chosen in '"\r\n':
            raise UsageError(f"--sep {chosen!r}: not a separator of cells", "give one sign, as ';', or tab")
        if point not in (".", ","):
            raise UsageError(f"--decimal {point!r}: not a decimal point", "give '.' or ','")
        if chosen == point:
            raise UsageError(
                f"cells and decimals cannot both be separated by '{point}'", "add --sep ';' or --sep tab"
            )
        return cls(chosen, point)


def write_csv(table: pd.DataFrame, dialect: Dialect | None = None) -> str:
    """Returns `table` as CSV with a line per row; numbers are written in full."""
    dialect = dialect or Dialect()
    # A grid of one seed has no interval: its columns hold objects, whose decimals pandas leaves alone.
    numbers = {name: table[name].astype("float64") for name in ("mean", "low", "high") if name in table}
    text: str = table.assign(**numbers).to_csv(
        index=False, lineterminator="\n", sep=dialect.sep, decimal=dialect.decimal
    )
    return text


# ---------------------------------------------------------------- Markdown


def write_markdown(made: PaperTable) -> str:
    """Returns the table with pipes, its caption above it, and below it a line per sweep."""
    head, *rows = [[_escape(cell, _MARKDOWN) for cell in row] for row in (made.table[0], *made.table[1])]
    caption, *sources = (_escape(line, _MARKDOWN) for line in (made.caption, *made.sources))
    lines = "".join(f"- {line}\n" for line in sources)
    return f"{caption}\n\n{spell_pipes((head, rows))}\n{lines}"


# ---------------------------------------------------------------- LaTeX


def write_latex(made: PaperTable) -> str:
    """Returns a `table` environment with the rules of booktabs."""
    head, rows = made.table
    sides = ["l" if any(map(_has_letters, column)) else "r" for column in zip(*rows, strict=True)]
    cells = [
        [_stack_words(name, side) for name, side in zip(head, sides, strict=True)],
        *([_escape(cell, _LATEX) for cell in row] for row in rows),
    ]
    first, *others = ("    " + " & ".join(row) + r" \\" for row in cells)
    caption = _escape(made.caption, _LATEX)
    slug = re.sub(r"[^a-z0-9]+", "-", made.name.lower()).strip("-")
    lines = [
        "% Written by resdeg plot. Needs \\usepackage{booktabs}.",
        *(f"% {_escape(source, {})}" for source in made.sources),
        "\\begin{table}",
        "  \\centering",
        "  \\small",
        f"  \\caption{{{caption}}}",
        f"  \\label{{tab:{slug}}}",
        f"  \\begin{{tabular}}{{{''.join(sides)}}}",
        "    \\toprule",
        first,
        "    \\midrule",
        *others,
        "    \\bottomrule",
        "  \\end{tabular}",
        "\\end{table}",
    ]
    if any(ord(letter) > _LAST_LATIN for letter in caption + "".join(map("".join, cells))):
        lines.insert(1, "% Some letters are not known to pdflatex; use lualatex and a font that has them.")
    return "\n".join(lines) + "\n"


def _has_letters(cell: str) -> bool:
    return any(map(str.isalpha, cell))


def _stack_words(name: str, side: str) -> str:
    """Returns the head of a column, broken at its commas, because columns of numbers are narrow."""
    words = [_escape(word, _LATEX) for word in name.split(", ")]
    if len(words) == 1:
        return words[0]
    stacked = r" \\ ".join(words)
    return f"\\shortstack[{side}]{{{stacked}}}"


def _escape(text: str, special: Mapping[str, str]) -> str:
    """Returns a text of one line without control characters, its `special` characters replaced.

    Accents are put together with their letters, because LaTeX knows no accent that stands by itself. Where
    LaTeX would join two signs into one, as hyphens into a dash, they are kept apart; a number has a minus.
    """
    composed = unicodedata.normalize("NFC", text)
    shown = (sign if sign.isprintable() or sign == "\N{NO-BREAK SPACE}" else "?" for sign in composed)
    escaped = "".join(special.get(sign, sign) for sign in shown)
    if special is not _LATEX:
        return escaped
    return re.sub(r"^-(?=\d)", "$-$", re.sub(r"([-',])(?=\1)", r"\1{}", escaped))


_LAST_LATIN = 0x17F  # letters up to here, with accents, are known to LaTeX without a package
_LATEX = {
    **{sign: f"\\{sign}" for sign in "%_&#${}"},
    "\\": "\\textbackslash{}",
    "^": "\\textasciicircum{}",
    "~": "\\textasciitilde{}",
    "`": "\\textasciigrave{}",
    "<": "\\textless{}",
    ">": "\\textgreater{}",
    "|": "\\textbar{}",
    '"': "''",  # the straight one needs another encoding of fonts
    # A bracket or a star behind the end of a row would belong to the row's \\.
    **{sign: f"{{{sign}}}" for sign in "[]*"},
    "\N{NO-BREAK SPACE}": "~",
    "\N{MINUS SIGN}": "$-$",
    "±": "$\\pm$",
    "‖": "$\\|$",
}
_MARKDOWN = {sign: f"\\{sign}" for sign in "\\`*_[]<>|#&~$"}


# ---------------------------------------------------------------- the file

WRITERS: Mapping[str, Callable[[PaperTable], str]] = {"tex": write_latex, "md": write_markdown}
FORMS = (*WRITERS, "csv")


def render_table(
    kind: str, sweeps: Sequence[SweepFrame], *, form: str, curve: pd.DataFrame, dialect: Dialect
) -> bytes:
    """Returns the table of a kind as a file of one of FORMS; equal data gives equal bytes.

    Args:
        curve: the numbers that CSV has, in `dialect`.

    Raises:
        UsageError: see `make_table`; in CSV there is the curve only.
    """
    if form != "csv":
        return WRITERS[form](make_table(kind, sweeps)).encode()
    if kind != "curve":
        raise UsageError(
            f"--kind {kind} has no CSV",
            f"end --out in {' or '.join(WRITERS)}, or leave out --kind: the CSV of the curve has every arm",
        )
    return write_csv(curve, dialect).encode(errors="replace")
