"""Figures and pages from evidence. No torch in this wing."""
