"""The one compiled part, see resdeg/models/fast.py; where no C++ compiler is, it is left out."""

import hashlib
from pathlib import Path

from setuptools import Extension, setup

SOURCE = "resdeg/models/norm_relu.cpp"

setup(
    ext_modules=[
        Extension(
            "resdeg.models._norm_relu",
            [SOURCE],
            define_macros=[("SOURCE_SHA256", f'"{hashlib.sha256(Path(SOURCE).read_bytes()).hexdigest()}"')],
            language="c++",
            extra_compile_args=["-std=c++17", "-O3", "-fno-math-errno"],
            optional=True,
        )
    ]
)
