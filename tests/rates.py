"""How often a claim is SUPPORTED where the truth is known: `make rates` writes it into docs/method.md."""

from __future__ import annotations

from pathlib import Path

from tests.simulated import BEYOND, BOUNDARIES, NOISES, normal, supported

PAGE = Path(__file__).parents[1] / "docs" / "method.md"
BEGIN, END = "<!-- rates: begin -->", "<!-- rates: end -->"
SWEEPS = 1_000
SEEDS = (3, 5, 7)


def row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def tables() -> str:
    """SUPPORTED in 1,000 simulated sweeps: on the boundaries of the claims, and four noises beyond them."""
    lines = [row(["on the boundary of", *NOISES]), row(["---"] * (len(NOISES) + 1))]
    for name, (claim, means) in BOUNDARIES.items():
        counts = [
            " / ".join(str(supported(claim, means, seeds, noise, SWEEPS, 0)) for seeds in SEEDS)
            for noise in NOISES.values()
        ]
        lines.append(row([name, *counts]))
    lines += ["", row(["four noises beyond the margins", *(f"{seeds} seeds" for seeds in SEEDS)])]
    lines.append(row(["---"] * (len(SEEDS) + 1)))
    for claim, means in BEYOND.items():
        counts = [str(supported(claim, means, seeds, normal, SWEEPS, 0)) for seeds in SEEDS]
        lines.append(row([claim, *counts]))
    return "\n".join(lines)


def main() -> None:
    text = PAGE.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{tables()}\n{END}{after}")


if __name__ == "__main__":
    main()
