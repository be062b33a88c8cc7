"""How much of each drawn thing: once on every push, RESDEG_TRUST times as much under `make trust`."""

from __future__ import annotations

import os

MORE = int(os.environ.get("RESDEG_TRUST", "1"))
