"""Numbers, intervals and verdicts from records. No torch in this wing."""
