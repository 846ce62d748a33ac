"""The training loop: SGD with Nesterov momentum and a one-cycle rate, flips and shifts, label smoothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Recipe:
    """How to train. ``rate`` is the peak learning rate, ``shift`` the largest random shift in pixels."""

    epochs: int = 9
    batch: int = 256
    rate: float = 0.1
    weight_decay: float = 5e-4
    label_smoothing: float = 0.05
    shift: int = 2
    bfloat16: bool = False


def augment(images: Tensor, shift: int, generator: torch.Generator) -> Tensor:
    """Each image [n, 1, H, W] flipped left-right with chance one half and shifted by up to ``shift`` pixels."""
    count, _, height, width = images.shape
    device = images.device
    padded = functional.pad(images, (shift,) * 4, value=float(images.min()))
    top, left = torch.randint(0, 2 * shift + 1, (2, count, 1), generator=generator).to(device)
    flip = torch.randint(0, 2, (count, 1), generator=generator, dtype=torch.bool).to(device)
    rows = top + torch.arange(height, device=device)
    columns = torch.arange(width, device=device).expand(count, width)
    columns = left + torch.where(flip, columns.flip(1), columns)
    sample = torch.arange(count, device=device)[:, None, None]
    return padded[sample, 0, rows[:, :, None], columns[:, None, :]][:, None]


def accuracy(network: nn.Module, images: Tensor, labels: Tensor, batch: int = 500) -> float:
    """Top-1 accuracy, 0 to 1, in evaluation mode."""
    network.eval()
    with torch.inference_mode():
        hits = sum(
            int((network(x).argmax(1) == y).sum())
            for x, y in zip(images.split(batch), labels.split(batch), strict=True)
        )
    return hits / len(labels)


def train(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    recipe: Recipe,
    seed: int,
    on_epoch: Callable[[int, float], None],
) -> None:
    """Trains in place; ``on_epoch(epoch, mean loss)`` is called after each epoch. Images are already normalised."""
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.SGD(
        network.parameters(), recipe.rate, momentum=0.9, nesterov=True, weight_decay=recipe.weight_decay
    )
    steps = len(images) // recipe.batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.rate, recipe.epochs * steps, pct_start=0.25)
    for epoch in range(recipe.epochs):
        network.train()
        order = torch.randperm(len(images), generator=generator).to(images.device)
        total = 0.0
        for chosen in order[: steps * recipe.batch].split(recipe.batch):
            batch = augment(images[chosen], recipe.shift, generator).contiguous(memory_format=torch.channels_last)
            with torch.autocast(images.device.type, torch.bfloat16, enabled=recipe.bfloat16):
                loss = functional.cross_entropy(network(batch), labels[chosen], label_smoothing=recipe.label_smoothing)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
            total += loss.item()
        on_epoch(epoch + 1, total / steps)
