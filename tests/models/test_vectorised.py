"""The loops of norm_relu.cpp become packed instructions: asked of the compiler's output, not of a clock.

A loop that was not vectorised once made the compiled norm several times slower than torch's, and no result
showed it. How fast it is on a machine is what `resdeg bench` says.
"""

from __future__ import annotations

import os
import platform
import re
import runpy
import shlex
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest
import setuptools
from setuptools import Extension

from resdeg.models import fast

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "resdeg" / "models" / "norm_relu.cpp"
TYPES = {"bfloat16": ("bf16", "float"), "float32": ("float", "float"), "float64": ("double", "double")}
# An entry for each of the branches that the two entries of a type have, so that an instance of a loop that is
# not vectorised cannot hide behind another.
BRANCHES = """
extern "C" EACH_PROCESSOR void write_added_{suffix}(
    const {T}* x, const {T}* added, {T}* y, long pixels, long channels, const {A}* weight, const {A}* bias,
    {A}* running_mean, {A}* running_var, {A}* mean, {A}* inverse, double eps, double momentum,
    double scale) {{
  if (!added) __builtin_unreachable();
  forward(x, added, y, pixels, channels, weight, bias, running_mean, running_var, mean, inverse, eps,
          momentum, scale);
}}
extern "C" EACH_PROCESSOR void write_alone_{suffix}(
    const {T}* x, {T}* y, long pixels, long channels, const {A}* weight, const {A}* bias,
    {A}* running_mean, {A}* running_var, {A}* mean, {A}* inverse, double eps, double momentum) {{
  const {T}* added = nullptr;
  forward(x, added, y, pixels, channels, weight, bias, running_mean, running_var, mean, inverse, eps,
          momentum, 1);
}}
extern "C" EACH_PROCESSOR void gradient_added_{suffix}(
    const {T}* x, const {T}* y, const {T}* dy, {T}* before, {T}* dx, long pixels, long channels,
    const {A}* weight, const {A}* mean, const {A}* inverse, {A}* dweight, {A}* dbias) {{
  if (!before) __builtin_unreachable();
  backward(x, y, dy, before, dx, pixels, channels, weight, mean, inverse, dweight, dbias);
}}
extern "C" EACH_PROCESSOR void gradient_alone_{suffix}(
    const {T}* x, const {T}* y, const {T}* dy, {T}* dx, long pixels, long channels,
    const {A}* weight, const {A}* mean, const {A}* inverse, {A}* dweight, {A}* dbias) {{
  {T}* before = nullptr;
  backward(x, y, dy, before, dx, pixels, channels, weight, mean, inverse, dweight, dbias);
}}
"""
LOOPS = {"write": ("moments", "write"), "gradient": ("products", "gradient")}  # by the entries that have them
BODY = re.compile(r"^ +for \(long c = 0; c < LANES; c\+\+\) \{$")  # of the loops over the numbers of a row
LABEL = re.compile(r'^"?((?:write|gradient)_(?:added|alone)_[a-z0-9]+)(?:\.([\w.-]+))?"?:')
LINE = re.compile(r"^\s*\.loc\s+\d+\s+(\d+)\s")
ARITHMETIC = re.compile(r"^\s*v?(?:add|sub|mul|fn?m(?:add|sub)(?:132|213|231))([ps])[sd]\s(.*)")
# The least registers of a clone, by its name, and those that are wider.
WIDTHS = {"v4": ("%ymm", "%zmm"), "v3": ("%ymm", "%zmm"), "": ("%xmm", "%ymm", "%zmm")}

pytestmark = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "AMD64"), reason="reads the instructions of x86-64 alone"
)


def loops_in(source: str) -> dict[str, range]:
    """The lines of the loop over a row's numbers, by the function that it is in."""
    lines, bodies, function = source.splitlines(), {}, ""
    for number, line in enumerate(lines, start=1):
        if named := re.match(r"(?:template <.*> )?INLINE \w+ (\w+)\(", line):
            function = named[1]
        if BODY.match(line):
            indent = line[: line.index("for")]
            bodies[function] = range(number, lines.index(f"{indent}}}", number) + 2)
    return bodies


def extension(monkeypatch: pytest.MonkeyPatch) -> Extension:
    """The compiled part as setup.py describes it."""
    described: dict[str, list[Extension]] = {}
    monkeypatch.setattr(setuptools, "setup", lambda **named: described.update(named))
    monkeypatch.chdir(ROOT)
    runpy.run_path(str(ROOT / "setup.py"))
    (only,) = described["ext_modules"]
    return only


