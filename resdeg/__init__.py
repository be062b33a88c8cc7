"""resdeg: see, test and teach the degradation of deep plain networks, and its cure."""

__version__ = "0.1.0"
