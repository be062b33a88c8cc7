"""How fast the engine is, beside a loop as textbooks write it."""
