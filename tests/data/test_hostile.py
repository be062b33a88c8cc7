"""Hostile pickles and archives: none accepted, nothing run, nothing written outside the cache."""

from __future__ import annotations

import gzip
import io
import lzma
import pickle
import struct
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from resdeg.data import unpickle
from resdeg.data.cifar import CIFAR10, load
from resdeg.data.unpickle import Refused, read_batch
from resdeg.errors import DataError
from tests.data.small import (
    BINARY,
    PYTHON,
    SMALL,
    binary_files,
    official_batch,
    python_batch,
    python_files,
    records,
    tar,
    trusting,
)

BATCH = records()[0]
GOOD = official_batch(BATCH)


class Calls:
    """Pickles as a call of `what`, which the attacker wants made."""

    def __init__(self, what: Callable[..., object], *arguments: object) -> None:
        self.call = (what, arguments)

    def __reduce__(self):
        return self.call


def touch() -> str:
    return "touch ran"  # in the test's own folder


def with_label(value: object, protocol: int = 2) -> bytes:
    return python_batch(BATCH, protocol, labels=[value] * 30)


def raw(body: bytes, protocol: bytes = b"\x80\x02") -> bytes:
    """`body` in place of the data, inside a batch that is otherwise right."""
    labels = b"X\x06\x00\x00\x00labels](" + b"".join(b"K" + bytes([v]) for v in BATCH[:, 0]) + b"e"
    return protocol + b"}(" + labels + b"X\x04\x00\x00\x00data" + body + b"u."


ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR"
U1 = b"cnumpy\ndtype\n(U\x02u1K\x00K\x01tR"


def array(shape: bytes, dtype: bytes = U1, fortran: bytes = b"\x89", content: bytes = b"U\x04abcd") -> bytes:
    return raw(ARRAY + b"(K\x01" + shape + dtype + fortran + content + b"tb")


