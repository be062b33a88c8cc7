"""Gradients: their size in each layer, and their correlation at different inputs."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from resdeg.diagnostics.sample import Number, Sample
from resdeg.models import CifarNet
from resdeg.models.contexts import in_mode, recompute_statistics, restored_buffers
from resdeg.models.structure import layers

MOST = 128  # images in the batch, as in the recipe: all of its activations must fit in memory
_LOGITS = 10  # only the first logits are used, because each costs a backward pass


def gradient_norms(model: CifarNet, images: Tensor, labels: Tensor) -> Tensor:
    """Measures the norm of d(loss)/d(weight) of each 3x3 layer, for the training loss of one batch.

    The loss is the mean cross-entropy in training mode: norms use the statistics of the batch.

    Args:
        images: (N, 3, H, W), standardised, not augmented; labels: (N,).

    Returns:
        (depth - 1,) float64, stem first.
    """
    weights = [layer.convolution.weight for layer in layers(model)]
    with torch.enable_grad(), in_mode(model, training=True), restored_buffers(model):
        loss = functional.cross_entropy(model(images), labels)
        gradients = torch.autograd.grad(loss, weights)
    return torch.stack([gradient.double().norm() for gradient in gradients])


def gradient_directions(model: CifarNet, images: Tensor) -> Tensor:
    """Computes the directions of the gradients of each logit with respect to the input, at each input.

    Every norm has the statistics of these images in training mode, so that the network is one function and
    no image reaches the logits of another.

    Args:
        images: (N, 3, H, W), standardised, N >= 2.

    Returns:
        (logits, N, entries) float64 of length 1; 0 if a logit has no gradient there, NaN if it is not finite.
    """
    with torch.enable_grad(), restored_buffers(model), in_mode(model, training=False):
        recompute_statistics(model, [images])
        x = images.detach().requires_grad_()
        logits = model(x)[:, :_LOGITS]
        each = [torch.autograd.grad(logit.sum(), x, retain_graph=True)[0] for logit in logits.T]
    smallest = torch.finfo(torch.float64).tiny
    return torch.stack([functional.normalize(g.double().flatten(1), eps=smallest) for g in each])


def correlate(directions: Tensor) -> float:
    """Computes how alike the gradients of an output with respect to the input are at different inputs.

    It follows Balduzzi et al. 2017 ("shattered gradients"), whose correlation of the gradients at two inputs
    is an expectation over the initial weights. A given network has no such expectation, so the entries of
    the gradient take its part: with g_i = d f_k(x_i) / d x_i for logit k, the result is the mean over pairs
    i != j of <g_i, g_j> / (||g_i|| ||g_j||), averaged over logits. Nothing is centred, as in the paper, where
    each entry has mean 0. White noise gives 0, a linear map 1. An input at which a logit has no gradient has
    no direction and is in no pair.

    Args:
        directions: see `gradient_directions`.

    Returns:
        The correlation; NaN if no pair is left.
    """
    n = directions.any(dim=2).sum(dim=1)  # (logits,)
    pairs = (directions.sum(dim=1).square().sum(dim=1) - n) / (n * (n - 1))
    return pairs.where(n > 1, math.nan).mean().item()


def measure(model: CifarNet, sample: Sample) -> list[Number]:
    """Measures `norm` of every layer and the net's `correlation`, on one batch of training images."""
    images, labels = sample.standardise(sample.train_images[:MOST]), sample.train_labels[:MOST]
    norms = gradient_norms(model, images, labels).tolist()
    numbers = [
        Number.from_layer(layer, "norm", value, images=len(images))
        for layer, value in zip(layers(model), norms, strict=True)
    ]
    directions = gradient_directions(model, images)
    without = int((~directions.any(dim=2)).any(dim=0).sum())
    note = f"{without} of them without a gradient, in no pair" if without else None
    return [*numbers, Number("correlation", correlate(directions), len(images), note=note)]


def count_images(sample: Sample) -> int:
    """Counts the images that `measure` uses."""
    return min(MOST, len(sample.train_labels))
