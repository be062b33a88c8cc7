"""The one compiled part, see resdeg/models/fast.py; where no C++ compiler is, it is left out."""

import hashlib
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel

SOURCE = "resdeg/models/norm_relu.cpp"


class WheelForAnyPython(bdist_wheel):
    """A wheel for every Python on its platform: the compiled part is loaded without the C API of Python."""

    def get_tag(self) -> tuple[str, str, str]:
        """Returns the tag of the Python, of its binary interface, and of the platform."""
        *_, platform = super().get_tag()
        return "py3", "none", platform


setup(
    cmdclass={"bdist_wheel": WheelForAnyPython},
    ext_modules=[
        Extension(
            "resdeg.models._norm_relu",
            [SOURCE],
            define_macros=[("SOURCE_SHA256", f'"{hashlib.sha256(Path(SOURCE).read_bytes()).hexdigest()}"')],
            language="c++",
            extra_compile_args=["-std=c++17", "-O3", "-fno-math-errno"],
            py_limited_api=True,  # Its file is then called .abi3.so, which every Python looks for.
            optional=True,
        )
    ],
)
