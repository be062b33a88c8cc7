"""Names that other programs have for settings: what they are called here, or why they do not vary."""

from __future__ import annotations

from collections.abc import Mapping

_NAMES = {
    "training.lr": "lr learning-rate base-lr initial-lr init-lr lr0 eta",
    "training.batch_size": "batch-size batchsize batch bs b train-batch-size train-batch",
    "training.weight_decay": "weight-decay wd l2 decay",
    "training.momentum": "momentum mom",
    "training.schedule": "schedule scheduler lr-scheduler lr-schedule lr-policy sched",
    "training.warmup_steps": "warmup-steps warmup-iters",
    "training.warmup_lr": "warmup-lr",
    "training.pad": "pad padding crop-padding",
    "training.threads": "threads num-threads n-threads",
    "training.precision": "precision dtype",
    "data.validation": "validation val-size valid-size validation-size",
    "data.subset": "subset train-size num-train max-train-samples",
    "data.label_noise": "label-noise noise-rate noise-ratio corrupt-prob",
    "data.name": "dataset data-set dataset-name",
    "model.width": "width widen-factor width-multiplier",
    "model.norm": "norm normalization norm-layer",
    "model.activation": "activation act nonlinearity",
    "model.init": "init initialization initializer weight-init",
    "model.block": "block block-type residual-block",
    "model.shortcut": "shortcut skip shortcut-type",
    "model.layout": "layout",
    "execution.snapshots": "snapshots num-snapshots",
    "execution.order": "order",
}
_SGD = "every network trains by SGD with momentum, so that only depth and shortcut differ"
_IMAGES = "images are padded, cropped and flipped as in the paper, and no more"
_FIXED = {
    _SGD: "optimizer optim opt optimiser solver adam adamw sgd betas beta1 beta2 nesterov amsgrad dampening",
    "the loss is the cross-entropy of the labels as they are": "loss criterion loss-fn label-smoothing",
    _IMAGES: "mixup cutmix cutout auto-augment autoaugment randaugment color-jitter random-erasing transform",
    "no network here has dropout": "dropout drop-rate drop-path stochastic-depth",
    "gradients are not clipped": "clip clip-grad grad-clip gradient-clip clip-norm max-grad-norm",
    "a step takes one batch": "accumulation-steps grad-accum gradient-accumulation-steps",
    "weights are not averaged": "ema swa model-ema ema-decay",
    "every run ends with its last epoch, so that none is chosen by its result": "early-stopping patience",
}


def _by_name(groups: Mapping[str, str]) -> dict[str, str]:
    return {name: meaning for meaning, names in groups.items() for name in names.split()}


SETTINGS: Mapping[str, str] = _by_name(_NAMES)
FIXED: Mapping[str, str] = _by_name(_FIXED)


def normalized(name: str) -> str:
    """Writes a name as these tables do.

    >>> normalized("--Learning_Rate")
    'learning-rate'
    """
    return name.strip("-").lower().replace("_", "-")
