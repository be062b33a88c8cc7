"""`resdeg adopt` makes runs of networks from elsewhere; `resdeg export-weights` does the reverse."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from resdeg.cli import options
from resdeg.cli.console import emit, emit_json, screen
from resdeg.config import FAMILIES, Settings, SweepConfig, arrange_options, is_true, parse_depths
from resdeg.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from resdeg.records import RunSummary
    from resdeg.runner.adopting import Weights
    from resdeg.runner.published import Published, PublishedFile
    from resdeg.store import SweepStore

PADDINGS = ("behind", "around")
# The keys of models.foreign.NAMED are repeated here, because a help text must not load torch.
LAYOUTS = ("torchvision", "akamaster", "a-martyn")


def adopt(
    what: Annotated[
        str, typer.Argument(metavar="SOURCE|FILE", help="a-martyn, akamaster, or a file of weights.")
    ],
    folder: Annotated[
        Path | None, typer.Option("--from", metavar="DIR", help="Where a source's published files lie.")
    ] = None,
    family: Annotated[
        str | None,
        typer.Option(
            help="For a file: plain or residual. For a source: only networks of this family.",
            autocompletion=options.one_of(*FAMILIES),
        ),
    ] = None,
    depth: Annotated[
        str | None,
        typer.Option(help="For a file: the depth it must have. For a source: only these depths, e.g. 20,56."),
    ] = None,
    mean: Annotated[
        str | None,
        typer.Option(help="Mean of a file's input, for pixels in [0, 1]: one number, or three with commas."),
    ] = None,
    std: Annotated[str | None, typer.Option(help="Deviation of a file's input, likewise.")] = None,
    own_input: Annotated[
        bool, typer.Option("--own-input", help="A file's input is that of resdeg's own trainings.")
    ] = False,
    padding: Annotated[
        str | None,
        typer.Option(
            help="Where a file's option A puts new channels: behind or around.",
            autocompletion=options.one_of(*PADDINGS),
        ),
    ] = None,
    source: Annotated[
        str | None, typer.Option(help="Who made the file, in a word [the name of its folder].")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="A number that tells networks of a source apart [0].")
    ] = None,
    data: options.DataOption = None,
    data_dir: options.DataDir = None,
    recipe: options.Recipe = None,
    epochs: options.Epochs = None,
    steps: options.Steps = None,
    assignments: options.Assignments = None,
    offline: options.Offline = False,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the runs [results/local/adopted-<source>].")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Measure weights that others trained, and store them as runs; --recipe, --epochs, --set say how a file's
    were trained, if that is known."""
    from resdeg.runner.published import PUBLISHED

    publication = PUBLISHED.get(what)
    about_file = {
        "--mean": mean, "--std": std, "--own-input": own_input or None, "--padding": padding,
        "--source": source, "--seed": seed, "--data": data, "--recipe": recipe, "--epochs": epochs,
        "--steps": steps, "--set": assignments,
    }  # fmt: skip
    if publication is not None:
        _refuse_options({name: value for name, value in about_file.items() if value is not None}, what)
        forbidden = offline or is_true(os.environ.get("RESDEG_OFFLINE", ""))
        adopted = list(_adopt_published(publication, folder, family, depth, data_dir, forbidden, out))
    else:
        if folder is not None:
            raise UsageError("--from is for a-martyn and akamaster", "give the path of the file itself")
        given = arrange_options(
            data=data, data_dir=data_dir, recipe=recipe, epochs=epochs, steps=steps, jobs="1",
            offline=offline, seeds=None if seed is None else str(seed),
        )  # fmt: skip
        adopted = [
            _adopt_file(Path(what), family, depth, _read_input(mean, std, own_input), padding, source, given,
                        assignments or [], out)
        ]  # fmt: skip
    if as_json:
        runs = [json.loads(summary.to_json()) for _, summary in adopted]
        emit_json({"folder": str(adopted[0][0]), "runs": runs})
        return
    for _, summary in adopted:
        emit(_describe(summary))
    emit(str(adopted[0][0]))


