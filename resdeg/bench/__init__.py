"""The speed of the engine compared with a loop as textbooks write it."""
