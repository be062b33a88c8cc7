"""The engine of a Ray cluster: `make test-ray`. These tests are skipped where Ray is not installed."""
