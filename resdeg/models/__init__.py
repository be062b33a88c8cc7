"""Plain and residual networks of depth 6n+2, which differ only in the shortcut."""

from resdeg.models.contexts import image_statistics
from resdeg.models.network import CifarNet, build_model

__all__ = ["CifarNet", "build_model", "image_statistics"]
