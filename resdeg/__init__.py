"""See, test and teach the degradation of deep plain networks, and its cure by shortcuts.

From Python: `sweep` trains networks over depths, `load` gives a sweep's records as data frames,
`load_diagnostics` what was measured of its networks, `figure` a matplotlib Figure of them, `build_model` a
network, `load_model` the trained one of a run. They are imported when they are first used.
"""

import importlib

# `python -m resdeg` executes this file with the current folder at the head of the path, where any module may
# be a file of the user's. importlib has been imported before.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from resdeg.analysis.diagnostics import load_diagnostics
    from resdeg.analysis.frame import load_sweep as load
    from resdeg.config import ModelConfig
    from resdeg.models import build_model
    from resdeg.report.figures import figure
    from resdeg.runner import load_model
    from resdeg.sweep.from_python import sweep

__version__ = "0.1.0"
__all__ = [
    "ModelConfig",
    "__version__",
    "build_model",
    "figure",
    "load",
    "load_diagnostics",
    "load_model",
    "sweep",
]

_MODULES = {
    "ModelConfig": ("resdeg.config", "ModelConfig"),
    "build_model": ("resdeg.models", "build_model"),
    "figure": ("resdeg.report.figures", "figure"),
    "load": ("resdeg.analysis.frame", "load_sweep"),
    "load_diagnostics": ("resdeg.analysis.diagnostics", "load_diagnostics"),
    "load_model": ("resdeg.runner", "load_model"),
    "sweep": ("resdeg.sweep", None),  # the package itself, which can be called
}


def __getattr__(name: str) -> "Any":
    if name not in _MODULES:
        raise AttributeError(f"module 'resdeg' has no attribute '{name}'")
    module_name, attribute = _MODULES[name]
    module = importlib.import_module(module_name)
    return module if attribute is None else getattr(module, attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
