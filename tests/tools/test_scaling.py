from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest

from tools.scaling.layer import BASE, Layer, build, sweeps
from tools.scaling.measure import Result, Timing


def test_a_sweep_changes_one_quantity_upwards() -> None:
    for name, layers in sweeps(cores=2).items():
        values = [getattr(layer, name) for layer in layers]
        assert values == sorted(set(values))
        assert {dataclasses.replace(layer, **{name: getattr(BASE, name)}) for layer in layers} == {BASE}


@pytest.mark.parametrize(("cores", "threads"), [(1, [1]), (3, [1, 2, 3]), (16, [1, 2, 4, 16])])
def test_threads_go_up_to_the_cores(cores: int, threads: list[int]) -> None:
    assert [layer.threads for layer in sweeps(cores)["threads"]] == threads


def test_the_layer_is_a_valid_model_of_its_shape() -> None:
    layer = Layer(side=7, channels=3, filters=5, batch=2)
    model = build(layer)
    onnx.checker.check_model(model, full_check=True)
    assert [d.dim_value for d in model.graph.output[0].type.tensor_type.shape.dim] == [2, 5, 7, 7]
    assert layer.flops == 2 * 2 * 49 * 9 * 15


@pytest.mark.parametrize("side", [2, 5, 6, 11, 15])
def test_activations_are_cropped_or_continued(side: int) -> None:
    pytest.importorskip("sklearn")
    from tools.scaling.activations import fit

    x = np.arange(50, dtype=np.float32).reshape(1, 2, 5, 5)
    fitted = fit(x, side)
    assert fitted.shape == (1, 2, side, side)
    assert set(np.unique(fitted)) <= set(np.unique(x))
    shared = min(side, 5)
    start = (5 - shared) // 2
    np.testing.assert_array_equal(fitted[..., :shared, :shared], x[..., start : start + shared, start : start + shared])


def test_results_are_written(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from tools.scaling import report

    results = {
        name: [Result(layer, Timing(2, 1.9, 2.2), Timing(1, 0.9, 1.1), 9, 0.5) for layer in layers]
        for name, layers in sweeps(cores=2).items()
    }
    page, data, picture = report.write(tmp_path, {"processor": "p"}, results)
    text = page.read_text(encoding="utf-8")
    assert "## Input channels C" in text
    assert "| 512 | 2 | 1.9-2.2 | 1 | 0.9-1.1 | 2.00 | 0.50 | 9 |" in text
    assert data.stat().st_size > 0
    assert picture.read_bytes().startswith(b"\x89PNG")
