"""The table of metrics: which numbers of a run are columns and points of the curve, and what they are called.

A number that is added to the records of a run (records.py) gets a row here; the columns of runs.csv, the
rows of curve.csv and the words of the report follow. The order is that of the published files.
"""

from __future__ import annotations

# Each is recorded as an accuracy, a fraction, and as a loss in nats.
SCORES = (
    "test", "train", "running_train", "validation",
    "image_test", "image_train", "image_validation", "recomputed_train",
)  # fmt: skip
RUN_METRICS = tuple(f"{score}_{number}" for score in SCORES for number in ("accuracy", "loss"))
OPTIONAL = ("image_", "recomputed_", "clean_train_")  # numbers of some networks only, or of later schemas

# The metrics of the curve, with their names in tables and texts; "" where no table has them.
CURVE_METRICS = {
    "test_accuracy": "test accuracy",
    "train_accuracy": "",
    "running_train_accuracy": "",
    "validation_accuracy": "",
    "test_error": "test error",
    "train_error": "training error, clean",
    "running_train_error": "training error, running",
    "test_loss": "",
    "train_loss": "",
    "image_test_accuracy": "",
    "image_train_accuracy": "",
    "image_test_error": "",
    "image_train_error": "",
    "recomputed_train_accuracy": "",
    "recomputed_train_error": "training error, statistics recomputed",
}
