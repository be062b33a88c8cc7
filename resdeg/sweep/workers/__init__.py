"""Worker processes of this machine: how one is started, what runs inside it, and a pool of them."""
