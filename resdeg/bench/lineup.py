"""What is measured side by side: on a CPU, and on a GPU."""

from __future__ import annotations

from collections.abc import Sequence

from resdeg.bench.contenders import Contender, DeviceName, Precision

GROUPS = (1, 2, 4)  # captured runs side by side, each on a stream of its own


def lineup(
    device: DeviceName, depth: int, cores: int, precisions: Sequence[Precision], quick: bool = False
) -> list[Contender]:
    """Whom to measure beside the textbook loop on `device`.

    `quick` leaves out, on a CPU, what only explains: workers whose norms are torch's.
    """
    return _on_cpu(depth, cores, precisions, quick) if device == "cpu" else _on_cuda(depth, precisions)


def _on_cpu(depth: int, cores: int, precisions: Sequence[Precision], quick: bool) -> list[Contender]:
    """Ends with what a sweep runs."""
    from resdeg.models.fast import library

    found = [Contender(name="vectorised fp32", kind="vectorised", threads=cores, depth=depth)]
    for precision in precisions:
        found.append(
            Contender(
                name=f"engine {precision}", kind="engine", threads=cores, precision=precision, depth=depth
            )
        )
        workers = Contender(
            name=f"{cores} sweep workers {precision}",
            kind="worker", threads=1, copies=cores, precision=precision, depth=depth,
        )  # fmt: skip
        if library() is not None and not quick:
            found.append(
                workers.model_copy(update={"name": f"{workers.name}, torch's norms", "fused": False})
            )
        found.append(workers)
    return found


def _on_cuda(depth: int, precisions: Sequence[Precision]) -> list[Contender]:
    """The designs, each of which is to be taken only if its ratio pays."""
    found = []
    for precision in precisions:
        engine = Contender(
            name=f"eager {precision}",
            kind="engine", threads=1, precision=precision, depth=depth, device="cuda",
        )  # fmt: skip
        found.append(engine)
        for group in GROUPS:
            name = f"{group} captured {precision}" + ", on streams" * (group > 1)
            found.append(engine.model_copy(update={"name": name, "graph": True, "group": group}))
    return found
