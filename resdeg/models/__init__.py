"""Plain and residual networks of depth 6n+2 that differ in the shortcut alone."""

from resdeg.models.network import CifarNet, build_model
from resdeg.models.norm import image_statistics

__all__ = ["CifarNet", "build_model", "image_statistics"]