def _describe(summary: RunSummary) -> str:
    names = {"test": "test", "train": "training", "recomputed_train": "training with statistics recomputed"}
    errors = [
        f"{title} {100 * (1 - accuracy):.2f} %"
        for name, title in names.items()
        if (accuracy := getattr(summary, f"{name}_accuracy")) is not None
    ]
    return f"{summary.run_id}: adopted; error: {', '.join(errors)}"


def _refuse_options(given: dict[str, Any], source: str) -> None:
    for name in given:
        raise UsageError(
            f"{name} is for a file of weights; {source}'s are known", f"leave out {name}, or give a file"
        )


def _adopt_published(
    publication: Published,
    folder: Path | None,
    family: str | None,
    depth: str | None,
    data_dir: Path | None,
    offline: bool,
    out: Path | None,
) -> Iterator[tuple[Path, RunSummary]]:
    from resdeg.runner.adopting import read_network
    from resdeg.runner.published import locate

    chosen = _choose_files(publication, family, depth)
    adopted = {
        "source": publication.name,
        "mean": publication.mean,
        "deviation": publication.deviation,
        "schedule_known": True,
    }
    given = arrange_options(
        data_dir=data_dir, recipe="he2015", epochs=publication.training["epochs"], jobs="1", offline=offline
    )
    # All files are found or fetched first, so that a missing one is known before the first hour.
    paths = [locate(publication, file, folder=folder, offline=offline, say=screen.say) for file in chosen]
    for file, path in zip(chosen, paths, strict=True):
        weights = read_network(path, family=file.family, depth=file.depth)
        origin = {
            "licence": publication.licence,
            "address": publication.address(file),
            "trained": publication.trained,
        }
        yield _store_run(weights, {**given, "adopted": adopted}, [], out, origin)


def _choose_files(publication: Published, family: str | None, depth: str | None) -> list[PublishedFile]:
    depths = None if depth is None else parse_depths(depth)
    if family is not None and family not in FAMILIES:
        raise UsageError(f"--family {family} is not known", did_you_mean(family, FAMILIES))
    chosen = [
        file
        for file in publication.files
        if (family is None or file.family == family) and (depths is None or file.depth in depths)
    ]
    published = ", ".join(f"{file.family}-{file.depth}" for file in publication.files)
    if not chosen or (depths and {file.depth for file in chosen} != {*depths}):
        raise UsageError(f"{publication.name} has not published every one of these", f"it has {published}")
    return chosen


def _adopt_file(
    path: Path,
    family: str | None,
    depth: str | None,
    standardised: Settings,
    padding: str | None,
    source: str | None,
    given: Settings,
    assignments: list[str],
    out: Path | None,
) -> tuple[Path, RunSummary]:
    from resdeg.config.grammar import check_depth
    from resdeg.runner.adopting import read_network

    for name, value, names in (("family", family, FAMILIES), ("padding", padding, PADDINGS)):
        if value is not None and value not in names:
            raise UsageError(f"--{name} {value} is not known", did_you_mean(value, names))
    depths = () if depth is None else parse_depths(depth)
    if len(depths) > 1:
        raise UsageError("a file has one depth", "give one --depth, or leave it out")
    for text in assignments:
        if not text.startswith(("training.", "data.")):
            raise UsageError(
                f"--set {text}: cannot change the network of a file", "set only training.* and data.*"
            )
    weights = read_network(
        path,
        family=family,  # type: ignore[arg-type]
        depth=check_depth(depths[0]) if depths else None,
        padding=padding,  # type: ignore[arg-type]
    )
    name = path.absolute().parent.name if source is None else source
    known = "training" in given or any(text.startswith("training.") for text in assignments)
    adopted = {"source": re.sub(r"[^A-Za-z0-9._-]+", "-", name), **standardised, "schedule_known": known}
    return _store_run(weights, {**given, "adopted": adopted}, assignments, out, {})


