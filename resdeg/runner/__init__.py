"""One run from its settings to its records: the only room that knows data, model, training and store."""

from resdeg.runner.check import check
from resdeg.runner.execute import execute
from resdeg.runner.inputs import Inputs
from resdeg.runner.restore import initial_model, load_model
from resdeg.runner.trainer import Trainer

__all__ = ["Inputs", "Trainer", "check", "execute", "initial_model", "load_model"]
