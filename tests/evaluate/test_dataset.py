from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from haste_export.data import sample_file, sample_images
from haste_export.evaluate.dataset import DataError, Dataset, Preprocessing, load_dataset


def image_model(shape: list[int | str]) -> onnx.ModelProto:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)
    return helper.make_model(helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [x], [y]))


NCHW: list[int | str] = ["n", 3, 4, 5]
IMAGES = np.random.default_rng(0).integers(0, 256, (7, 3, 4, 5), dtype=np.uint8)


def whole(dataset: Dataset) -> np.ndarray:
    return np.concatenate([batch.feeds["x"] for batch in dataset.batches()])


def test_the_sample_is_read_as_the_network_takes_it(stock: onnx.ModelProto) -> None:
    dataset = load_dataset(str(sample_file()), stock, batch=300)
    batches = list(dataset.batches())
    assert [len(batch) for batch in batches] == [300, 300, 300, 100]
    np.testing.assert_allclose(np.concatenate([b.feeds["image"] for b in batches]), sample_images().inputs, atol=1e-6)
    assert dataset.labelled


def test_integer_images_are_scaled_and_normalised_per_channel(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=IMAGES)
    dataset = load_dataset(str(tmp_path / "a.npz"), image_model(NCHW), 4, Preprocessing((0.1, 0.2, 0.3), (0.5,)))
    expected = (IMAGES / 255 - np.array([0.1, 0.2, 0.3])[:, None, None]) / 0.5
    np.testing.assert_allclose(whole(dataset), expected, atol=1e-6)
    assert not dataset.labelled


@pytest.mark.parametrize("shape", [["n", 4, 5, 3], ["n", "h", "w", 3]])
def test_axes_are_turned_to_the_order_of_the_model(tmp_path: Path, shape: list[int | str]) -> None:
    np.savez(tmp_path / "a.npz", images=IMAGES)
    dataset = load_dataset(str(tmp_path / "a.npz"), image_model(shape), 7)
    np.testing.assert_allclose(whole(dataset), IMAGES.transpose(0, 2, 3, 1) / np.float32(255), atol=1e-6)


def test_float_images_are_left_as_they_are(tmp_path: Path) -> None:
    values = IMAGES.astype(np.float32)
    np.savez(tmp_path / "a.npz", images=values)
    np.testing.assert_array_equal(whole(load_dataset(str(tmp_path / "a.npz"), image_model(NCHW))), values)


def test_arrays_named_after_the_inputs_are_fed_unchanged(tmp_path: Path) -> None:
    values = IMAGES.astype(np.float32)
    np.savez(tmp_path / "a.npz", x=values, labels=np.arange(7))
    dataset = load_dataset(str(tmp_path / "a.npz"), image_model(NCHW))
    np.testing.assert_array_equal(whole(dataset), values)
    assert dataset.labelled


def test_a_fixed_batch_size_drops_the_rest(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=IMAGES)
    dataset = load_dataset(str(tmp_path / "a.npz"), image_model([2, 3, 4, 5]), batch=16)
    assert [len(batch) for batch in dataset.batches()] == [2, 2, 2]


@pytest.mark.parametrize("shape", [["n", 3, 4, 6], ["n", 10]])
def test_images_of_another_size_are_refused(tmp_path: Path, shape: list[int | str]) -> None:
    np.savez(tmp_path / "a.npz", images=IMAGES)
    with pytest.raises(DataError, match="do not fit input 'x'"):
        load_dataset(str(tmp_path / "a.npz"), image_model(shape))


def test_unequal_numbers_of_images_and_labels_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=IMAGES, labels=np.arange(6))
    with pytest.raises(DataError, match="6 and 7 samples"):
        load_dataset(str(tmp_path / "a.npz"), image_model(NCHW))


@pytest.mark.parametrize(
    ("content", "sentence"), [(b"not a zip", "cannot read"), (b"", "cannot read")], ids=["garbage", "empty"]
)
def test_a_broken_file_is_refused(tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DataError, match=sentence):
        load_dataset(str(tmp_path / "a.npz"), image_model(NCHW))


def test_a_file_without_images_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", pictures=IMAGES)
    with pytest.raises(DataError, match="neither `images` nor x, but pictures"):
        load_dataset(str(tmp_path / "a.npz"), image_model(NCHW))


def test_a_folder_per_class(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    for label, name in enumerate(["ant", "bee"]):
        (tmp_path / name).mkdir()
        for index in range(2):
            image.fromarray(np.full((8, 10, 3), 100 * label + index, np.uint8)).save(tmp_path / name / f"{index}.png")
    dataset = load_dataset(str(tmp_path), image_model(NCHW), batch=3)
    assert [batch.labels.tolist() for batch in dataset.batches() if batch.labels is not None] == [[0, 0, 1], [1]]
    np.testing.assert_allclose(whole(dataset)[:, 0, 0, 0] * 255, [0, 1, 100, 101], atol=1e-4)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no images"):
        load_dataset(str(tmp_path), image_model(NCHW))


def test_an_entry_point_yields_batches_and_a_metric(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_data.py").write_text(
        "import numpy as np\n"
        "def score(outputs, labels):\n    return (outputs[0].mean((1, 2, 3)) > labels).astype(float)\n"
        "def data():\n    return [(np.ones((2, 3, 4, 5)), np.zeros(2))], score\n"
        "def wrong():\n    return 1\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "path", list(sys.path))
    dataset = load_dataset("own_data:data", image_model(NCHW))
    (batch,) = dataset.batches()
    assert batch.labels is not None
    assert dataset.metric([batch.feeds["x"]], batch.labels).tolist() == [1, 1]
    assert dataset.metric_name == "score"
    with pytest.raises(DataError, match="pair"):
        load_dataset("own_data:wrong", image_model(NCHW))
    with pytest.raises(DataError, match="nothing_there"):
        load_dataset("nothing_there:data", image_model(NCHW))


def test_a_name_that_is_nothing_is_refused() -> None:
    with pytest.raises(DataError, match="no such file or directory"):
        load_dataset("nowhere", image_model(NCHW))


def test_taking_the_first_samples(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=IMAGES)
    dataset = load_dataset(str(tmp_path / "a.npz"), image_model(NCHW), batch=3).take(5)
    assert [len(batch) for batch in dataset.batches()] == [3, 2]
    assert [len(batch) for batch in dataset.batches()] == [3, 2], "a second pass sees the same"
