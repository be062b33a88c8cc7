"""The engine of a Ray cluster: its nodes, a task for each run, and the records that come back."""
