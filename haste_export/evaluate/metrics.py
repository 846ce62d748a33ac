"""How far a compressed model's outputs are from the stock model's, with and without labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from haste_export.evaluate.dataset import Metric

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Quality:
    """Agreement of a compressed model with its original over a data set.

    Attributes:
        samples: how many were looked at.
        score: mean of the metric (top-1: 0 to 1); None without labels.
        agreement: share of the samples for which both models' first output has its largest entry at the same place.
        cosine: mean cosine between the samples' first outputs.
        error: ‖compressed − stock‖ / ‖stock‖ over all samples' first outputs.
        drop: stock's score minus the compressed model's; without labels, 1 − agreement, which it can not exceed.
        drop_error: standard error of `drop`, as far as the number of samples goes.
    """

    samples: int
    score: float | None
    agreement: float
    cosine: float
    error: float
    drop: float
    drop_error: float


class QualityMeter:
    """Adds up batch after batch."""

    def __init__(self, metric: Metric | None) -> None:
        """`metric` scores labelled batches; None when there are no labels."""
        self._metric = metric
        self._samples = 0
        self._score = self._agreeing = self._cosine = self._difference = self._energy = 0.0
        self._drop = self._drop_squared = 0.0

    def add(self, stock: Sequence[Array], compressed: Sequence[Array], labels: Array | None) -> None:
        """One batch: both models' outputs, and labels [n] if there are any."""
        exact = stock[0].reshape(len(stock[0]), -1).astype(np.float64)
        other = compressed[0].reshape(exact.shape).astype(np.float64)
        self._samples += len(exact)
        agreeing = exact.argmax(axis=1) == other.argmax(axis=1)
        if self._metric is not None and labels is not None:
            scores = np.asarray(self._metric(list(compressed), labels), np.float64)
            self._score += float(scores.sum())
            drops = np.asarray(self._metric(list(stock), labels), np.float64) - scores
        else:
            drops = 1.0 - agreeing
        self._drop += float(drops.sum())
        self._drop_squared += float((drops**2).sum())
        self._agreeing += float(agreeing.sum())
        norms = np.linalg.norm(exact, axis=1) * np.linalg.norm(other, axis=1)
        products = (exact * other).sum(axis=1)
        self._cosine += float(np.divide(products, norms, out=np.ones_like(norms), where=norms > 0).sum())
        self._difference += float(((other - exact) ** 2).sum())
        self._energy += float((exact**2).sum())

    def result(self) -> Quality:
        """What came together. Raises ValueError when nothing was added."""
        if not self._samples:
            raise ValueError("no sample was evaluated")
        n = self._samples
        error = (self._difference / self._energy) ** 0.5 if self._energy else float(self._difference > 0)
        score = None if self._metric is None else self._score / n
        drop = self._drop / n
        drop_error = (max(self._drop_squared / n - drop**2, 0.0) / n) ** 0.5
        return Quality(n, score, self._agreeing / n, self._cosine / n, error, drop, drop_error)
