"""The one unpickler. It reads a batch of CIFAR's python layout and nothing else.

A pickle passes two gates. First its opcodes are read, and none is run: only those that build plain data,
and those that call, may pass. Then an inert stand-in from this file answers every name that the pickle
asks for, so no function of numpy or of anything else ever runs on what the pickle says.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
from typing import Any, TypeGuard

import numpy as np

from resdeg.data.images import Bytes

_PLAIN = frozenset([
    "PROTO", "FRAME", "STOP", "MARK", "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "INT",
    "LONG", "LONG1", "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "EMPTY_LIST", "LIST", "APPEND", "APPENDS",
    "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_DICT", "DICT", "SETITEM", "SETITEMS",
    "PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE", "GET", "BINGET", "LONG_BINGET",
])  # fmt: skip
_CALLS = frozenset(["GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD"])
_MOST_OPCODES = 1_000_000  # the training file of CIFAR-100 has about 300,000


class Refused(Exception):  # noqa: N818 - it answers a hostile file, and is no failure of the program
    """The pickle is not a batch of CIFAR. Nothing in it was run."""


def read_batch(content: bytes, label_key: str) -> tuple[Bytes, Bytes]:
    """Reads pixels (N, 3072) and labels (N,), uint8, from a file of the python layout.

    Args:
        label_key: "labels" (CIFAR-10) or "fine_labels" (CIFAR-100).

    Raises:
        Refused: the content is anything else.
    """
    _check_opcodes(content)
    try:
        batch = _Unpickler(io.BytesIO(content), encoding="bytes").load()
    except Refused:
        raise
    except Exception as error:
        raise Refused(f"not a pickle of a batch ({type(error).__name__})") from error
    if type(batch) is not dict:
        raise Refused("holds no dictionary")
    named = {k.decode("latin1") if type(k) is bytes else k: v for k, v in batch.items()}
    return _pixels(named.get("data")), _labels(named.get(label_key), label_key)


def _check_opcodes(content: bytes) -> None:
    count = 0
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(content), start=1):
            if opcode.name not in _PLAIN | _CALLS:
                raise Refused(f"uses the pickle opcode {opcode.name}")
            if count > _MOST_OPCODES:
                raise Refused("has too many opcodes")
            # A memo is an array as long as its largest index, so one opcode could ask for gigabytes.
            if opcode.name in ("PUT", "LONG_BINPUT") and (
                argument is None or not 0 <= int(argument) <= count
            ):
                raise Refused("has a memo index out of order")
    except Refused:
        raise
    except Exception as error:
        raise Refused(f"not a pickle ({type(error).__name__} after {count} opcodes)") from error


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise Refused(f"asks for {module}.{name}"[:200])
        return _ALLOWED[module, name]()

    def persistent_load(self, pid: Any) -> Any:
        raise Refused("uses a persistent id")


# ---------------------------------------------------------------- stand-ins


class _Array:
    """The stand-in for an array that numpy's `_reconstruct` makes; it holds only uint8."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: Bytes | None = None

    def __setstate__(self, state: object) -> None:
        if type(state) is not tuple or len(state) != 5:
            raise Refused("an array has an unknown state")
        _, shape, dtype, fortran, content = state
        self.value = _array(content, dtype, shape, fortran=bool(fortran))


class _Dtype:
    """The stand-in for the dtype uint8, whose state (byte order, no fields) adds nothing."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        pass


class _NewDtype:
    __slots__ = ()

    def __call__(self, name: object, *flags: object) -> _Dtype:
        if name not in (b"u1", "u1", b"uint8", "uint8"):
            raise Refused(f"an array of {str(name)[:40]}, expected uint8")
        return _Dtype()


class _NdarrayName:
    __slots__ = ()


class _Reconstruct:
    __slots__ = ()

    def __call__(self, kind: object, *rest: object) -> _Array:
        if not isinstance(kind, _NdarrayName):
            raise Refused("an array of an unknown class")
        return _Array()


class _FromBuffer:
    __slots__ = ()

    def __call__(self, content: object, dtype: object, shape: object, order: object) -> _Array:
        array = _Array()
        array.value = _array(content, dtype, shape, fortran=order not in (b"C", "C"))
        return array


class _Encode:
    """The stand-in for `_codecs.encode(text, 'latin1')`, as which Python 3 writes bytes in protocol 2."""

    __slots__ = ()

    def __call__(self, text: object, encoding: object) -> bytes:
        if type(text) is not str or encoding not in ("latin1", "latin-1"):
            raise Refused("encodes what is not bytes")
        return text.encode("latin1")


_ALLOWED: dict[tuple[str, str], type] = {
    ("numpy", "ndarray"): _NdarrayName,
    ("numpy", "dtype"): _NewDtype,
    ("_codecs", "encode"): _Encode,
    # numpy 2 renamed numpy.core to numpy._core. Protocol 5 writes arrays by _frombuffer.
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _Reconstruct for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _FromBuffer for core in ("core", "_core")},
}


def _array(content: object, dtype: object, shape: object, *, fortran: bool) -> Bytes:
    if not isinstance(dtype, _Dtype) or fortran or not isinstance(content, (bytes, bytearray)):
        raise Refused("an array is not uint8 in C order")
    if not _is_shape(shape) or math.prod(shape) != len(content):
        raise Refused("an array's shape is not that of its bytes")
    return np.frombuffer(content, np.uint8).reshape(shape)


def _is_shape(shape: object) -> TypeGuard[tuple[int, ...]]:
    return type(shape) is tuple and len(shape) <= 4 and all(type(n) is int and 0 <= n < 2**32 for n in shape)


def _pixels(data: object) -> Bytes:
    value = data.value if isinstance(data, _Array) else None
    if value is None or value.ndim != 2 or value.shape[1] != 3072:
        raise Refused("'data' is not an array of N x 3072 bytes")
    return value


def _labels(labels: object, key: str) -> Bytes:
    if type(labels) is not list or not all(type(v) is int and 0 <= v <= 255 for v in labels):
        raise Refused(f"'{key}' is not a list of whole numbers from 0 to 255")
    return np.array(labels, np.uint8)
