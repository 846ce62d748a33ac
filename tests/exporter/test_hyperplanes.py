import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from haste_export.hyperplanes import draw_hyperplanes


@settings(deadline=None, max_examples=60)
@given(
    window=st.integers(1, 100),
    count=st.integers(1, 32),
    sparsity=st.floats(0, 0.999),
    seed=st.integers(0, 2**64),
)
def test_rows_are_ternary_and_hold_the_share_of_zeros(window: int, count: int, sparsity: float, seed: int) -> None:
    rows = draw_hyperplanes("layer", count, window, sparsity=sparsity, seed=seed)
    assert rows.dtype == np.int8
    assert rows.shape == (count, window)
    assert set(np.unique(rows)) <= {-1, 0, 1}
    zeros = (rows == 0).sum(axis=1)
    assert (zeros == min(round(sparsity * window), window - 1)).all()
    assert rows.any(axis=1).all()


def test_same_seed_and_layer_give_the_same_rows_whatever_their_number() -> None:
    few = draw_hyperplanes("a", 5, 25, sparsity=0.5, seed=7)
    many = draw_hyperplanes("a", 32, 25, sparsity=0.5, seed=7)
    assert (many[:5] == few).all()


def test_layers_and_seeds_differ() -> None:
    base = draw_hyperplanes("a", 32, 25, sparsity=0.5, seed=0)
    assert (base != draw_hyperplanes("b", 32, 25, sparsity=0.5, seed=0)).any()
    assert (base != draw_hyperplanes("a", 32, 25, sparsity=0.5, seed=1)).any()


def test_signs_and_places_are_even() -> None:
    rows = np.concatenate([draw_hyperplanes(f"layer{i}", 32, 25, sparsity=0.5, seed=0) for i in range(50)])
    share_plus = (rows == 1).sum() / (rows != 0).sum()
    assert abs(share_plus - 0.5) < 4 * 0.5 / np.sqrt((rows != 0).sum())
    zero_share = (rows == 0).mean(axis=0)
    assert np.abs(zero_share - 12 / 25).max() < 5 * 0.5 / np.sqrt(len(rows))
