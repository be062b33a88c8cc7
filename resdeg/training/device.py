"""The device that a training computes on, and what makes its numbers repeatable there."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import sys
from collections.abc import Mapping

import torch

from resdeg.config import TrainingConfig
from resdeg.errors import UsageError

# The names in torch.cpu.get_capabilities of instructions for bf16 arithmetic; the last two are ARM's.
BF16_CAPABILITIES = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h names them.


def resolve_device(name: str) -> torch.device:
    """Returns the device called `name`; 'auto' is the first of cuda, mps and cpu that this machine has.

    Raises:
        UsageError: this machine has no such device.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind, present in available.items() if present)
    if not available[name]:
        raise UsageError(f"device {name} is not on this machine", "give --device cpu, or leave it out")
    return torch.device(name)


def check_arithmetic(config: TrainingConfig, device: torch.device) -> None:
    """Refuses a precision that `device` would only emulate, and fast math where it would change nothing.

    Raises:
        UsageError: `device` has no bf16 arithmetic, or is not CUDA.
    """
    if config.precision == "bf16" and not computes_bf16(device):
        raise UsageError(f"bf16 is not supported by this {device.type}", "give --precision fp32")
    if config.fast_math and device.type != "cuda":
        raise UsageError("fast math is for CUDA: it changes nothing elsewhere", "leave out --fast-math")


def computes_bf16(device: torch.device) -> bool:
    """Says whether the hardware of `device` has bf16 arithmetic, and torch uses it."""
    if device.type == "cpu":
        # torch's own check passes every CPU with AVX-512, though most of these only emulate bf16.
        supported: bool = torch.ops.mkldnn._is_mkldnn_bf16_supported()
        return supported and any(_cpu_capabilities().get(name) for name in BF16_CAPABILITIES)
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def _cpu_capabilities() -> Mapping[str, object]:
    get_capabilities = getattr(torch.cpu, "get_capabilities", None)
    if get_capabilities is not None:
        capabilities: Mapping[str, object] = get_capabilities()
        return capabilities
    # Versions of torch before this function have private ones for x86, and their own check is right on ARM.
    private = {"avx512_bf16": "_is_avx512_bf16_supported", "amx_bf16": "_is_amx_tile_supported"}
    supported = {name: getattr(torch.cpu, function, lambda: False)() for name, function in private.items()}
    return {**supported, "bf16": platform.machine() in ("aarch64", "arm64")}


def prepare(config: TrainingConfig, device: torch.device) -> None:
    """Makes this process repeat its bits: threads as configured, deterministic algorithms, no TF32.

    Fast math gives that up: TF32, and per shape the algorithm that cuDNN finds fastest.

    Raises:
        UsageError: `device` lacks the arithmetic that `config` asks for.
    """
    check_arithmetic(config, device)
    torch.set_num_threads(config.threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # Deterministic cuBLAS needs it.
    # use_deterministic_algorithms would do the same, but it imports inductor, which takes 1.3 s.
    torch.set_deterministic_debug_mode("default" if config.fast_math else "error")
    # By default every new tensor is filled before it is written, which takes 3-6 % of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = config.fast_math
    torch.backends.cuda.matmul.allow_tf32 = config.fast_math
    torch.backends.cudnn.allow_tf32 = config.fast_math
    keep_freed_memory()


def keep_freed_memory() -> None:
    """Lets glibc keep what a step frees: the next step asks for the same tensors again.

    By default blocks above 32 MB go back to the kernel each time and come back as page faults,
    which is 6-9 % of a step.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30)
            libc.mallopt(_M_TRIM_THRESHOLD, -1)  # It is unsigned inside, so -1 means never.


def own_stream(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """On CUDA, sends this thread's work to a stream that no other thread uses; elsewhere does nothing."""
    if device.type != "cuda":
        return contextlib.nullcontext()
    stream: contextlib.AbstractContextManager[object] = torch.cuda.stream(torch.cuda.Stream(device))  # type: ignore[no-untyped-call]
    return stream


def autocast(config: TrainingConfig, device: torch.device) -> torch.autocast:
    """Computes convolutions and products in bf16; norm statistics, loss, weights and momentum stay fp32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bf16")
