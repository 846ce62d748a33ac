"""Hash codes where the CUDA kernels have paths of their own; tests/operator/test_hash.py has the rest."""

from __future__ import annotations

import pytest

from tests.cuda.compare import Cuda
from tests.operator.cases import Case
from tests.operator.compare import check_codes


@pytest.mark.parametrize("channels", [130, 512, 1030])
def test_many_channels(cuda: Cuda, channels: int) -> None:
    check_codes(Case(channels=channels, outputs=1, height=4, width=7, count=14, kind="relu", seed=1), cuda)


@pytest.mark.parametrize("layout", ["NCHW", "blocked"])
def test_float16_storage(half: Cuda, layout: str) -> None:
    """Stored values are hashed in float32: codes are those of the values as stored."""
    check_codes(Case(channels=48, height=9, width=8, count=20, kind="relu", x_layout=layout), half)
