"""`resdeg bench`."""
def bench() -> None:
    """x"""
