"""The proof that nothing is lost: instruments, and what they show."""
