"""Numbers and intervals from records. No torch in this wing."""