def assembly(source: str, more: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the compiler makes of `source`, with the flags of an installation and `more`."""
    compiler = shlex.split(os.environ.get("CXX") or sysconfig.get_config_var("CXX") or "c++")
    if shutil.which(compiler[0]) is None:
        pytest.skip(f"there is no C++ compiler ({compiler[0]}) here")
    described = extension(monkeypatch)
    inner, _, _ = source.partition("#define ENTRIES")
    entries = (
        BRANCHES.format(suffix=suffix, T=number, A=arithmetic)
        for suffix, (number, arithmetic) in TYPES.items()
    )
    (folder / "branches.cpp").write_text(inner + "".join(entries))
    flags = [shlex.split(sysconfig.get_config_var(name) or "") for name in ("CFLAGS", "CCSHARED")]
    macros = [f"-D{name}={value}" for name, value in described.define_macros]
    command = [*compiler, *flags[0], *flags[1], *macros, *described.extra_compile_args, *more, "-g", "-S"]
    done = subprocess.run(
        [*command, "branches.cpp", "-o", "branches.s"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0 and fast.library() is None:
        pytest.skip(f"{compiler[0]} does not compile it, so no installation has it")
    assert done.returncode == 0, done.stderr
    return (folder / "branches.s").read_text()


def scalar_loops(text: str, loops: dict[str, range]) -> tuple[set[str], set[str]]:
    """The entries in `text`, each with its clone; and those loops in them that are not packed."""
    packed: dict[tuple[str, str], set[int]] = {}
    scalar: dict[tuple[str, str], set[int]] = {}
    entry, clone, line = "", "", 0
    for instruction in text.splitlines():
        if named := LABEL.match(instruction):
            entry, clone = named[1], named[2] or ""
            if not re.search("resolver|ifunc|cold", clone):
                packed[entry, clone], scalar[entry, clone] = set(), set()
        elif located := LINE.match(instruction):
            line = int(located[1])
        elif (entry, clone) in packed and (operation := ARITHMETIC.match(instruction)):
            registers = next(registers for name, registers in WIDTHS.items() if name in clone)
            wide = operation[1] == "p" and any(register in operation[2] for register in registers)
            (packed if wide else scalar)[entry, clone].add(line)
    bad = set()
    for (entry, clone), lines in packed.items():
        for loop in LOOPS[entry.partition("_")[0]]:
            inside = lines & {*loops[loop]}
            # A scalar copy of a line may stand beside the packed one, for maps that overlap.
            if not inside or (scalar[entry, clone] & {*loops[loop]}) - inside:
                bad.add(f"{loop} in {entry} {clone}".rstrip())
    return {f"{entry} {clone}".rstrip() for entry, clone in packed}, bad


@pytest.mark.slow
def test_every_loop_is_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In each type, with and without an addition, for each of the processors that have a clone."""
    source = SOURCE.read_text()
    loops = loops_in(source)
    assert sorted(loops) == ["gradient", "moments", "products", "write"], "no loop is passed over"
    entries, bad = scalar_loops(assembly(source, [], tmp_path, monkeypatch), loops)
    assert {name.partition(" ")[0] for name in entries} == {
        f"{branch}_{added}_{suffix}" for branch in LOOPS for added in ("added", "alone") for suffix in TYPES
    }
    assert not bad


# A way out of each loop that depends on its numbers, in the first for every map, then for an addition alone.
PLANTED = {
    "q[c] += moved * moved;": "if (moved > 9) return;",
    "if (ADDED) value += scale * widened(added[at]);": "if (ADDED && value > 9) return;",
    "if (KEEP) before[at] = gradient;": "if (KEEP && widened(gradient) > 9) return;",
    "const T before = KEPT ? dy[at] : passed(y[at], dy[at]);": "if (KEPT && widened(before) > 9) return;",
}


@pytest.mark.slow
def test_a_loop_that_is_not_packed_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = SOURCE.read_text()
    for line, way_out in PLANTED.items():
        assert source.count(line) == 1
        source = source.replace(line, f"{line} {way_out}")
    entries, bad = scalar_loops(assembly(source, [], tmp_path, monkeypatch), loops_in(source))
    expected = {f"moments in {name}" for name in entries if name.startswith("write")}
    for name in entries:
        branch, added, _ = name.split("_", 2)
        expected |= {f"{loop} in {name}" for loop in LOOPS[branch] if added == "added" and loop != "moments"}
    assert bad == expected
