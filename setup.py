"""The one compiled part, see resdeg/models/fused.py; where no C++ compiler is, it is left out."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "resdeg.models._norm_relu",
            ["resdeg/models/norm_relu.cpp"],
            language="c++",
            extra_compile_args=["-std=c++17", "-O3", "-fno-math-errno"],
            optional=True,
        )
    ]
)
