"""The merges that are tried in PyTorch, against what they claim."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch

from haste_export.torch.functional import group
from tools.evidence import merging


@pytest.fixture
def case() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    cut = torch.randn((5, 12, 25), generator=generator)
    labels = group(torch.randint(0, 4, (5, 12), generator=generator))
    return cut, labels, torch.randn((6, 12, 3, 3), generator=generator)


def _residual(cut: torch.Tensor, merged: merging.Merged) -> float:
    return float(((cut - merged.windows) ** 2).sum())


def test_equal_weights_give_the_scaled_merge(case: tuple[torch.Tensor, ...]) -> None:
    cut, labels, weight = case
    ours = merging.without_faint(0.0)(cut, labels, weight)
    assert ours.skipped == 0
    theirs = merging.MERGINGS["scaled"].apply(cut, labels, weight)
    torch.testing.assert_close(ours.windows, theirs.windows, rtol=1e-4, atol=1e-5)


def test_a_power_step_leaves_less(case: tuple[torch.Tensor, ...]) -> None:
    cut, labels, weight = case
    assert _residual(cut, merging.power_step(cut, labels, weight)) < _residual(
        cut, merging.without_faint(0.0)(cut, labels, weight)
    )


def test_energy_is_kept(case: tuple[torch.Tensor, ...]) -> None:
    cut, labels, weight = case
    norm = merging.MERGINGS["a that keeps every member's norm"]
    torch.testing.assert_close(norm.apply(cut, labels, weight).windows.norm(dim=2), cut.norm(dim=2))
    whole = merging.keep_energy_of_mean(cut, labels, weight).windows
    torch.testing.assert_close((whole * whole).sum((1, 2)), (cut * cut).sum((1, 2)))


def test_faint_buckets_are_skipped_and_counted(case: tuple[torch.Tensor, ...]) -> None:
    cut, labels, weight = case
    merged = merging.without_faint(1e9)(cut, labels, weight)
    assert merged.skipped == int((labels.max(1).values + 1).sum())
    assert not merged.windows.any()