def _read_input(mean: str | None, std: str | None, own_input: bool) -> Settings:
    """Reads the part of AdoptedConfig that says how the input is standardised."""
    if own_input == (mean is not None or std is not None):
        raise UsageError(
            "a file does not say how its input was standardised", "give --mean and --std, or --own-input"
        )
    if own_input:
        return {}
    return {"mean": _read_channels("mean", mean), "deviation": _read_channels("std", std)}


def _read_channels(name: str, text: str | None) -> tuple[float, ...]:
    try:
        numbers = [float(part) for part in (text or "").split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 3):
        raise UsageError(
            f"--{name} {text or 'is missing'}: not one number or three", "write e.g. 0.485,0.456,0.406"
        )
    return tuple(numbers * (3 // len(numbers)))


def _store_run(
    weights: Weights,
    given: Settings,
    assignments: list[str],
    out: Path | None,
    origin: dict[str, str],
) -> tuple[Path, RunSummary]:
    """Stores the run of a network, and the grid that names it."""
    from resdeg import data
    from resdeg.config import resolve
    from resdeg.runner.adopting import adopt as measure_run
    from resdeg.store import SweepStore
    from resdeg.sweep.destination import check_folder

    network = weights.network
    images = {"name": "cifar100" if network.classes == 100 else "cifar10"} | given.get("data", {})
    model = network.config.model_dump(exclude_none=True)
    grid = {"depths": str(network.depth), "families": network.family, "data": images, "model": model}
    flags = {"seeds": "0", **given, **grid}
    config = resolve(None, os.environ, assignments, flags, describe=data.describe_folder)
    run, classes = config.grid()[0], data.shape(config.data).classes
    if classes != network.classes:
        raise UsageError(
            f"{weights.path} has {network.classes} classes, {config.data.name} has {classes}", "give --data"
        )
    assert run.adopted is not None
    store = SweepStore(out or Path("results") / "local" / f"adopted-{run.adopted.source}")
    check_folder(config, store)
    with store.owned():
        check_folder(config, store)  # another process may have begun a sweep there
        _write_grid(config, store)
        screen.say(f"{run.run_id}: measuring {weights.path.name} ({network.layout} layout)")
        data_dir = config.execution.data_path
        summary = measure_run(
            run, weights, store=store.run(run.run_id), data_dir=data_dir, warn=screen.notice, **origin
        )
        return store.folder, summary


def _write_grid(config: SweepConfig, store: SweepStore) -> None:
    """Adds the run to the grid in sweep.toml, if a grid can name exactly the runs that are there then.

    Otherwise the grid stays as it is, and the run is stored beside it.
    """
    from resdeg import files
    from resdeg.analysis.reader import list_runs

    options.remember(store.folder)
    if not store.plan.is_file():
        files.write(store.plan, config.to_toml().encode())
        return
    plan, stored, _ = list_runs(store)
    # The planned runs come first, because those that cannot be read are planned all the same.
    runs = {run.run_id: run for run in (*plan.grid(), *stored, *config.grid())}.values()
    grown = plan.model_copy(
        update={
            "depths": tuple(sorted({run.depth for run in runs})),
            "families": tuple(family for family in FAMILIES if family in {run.family for run in runs}),
            "seeds": tuple(sorted({run.seed for run in runs})),
        }
    )
    if {run.run_id for run in grown.grid()} == {run.run_id for run in runs}:
        files.write(store.plan, grown.to_toml().encode())


def export_weights(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="A run's folder: results/<sweep>/runs/<run_id>.")
    ],
    layout: Annotated[
        str, typer.Option(help=f"{', '.join(LAYOUTS)}: whose names.", autocompletion=options.one_of(*LAYOUTS))
    ],
    out: Annotated[
        Path, typer.Option("--out", help="FILE.safetensors, or FILE.pt, .pth or .th in torch's format.")
    ],
    as_json: options.AsJson = False,
) -> None:
    """Write a run's trained weights under another program's names, its option A's channels in its order."""
    from resdeg.runner.adopting import export_weights as write_layout

    write_layout(run, layout=layout, out=out)
    emit(json.dumps({"file": str(out), "layout": layout}) if as_json else str(out))
