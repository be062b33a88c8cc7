"""Ink: figures and tables from data frames. No torch in this wing."""
