from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from haste_export.data import sample_file, sample_model
from haste_export.evaluate.dataset import Dataset, load_dataset
from haste_export.evaluate.engine import Judge
from haste_export.evaluate.models import compressed_with, load_whole
from haste_export.options import Options
from tests.built import require_library


@pytest.fixture(scope="session")
def stock() -> onnx.ModelProto:
    return load_whole(sample_model())


@pytest.fixture(scope="session")
def images(stock: onnx.ModelProto) -> Dataset:
    return load_dataset(str(sample_file("tune")), stock).take(96)


@pytest.fixture(scope="session")
def library() -> Path:
    return Path(require_library())


@pytest.fixture(scope="session")
def compressed(stock: onnx.ModelProto) -> onnx.ModelProto:
    return compressed_with(stock, Options(max_hyperplanes=16))


@pytest.fixture(scope="session")
def judge(stock: onnx.ModelProto, images: Dataset, library: Path) -> Judge:
    return Judge(stock, images, threads=1)
