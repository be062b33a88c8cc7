"""Which runs to make, what they cost, and seeing them through. Imports no torch of its own."""
