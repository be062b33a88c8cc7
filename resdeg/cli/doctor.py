"""`resdeg doctor`: a table of what this machine has."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from resdeg import __version__
from resdeg.cli import options
from resdeg.cli.console import emit, emit_json, screen
from resdeg.errors import ResdegError, StorageError
from resdeg.report.units import size
from resdeg.room import count_free_bytes

_NOT_COMPILED = "torch's, in up to 18 % longer steps: install resdeg again where there is a C++ compiler"
_LIBRARIES = ("numpy", "pandas", "matplotlib", "scipy", "pydantic", "typer", "safetensors")


def doctor(data_dir: options.DataDir = None, as_json: options.AsJson = False) -> None:
    """Show Python, torch, devices, threads, data and disk; nothing is changed."""
    facts = dict([*_software(), *_hardware(), *_data(options.resolve_data_dir(data_dir)), *_disk()])
    if as_json:
        emit_json(facts)
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        emit(f"{name:{width}}  {value}")


def _software() -> Iterator[tuple[str, str]]:
    yield "resdeg", __version__
    yield "python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    yield "libraries", ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _LIBRARIES)


def _hardware() -> Iterator[tuple[str, str]]:
    screen.say("asking torch ...")
    import torch

    from resdeg.models.fast import library
    from resdeg.sweep.machine import count_cores, find_cores, find_memory
    from resdeg.training.device import computes_bf16, resolve_device

    yield "torch", torch.__version__
    yield "norms", "with addition and relu, compiled here" if library() else _NOT_COMPILED
    cores, memory = find_cores(), find_memory()
    narrow = "" if cores.amount == os.cpu_count() else f" ({cores.amount:g} by {cores.origin})"
    usable = f"{count_cores()} of {os.cpu_count()} usable{narrow}"
    yield "cores", f"{usable}; runs side by side unless --jobs says other"
    if memory is not None:
        yield "memory", f"{size(memory.amount)} for new workers (by {memory.origin})"
    devices = []
    for name in ("cpu", "cuda", "mps"):
        try:
            device = resolve_device(name)
        except ResdegError:
            continue
        precisions = "fp32, bf16" if computes_bf16(device) else "fp32"
        title = torch.cuda.get_device_name(device) if name == "cuda" else name
        devices.append(f"{title} ({precisions})")
    yield "devices", ", ".join(devices)
    try:
        yield "chosen", f"{resolve_device(options.given_device()).type} (--device)"
    except ResdegError as error:
        yield "chosen", f"{error.what}; {error.remedy}"


def _data(data_dir: Path | None) -> Iterator[tuple[str, str]]:
    from resdeg.data import DATASETS, cifar

    for name, source in DATASETS.items():
        if source.files is None:
            yield name, source.about
            continue
        try:
            location = cifar.find(data_dir, source.files)
            yield name, f"{location.path} ({location.layout.kind if location.layout else 'cache'})"
        except ResdegError:
            hint = f"not in {data_dir}" if data_dir else f"`resdeg data fetch --data {name}` gets it"
            yield name, f"not here; {hint}"


def _disk() -> Iterator[tuple[str, str]]:
    from resdeg.data.cache import cache_folder

    try:
        yield "cache", _describe_room(cache_folder())
    except StorageError as error:
        yield "cache", f"{error.what}: {error.remedy}"
    yield "results", _describe_room(Path.cwd() / "results")


def _describe_room(folder: Path) -> str:
    free = count_free_bytes(folder)
    return str(folder) if free is None else f"{folder} ({size(free)} free)"
