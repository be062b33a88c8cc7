"""One training, and nothing that knows how deep the network is."""
