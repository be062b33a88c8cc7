"""Files of weights from elsewhere: safetensors, and torch's own format without running what is in it.

No other module reads or writes torch's own format. A file can make its unpickler for weights run code before
torch 2.6, and write past its memory before 2.10, so older versions do not read it.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from resdeg import files
from resdeg.errors import DataError, UsageError

SAFE_TORCH = (2, 10)
ENDINGS = (".safetensors", ".pt", ".pth", ".th")
_MOST_BYTES = 1 << 30  # a network of depth 1202 has 80 MB
_WRAPPERS = ("state_dict", "net", "model")  # the keys under which checkpoints hold weights besides other data
_SAFETENSORS = b"{"  # the first byte of the header, after eight bytes of length


def read_weights(path: Path) -> dict[str, Tensor]:
    """Reads the tensors in `path` by name, on the CPU, without a dictionary or prefix `module.` around them.

    Raises:
        UsageError: there is no such file, or this torch does not read torch's own format safely.
        DataError: the file holds anything but a dictionary of tensors; nothing of it was run.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file", "give a file of weights, or a-martyn or akamaster")
    if path.stat().st_size > _MOST_BYTES:
        raise DataError(f"{path}: larger than {_MOST_BYTES:,} bytes, which no such network is")
    content = files.read(path) or b""
    return _check_tensors(path, _parse(path, content))


def _parse(path: Path, content: bytes) -> object:
    if content[8:9] == _SAFETENSORS:
        try:
            return safetensors.torch.load(content)
        except Exception as error:
            raise DataError(f"{path}: not a whole safetensors file ({_first_line(error)})") from error
    if path.suffix == ".safetensors":
        raise DataError(f"{path}: not a whole safetensors file")
    check_torch(path)
    buffer = io.BytesIO(content)
    try:
        loaded: object = torch.load(buffer, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or hostile file can raise anything
        raise DataError(f"{path}: not a file of plain tensors ({_first_line(error)})") from error
    return loaded


def check_torch(path: Path) -> None:
    """Refuses torch's own format if this torch does not read it safely.

    Raises:
        UsageError: torch is older than SAFE_TORCH.
    """
    version = str(torch.__version__)
    if tuple(int(part) for part in version.split(".")[:2]) < SAFE_TORCH:
        least = ".".join(map(str, SAFE_TORCH))
        raise UsageError(
            f"{path} is in torch's own format, which torch {version} does not read safely: it takes {least}",
            f"update torch to {least} or later, or give the weights as safetensors",
        )


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"[:120].rstrip(": ")


def _check_tensors(path: Path, loaded: object) -> dict[str, Tensor]:
    if isinstance(loaded, Mapping) and not any(isinstance(value, Tensor) for value in loaded.values()):
        loaded = next((loaded[key] for key in _WRAPPERS if isinstance(loaded.get(key), Mapping)), loaded)
    if not isinstance(loaded, Mapping):
        raise DataError(f"{path}: holds a {type(loaded).__name__}, expected a dictionary of tensors")
    if not loaded:
        raise DataError(f"{path}: holds an empty dictionary")
    for name, value in loaded.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            kind = type(value).__name__
            raise DataError(f"{path}: {str(name)[:60]!r} is a {kind}, expected names of tensors")
        if value.layout is not torch.strided or value.device.type != "cpu" or value.is_quantized:
            raise DataError(f"{path}: {name} is no plain tensor ({value.layout}, {value.device})")
    return _remove_prefix({name: value.detach() for name, value in loaded.items()})


def _remove_prefix(named: dict[str, Tensor]) -> dict[str, Tensor]:
    """Removes the prefix of DataParallel, or that of a checkpoint of resdeg, whose momentum is left out."""
    if all(name.startswith("module.") for name in named):
        return {name.removeprefix("module."): value for name, value in named.items()}
    if any(name.startswith("model.") for name in named):
        return {n.removeprefix("model."): value for n, value in named.items() if n.startswith("model.")}
    return named


def write_weights(path: Path, named: Mapping[str, Tensor]) -> None:
    """Writes tensors by name, as safetensors or in torch's own format, which the file's ending chooses.

    Raises:
        UsageError: the name ends in none of ENDINGS; StorageError: the disk refuses.
    """
    if path.suffix not in ENDINGS:
        raise UsageError(
            f"--out {path}: the name is not that of a file of weights", f"end it in {', '.join(ENDINGS)}"
        )
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in named.items()}
    if path.suffix == ".safetensors":
        content = safetensors.torch.save(plain)
    else:
        buffer = io.BytesIO()
        torch.save(plain, buffer)
        content = buffer.getvalue()
    files.make_folder(path.parent)
    files.write(path, content)
