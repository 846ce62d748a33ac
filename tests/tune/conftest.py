from __future__ import annotations

import onnx
import pytest

from haste_export.data import sample_file, sample_model
from haste_export.evaluate.dataset import Dataset, load_dataset
from haste_export.evaluate.models import load_whole
from tests.built import require_library


@pytest.fixture(scope="session")
def stock() -> onnx.ModelProto:
    """The packaged sample; skips where the library is not built."""
    require_library()
    return load_whole(sample_model())


@pytest.fixture(scope="session")
def images(stock: onnx.ModelProto) -> Dataset:
    """Images that the sample was not trained on."""
    return load_dataset(str(sample_file("tune")), stock).take(128)