def hostile() -> dict[str, bytes]:
    import functools
    import os
    import subprocess

    call = {
        "os.system": Calls(os.system, touch()),
        "eval": Calls(eval, "open('ran', 'w')"),
        "exec": Calls(exec, "open('ran', 'w').close()"),
        "import": Calls(__import__, "os"),
        "open": Calls(open, "ran", "w"),
        "Popen": Calls(subprocess.Popen, ["touch", "ran"]),
        "partial": Calls(functools.partial, os.system, touch()),
        "getattr": Calls(getattr, "", "format"),
        "numpy.fromfile": Calls(np.fromfile, "/etc/hostname"),
        "numpy.memmap": Calls(np.memmap, "ran", "u1", "w+", 0, (4,)),
    }
    found = {name: with_label(value) for name, value in call.items()}
    found["exec in protocol 4"] = with_label(call["exec"], protocol=4)
    found["object array"] = python_batch(BATCH, data=np.array([[call["os.system"]]], dtype=object))
    found["float array"] = python_batch(BATCH, data=BATCH[:, 1:].astype(np.float32))
    found["set"] = python_batch(BATCH, protocol=4, filenames={1, 2})
    system = b"cos\nsystem\n"
    ran = b"U\x09touch ran"
    found |= {
        "INST": raw(b"(" + ran + b"ios\nsystem\n"),
        "OBJ": raw(b"(" + system + ran + b"o"),
        "NEWOBJ": raw(system + b"(" + ran + b"t\x81"),
        "NEWOBJ_EX": raw(system + b"(" + ran + b"t}\x92", b"\x80\x04"),
        "EXT1": raw(b"\x82\x01"),
        "PERSID": raw(b"Pos.system\n"),
        "BINPERSID": raw(ran + b"Q"),
        "NEXT_BUFFER": raw(b"\x97", b"\x80\x05"),
        "posix.system as text": b"cposix\nsystem\n(S'touch ran'\ntR.",
        "dotted name": raw(b"\x8c\x05numpy\x8c\x10ndarray.__reduce__\x93", b"\x80\x04"),
        "name of another module": raw(b"cnumpy.core.multiarray\nscalar\n"),
        "codec that computes": raw(b"c_codecs\nencode\n(X\x01\x00\x00\x00aX\x05\x00\x00\x00rot13tR"),
        "array of another class": raw(
            b"cnumpy.core.multiarray\n_reconstruct\n(c_codecs\nencode\n(K\x00tU\x01btR"
        ),
        "attributes set on a name": raw(b"cnumpy\ndtype\nN}U\x08__call__K\x01s\x86b"),
        "state set on a callable": raw(b"cnumpy\ndtype\n}U\x01aK\x01sb"),
        "larger shape than bytes": array(b"(M\xff\xffM\x00\x0ct"),
        "shape of terabytes": array(b"(\x8a\x06\x00\x00\x00\x00\x00\x01M\x00\x0ct"),
        "negative shape": array(b"(J\xff\xff\xff\xffJ\xfc\xff\xff\xfft"),
        "shape that is no tuple": array(b"]"),
        "fortran order": array(b"(K\x01K\x04t", fortran=b"\x88"),
        "dtype that is no dtype": array(b"(K\x01K\x04t", dtype=b"N"),
        "array of text": array(b"(K\x01K\x04t", content=b"X\x04\x00\x00\x00abcd"),
        "narrow images": array(b"(K\x01K\x04t"),
        "array never filled": raw(ARRAY),
        "memo of gigabytes": raw(b"Nr\xff\xff\xff\x7f"),
        "memo of gigabytes as text": raw(b"Np2000000000\n"),
        "bytes of terabytes": raw(b"\x8e\x00\x00\x00\x00\x00\x01\x00\x00abc", b"\x80\x04"),
        "bytearray of terabytes": raw(b"\x96\x00\x00\x00\x00\x00\x01\x00\x00abc", b"\x80\x05"),
        "frame of terabytes": b"\x80\x04\x95\x00\x00\x00\x00\x00\x01\x00\x00" + GOOD,
        "integer of gigabytes": raw(b"\x8b\xff\xff\xff\x7fab"),
        "integer of digits": raw(b"I" + b"9" * 100_000 + b"\n"),
        "opcodes without end": b"\x80\x02" + b"N" * 1_100_000 + b".",
        "nested tuples": b"\x80\x02N" + b"\x85" * 200_000 + b".",
        "key that has no hash": b"\x80\x02}]Ns.",
        "empty": b"",
        "stop": b".",
        "text": b"<html>not here</html>",
        "cut": GOOD[: len(GOOD) // 2],
        "one byte short": GOOD[:-1],
        "list": b"\x80\x02].",
        "label of 300": with_label(300),
        "label of -1": with_label(-1),
        "label of truth": with_label(True),
        "labels as text": python_batch(BATCH, labels="0" * 30),
        "no data": python_batch(BATCH, data=None),
        "no labels": python_batch(BATCH, labels=None),
    }
    return found


HOSTILE = hostile()


@pytest.fixture
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A folder to be in, that must be as it was at the end; the peak of memory stays small."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    stand_ins = {name: dict(vars(kind)) for name, kind in vars(unpickle).items() if isinstance(kind, type)}
    tracemalloc.start()
    yield folder
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100e6
    assert list(folder.iterdir()) == [], "nothing was written"
    assert {p.name for p in tmp_path.iterdir()} <= {"here", "cache", "given"}
    now = {name: dict(vars(kind)) for name, kind in vars(unpickle).items() if isinstance(kind, type)}
    assert now == stand_ins, "and no class was changed"


def test_there_are_enough_of_them() -> None:
    assert len(HOSTILE) >= 30
    assert len(CRAFTED) >= 50


def test_the_batch_itself_is_accepted() -> None:
    for content in (GOOD, python_batch(BATCH), python_batch(BATCH, protocol=5)):
        pixels, labels = read_batch(content, "labels")
        assert np.array_equal(pixels, BATCH[:, 1:])
        assert np.array_equal(labels, BATCH[:, 0])


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_pickle_is_refused(name: str, surroundings: Path) -> None:
    with pytest.raises(Refused):
        read_batch(HOSTILE[name], "labels")


def test_the_test_of_pickles_can_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bytes do what they want where an ordinary unpickler reads them."""
    monkeypatch.chdir(tmp_path)
    pickle.loads(HOSTILE["exec"])
    assert (tmp_path / "ran").exists()


# ---------------------------------------------------------------- archives

FILES = binary_files(records())
FOLDER = BINARY.folder
LAST = "test_batch.bin"


def member(name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, **more: object) -> bytes:
    """One member's header and blocks."""
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(data)
    for key, value in more.items():
        setattr(info, key, value)
    padded = data + b"\0" * (-len(data) % 512)
    return info.tobuf(tarfile.GNU_FORMAT) + padded


def pack(*members: bytes) -> bytes:
    return gzip.compress(b"".join(members) + b"\0" * 1024, 1)


def others() -> bytes:
    """All but the last of the batch files, as they should be."""
    return b"".join(member(f"{FOLDER}/{name}", data) for name, data in FILES.items() if name != LAST)


def last(name: str = f"{FOLDER}/{LAST}", data: bytes = FILES[LAST], **more: object) -> bytes:
    return member(name, data, **more)


def with_size(field: bytes) -> bytes:
    """The last member with this size field, its checksum made right again."""
    header = bytearray(last()[:512])
    header[124:136] = field.ljust(12, b"\0")
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    return pack(others(), bytes(header), FILES[LAST])


def pax(**headers: str) -> bytes:
    return tarfile.TarInfo._create_pax_generic_header(headers, tarfile.XHDTYPE, "utf-8")


def crafted() -> dict[str, bytes]:
    plain = others() + last() + b"\0" * 1024
    good = gzip.compress(plain, 1)
    link = {"linkname": "/etc/passwd"}
    out = {
        "symlink": pack(others(), last(data=b"", kind=tarfile.SYMTYPE, **link)),
        "hard link": pack(others(), last(data=b"", kind=tarfile.LNKTYPE, **link)),
        "hard link inside": pack(
            others(), last(data=b"", kind=tarfile.LNKTYPE, linkname=f"{FOLDER}/data_batch_1.bin")
        ),
        "character device": pack(others(), last(data=b"", kind=tarfile.CHRTYPE, devmajor=1, devminor=5)),
        "block device": pack(others(), last(data=b"", kind=tarfile.BLKTYPE, devmajor=8)),
        "fifo": pack(others(), last(data=b"", kind=tarfile.FIFOTYPE)),
        "directory": pack(others(), last(data=b"", kind=tarfile.DIRTYPE)),
        "sparse": pack(others(), last(kind=tarfile.GNUTYPE_SPARSE)),
        "contiguous": pack(others(), last(kind=tarfile.CONTTYPE)),
        "unknown kind": pack(others(), last(kind=b"Z")),
        "link out, then through it": pack(
            others(), member(FOLDER + "x", kind=tarfile.SYMTYPE, linkname="/"), last(f"{FOLDER}x/{LAST}")
        ),
    }
    for name in (
        f"../{FOLDER}/{LAST}", f"/{FOLDER}/{LAST}", f"{FOLDER}/../{FOLDER}/{LAST}", f"{FOLDER}//{LAST}",
        f"{FOLDER}\\{LAST}", f"{FOLDER.upper()}/{LAST}", f"{FOLDER}/{LAST} ", f"~/{FOLDER}/{LAST}", LAST,
        f"../../../../../../tmp/{LAST}", f"{FOLDER}/{LAST}\u200b", "C:\\" + LAST,
    ):  # fmt: skip
        out[f"name {name!r}"] = pack(others(), last(name))
    out |= {
        "size of nothing": with_size(b"0"),
        "size of more than there is": with_size(b"77777777777"),
        "size of less": with_size(b"0000000010"),
        "size that is no number": with_size(b"abcdefg"),
        "negative size": with_size(b"\xff" + b"\xff" * 8 + struct.pack(">h", -512)[:3]),
        "size of exabytes": with_size(b"\x80" + b"\x00" * 3 + b"\x7f" + b"\xff" * 7),
        "not compressed": plain,
        "empty": b"",
        "one byte": b"\x1f",
        "magic alone": b"\x1f\x8b",
        "web page": b"<html>sign in</html>",
        "cut in half": good[: len(good) // 2],
        "cut at the checksum": good[:-4],
        "wrong checksum": good[:-8] + b"\0\0\0\0" + good[-4:],
        "wrong length": good[:-4] + b"\0\0\0\0",
        "twice compressed": gzip.compress(good, 1),
        "xz": lzma.compress(plain, preset=0),
        "empty tar": pack(),
        "bomb": gzip.compress(b"\0" * 3_000_000, 9),
        "bomb after the files": gzip.compress(plain[:-1024] + member("zeros", b"\0" * 3_000_000), 1),
        "bad header checksum": pack(others(), b"\0" * 100 + last()[100:]),
        "garbage": pack(np.random.default_rng(0).bytes(5000)),
        "long names without end": pack(*[member("././@LongLink", b"x\0", b"L") for _ in range(3000)], last()),
        "long name of a path out": pack(
            others(), member("././@LongLink", b"../" * 100 + b"\0", b"L"), last()
        ),
        "extended name": pack(others(), pax(path=f"../{LAST}"), last()),
        "extended size": pack(others(), pax(size="99999999999999"), last()),
        "extended size that is no number": pack(others(), pax(size="many"), last()),
        "short file": pack(others(), last(data=FILES[LAST][:-1])),
        "long file": pack(others(), last(data=FILES[LAST] + b"\0")),
        "label of 11": pack(others(), last(data=b"\x0b" + FILES[LAST][1:])),
        "bad file first, good one after": pack(others(), last(data=b"\0" * len(FILES[LAST])), last()),
        "members without end": pack(*[member(f"{FOLDER}/{k}") for k in range(200)], others(), last()),
        "only a folder": pack(member(FOLDER, kind=tarfile.DIRTYPE)),
    }  # fmt: skip
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr(f"{FOLDER}/{LAST}", FILES[LAST])
    return {**out, "zip": archive.getvalue()}


CRAFTED = crafted()


@pytest.fixture
def given(tmp_path: Path) -> Path:
    folder = tmp_path / "given"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("name", CRAFTED)
def test_a_crafted_archive_is_refused_before_it_is_parsed(
    name: str, given: Path, surroundings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zlib.decompressobj", lambda **_: pytest.fail("it was decompressed"))
    path = given / BINARY.archive
    path.write_bytes(CRAFTED[name])
    with pytest.raises(DataError, match="the file is not used"):
        load(path, CIFAR10)


@pytest.mark.parametrize("name", CRAFTED)
def test_even_with_its_hash_believed_a_crafted_archive_is_refused(
    name: str, given: Path, surroundings: Path
) -> None:
    """Behind the first gate: the parser itself accepts none of them."""
    path = given / BINARY.archive
    path.write_bytes(CRAFTED[name])
    with pytest.raises(DataError):
        load(path, trusting(CRAFTED[name], BINARY, unpacked=1_000_000))


def test_a_good_archive_with_bad_company_is_read_and_nothing_is_extracted(
    given: Path, surroundings: Path
) -> None:
    company = [
        member("../../outside", b"x"), member("/tmp/outside-resdeg", b"x"),
        member("link", kind=tarfile.SYMTYPE, linkname="/etc/passwd"),
    ]  # fmt: skip
    content = pack(*company, others(), last(), last(data=b"\0" * len(FILES[LAST])))
    (given / BINARY.archive).write_bytes(content)
    data = load(given / BINARY.archive, trusting(content, BINARY))
    plain = tar(FILES, FOLDER)
    (given / "plain").write_bytes(plain)
    assert data.hash == load(given / "plain", trusting(plain, BINARY)).hash
    assert not Path("/tmp/outside-resdeg").exists()


@pytest.mark.parametrize("name", ["exec", "object array", "memo of gigabytes", "cut"])
def test_a_hostile_pickle_in_an_archive(name: str, given: Path, surroundings: Path) -> None:
    content = tar({**python_files(records()), "test_batch": HOSTILE[name]}, PYTHON.folder)
    (given / PYTHON.archive).write_bytes(content)
    with pytest.raises(DataError, match="test_batch: .*refused, nothing of it was run"):
        load(given / PYTHON.archive, trusting(content, PYTHON, SMALL))
