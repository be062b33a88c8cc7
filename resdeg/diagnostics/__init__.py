"""Measurements of a live network, by name."""

from resdeg.diagnostics.table import DIAGNOSTICS, Diagnostic

__all__ = ["DIAGNOSTICS", "Diagnostic"]
