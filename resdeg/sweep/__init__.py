"""Many trainings: planned, priced, carried out in workers, measured. Calling the package sweeps.

See `resdeg.sweep.from_python.sweep`, which is what `resdeg.sweep(depths=[8, 20])` calls.
"""

import sys

from resdeg.sweep.from_python import CallablePackage

sys.modules[__name__].__class__ = CallablePackage
