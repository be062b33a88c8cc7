"""The contenders that are measured side by side on a CPU, and on a GPU."""

from __future__ import annotations

from collections.abc import Sequence

from resdeg.bench import mps
from resdeg.bench.contenders import Contender, DeviceName, Precision

# How many captured runs are measured side by side: each on a stream of its own in one process, or each in a
# process of its own, under NVIDIA's MPS too where it is there.
GROUPS = (1, 2, 4, 8)
PROCESSES = (2, 4, 8)
SIDE_BY_SIDE = 4  # runs, where one number is measured for all
IN_FULL = 20


def lineup(
    device: DeviceName, depth: int, *, cores: int, precisions: Sequence[Precision], quick: bool = False
) -> list[Contender]:
    """Lists the contenders that are measured besides the textbook loop on `device`.

    On a CPU `quick` leaves out the contenders that only explain others: workers with torch's norms. On a GPU
    it measures one number of processes and, where a network is deeper than IN_FULL layers, one number of
    runs on streams and the last precision alone, as fp32 would take most of the time.
    """
    if device == "cpu":
        return _on_cpu(depth, cores, precisions, quick=quick)
    return _on_cuda(depth, precisions, quick=quick)


def name_group(group: int, precision: Precision) -> str:
    """Names the contender of so many captured runs in one process."""
    return f"{group} captured {precision}" + ", on streams" * (group > 1)


def _on_cpu(depth: int, cores: int, precisions: Sequence[Precision], *, quick: bool) -> list[Contender]:
    """Lists the contenders on a CPU; the last one is what a sweep runs."""
    from resdeg.models.fast import library

    contenders = [Contender(name="vectorised fp32", kind="vectorised", threads=cores, depth=depth)]
    for precision in precisions:
        contenders.append(
            Contender(
                name=f"engine {precision}", kind="engine", threads=cores, precision=precision, depth=depth
            )
        )
        workers = Contender(
            name=f"{cores} sweep workers {precision}",
            kind="worker", threads=1, copies=cores, precision=precision, depth=depth,
        )  # fmt: skip
        if library() is not None and not quick:
            contenders.append(
                workers.model_copy(update={"name": f"{workers.name}, torch's norms", "fused": False})
            )
        contenders.append(workers)
    return contenders


def _on_cuda(depth: int, precisions: Sequence[Precision], *, quick: bool) -> list[Contender]:
    """Lists the designs on a GPU; each should be used only if its ratio is worth it."""
    contenders = []
    deep = quick and depth > IN_FULL
    for precision in precisions[-1:] if deep else precisions:
        engine = Contender(
            name=f"eager {precision}",
            kind="engine", threads=1, precision=precision, depth=depth, device="cuda",
        )  # fmt: skip
        contenders.append(engine)
        for group in (1, SIDE_BY_SIDE) if deep else GROUPS:
            name = name_group(group, precision)
            contenders.append(engine.model_copy(update={"name": name, "graph": True, "group": group}))
        for copies in (SIDE_BY_SIDE,) if quick else PROCESSES:
            name = f"{copies} captured {precision}, in processes"
            apart = engine.model_copy(update={"name": name, "graph": True, "copies": copies})
            contenders.append(apart)
            if mps.is_there():
                contenders.append(apart.model_copy(update={"name": f"{name} under MPS", "mps": True}))
        for group in (1, SIDE_BY_SIDE):
            name = f"{group} captured {precision}, fast math" + ", on streams" * (group > 1)
            changes = {"name": name, "graph": True, "group": group, "fast_math": True}
            contenders.append(engine.model_copy(update=changes))
    return contenders
