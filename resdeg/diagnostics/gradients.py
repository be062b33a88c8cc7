"""Gradients: their size in each layer, and how alike they are at different inputs."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from resdeg.diagnostics.sample import Number, Sample, of_layer
from resdeg.models import CifarNet
from resdeg.models.contexts import in_mode, recompute_statistics, restored_buffers
from resdeg.models.structure import layers

MOST = 128  # images in the one batch: the recipe's batch, and all activations of it are kept
_LOGITS = 10  # of more classes the first ones: each costs a backward pass


def gradient_norms(model: CifarNet, images: Tensor, labels: Tensor) -> Tensor:
    """Norm of d(loss)/d(weight) of each 3x3 layer, for the training loss of one batch.

    The loss is the mean cross-entropy in training mode: norms use the statistics of the batch.

    Args:
        images: (N, 3, H, W), standardised, not augmented; labels: (N,).

    Returns:
        (depth - 1,) float64, stem first.
    """
    weights = [place.convolution.weight for place in layers(model)]
    with torch.enable_grad(), in_mode(model, training=True), restored_buffers(model):
        loss = functional.cross_entropy(model(images), labels)
        found = torch.autograd.grad(loss, weights)
    return torch.stack([gradient.double().norm() for gradient in found])


def gradient_directions(model: CifarNet, images: Tensor) -> Tensor:
    """Returns the directions of the gradients of each logit with respect to the input.

    Every norm holds the statistics of these images in training mode, so that a logit is one function and no
    image reaches the logits of another.

    Args:
        images: (N, 3, H, W), standardised, N >= 2.

    Returns:
        (logits, N, entries) float64: vectors of length 1; 0 where there is no gradient, NaN where it is not
        finite.
    """
    with torch.enable_grad(), restored_buffers(model), in_mode(model, training=False):
        recompute_statistics(model, [images])
        x = images.detach().requires_grad_()
        logits = model(x)[:, :_LOGITS]
        gradients = [torch.autograd.grad(logit.sum(), x, retain_graph=True)[0] for logit in logits.T]
    smallest = torch.finfo(torch.float64).tiny
    return torch.stack(
        [functional.normalize(gradient.double().flatten(1), eps=smallest) for gradient in gradients]
    )


def correlate_directions(directions: Tensor) -> float:
    """Returns how alike the gradients of an output are at different inputs.

    The measure follows Balduzzi et al. 2017 ("shattered gradients"), whose correlation of the gradients at
    two inputs is an expectation over the initial weights. For one given network it is taken over the entries
    of the gradient instead: with g_i = d f_c(x_i) / d x_i for logit c, the mean over pairs i != j of
    <g_i, g_j> / (||g_i|| ||g_j||), and the mean of that over logits. Nothing is centred, as nothing is
    in the paper: there each entry has mean 0. White noise gives 0, a linear map 1. An input at which a
    logit has no gradient has no direction and is in no pair; NaN where no pair is left.

    Args:
        directions: (logits, N, entries), see `gradient_directions`.
    """
    n = directions.any(dim=2).sum(dim=1)  # (logits,)
    pairs = (directions.sum(dim=1).square().sum(dim=1) - n) / (n * (n - 1))
    return pairs.where(n > 1, math.nan).mean().item()


def measure(model: CifarNet, sample: Sample) -> list[Number]:
    """`norm` of every layer and the net's `correlation`, on one batch of training images."""
    images, labels = sample.standardise(sample.train_images[:MOST]), sample.train_labels[:MOST]
    norms = gradient_norms(model, images, labels).tolist()
    found = [
        of_layer(place, "norm", value, len(images)) for place, value in zip(layers(model), norms, strict=True)
    ]
    directions = gradient_directions(model, images)
    without = int((~directions.any(dim=2)).any(dim=0).sum())
    note = f"{without} of them without a gradient, in no pair" if without else None
    return [*found, Number("correlation", correlate_directions(directions), len(images), note=note)]


def count(sample: Sample) -> int:
    """Images that `measure` uses."""
    return min(MOST, len(sample.train_labels))
