from __future__ import annotations

import copy
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest

pytest.importorskip("torch")

import torch
from torch import nn

from haste_export.contract import Merge
from haste_export.errors import OptionError
from haste_export.hyperplanes import draw_hyperplanes
from haste_export.patches import Patch
from haste_export.reference import Pads, hash_codes, haste_conv
from haste_export.reference import group as reference_group
from haste_export.torch import HasteConv2d, compress, export, layers, set_hyperplanes
from haste_export.torch.functional import group, haste_conv2d
from haste_export.torch.functional import hash_codes as torch_codes
from runtime_ops import Session
from tests.built import require_library

Case = tuple[int, int, int, int, tuple[int, int], Pads, int]
CASES: list[Case] = [
    # C, M, H, W, kernel, pads (top, left, bottom, right), patch
    (16, 8, 9, 9, (3, 3), (1, 1, 1, 1), 3),
    (33, 5, 10, 7, (3, 3), (1, 1, 1, 1), 3),
    (7, 3, 6, 6, (1, 1), (0, 0, 0, 0), 3),
    (20, 4, 11, 8, (5, 3), (2, 1, 0, 3), 3),
    (12, 4, 10, 10, (3, 3), (0, 0, 0, 0), 5),
]


def tensors(case: Case, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    channels, outputs, height, width, kernel, _, patch = case
    rng = np.random.default_rng(seed)
    x = np.maximum(rng.standard_normal((2, channels, height, width)), 0).astype(np.float32)
    x[:, ::5] = 0
    weight = rng.standard_normal((outputs, channels, *kernel)).astype(np.float32)
    bias = rng.standard_normal(outputs).astype(np.float32)
    window = (patch + kernel[0] - 1) * (patch + kernel[1] - 1)
    return x, weight, bias, draw_hyperplanes("test", 12, window, sparsity=0.5, seed=seed)


@pytest.mark.parametrize("case", CASES)
def test_codes_are_bit_identical_to_the_reference(case: Case) -> None:
    rng = np.random.default_rng(1)
    for channels in (1, case[0], 50):
        cut = rng.standard_normal((40, channels, 25)).astype(np.float32)
        planes = draw_hyperplanes("x", 32, 25, sparsity=2 / 3, seed=channels)
        expected = hash_codes(cut, planes, 32)
        codes = torch_codes(torch.from_numpy(cut), torch.from_numpy(planes))
        np.testing.assert_array_equal(codes.numpy(), expected.astype(np.int64))
        for own, row in zip(group(codes).numpy(), expected, strict=True):
            labels = reference_group(row)
            assert (
                len(set(zip(own.tolist(), labels.tolist(), strict=True)))
                == len(set(labels.tolist()))
                == len(set(own.tolist()))
            )


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    ("merge", "tau"), [("scaled", 0.0), ("mean", 0.0), ("scaled", 0.1), ("norm", 0.0), ("norm", 0.1)]
)
@pytest.mark.parametrize("count", [0, 4, 12])
def test_values_are_the_operators(case: Case, merge: Merge, tau: float, count: int) -> None:
    x, weight, bias, planes = tensors(case)
    pads, patch = case[5], case[6]
    expected = haste_conv(x, weight, bias, planes, count, pads=pads, patch=patch, merge_how=merge, tau=tau).y
    own_x, own_weight, own_bias, own_planes = (torch.from_numpy(array) for array in (x, weight, bias, planes))
    y = haste_conv2d(own_x, own_weight, own_bias, own_planes, count, pads=pads, patch=patch, merge=merge, tau=tau)
    scale = np.abs(weight).sum(axis=(1, 2, 3)).max() * np.abs(x).max()
    np.testing.assert_allclose(y.numpy(), expected, atol=float(scale) * 2**-22)


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.one = nn.Conv2d(16, 32, 3, padding="same", bias=False)
        self.strided = nn.Conv2d(32, 32, 3, stride=2, padding=1)
        self.two = nn.Sequential(nn.Conv2d(32, 20, 1), nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.one(torch.relu(self.stem(x))))
        result: torch.Tensor = self.two(torch.relu(self.strided(y))).mean((2, 3))
        return result


@pytest.fixture
def network() -> Network:
    torch.manual_seed(0)
    made = Network()
    made.eval()
    return made


X = torch.randn(2, 3, 12, 15, generator=torch.Generator().manual_seed(1))


def test_compress_swaps_what_is_eligible_and_leaves_the_original(network: Network) -> None:
    before = copy.deepcopy(network.state_dict())
    compressed = compress(network, hyperplanes=12)
    assert [name for name, _ in layers(compressed)] == ["one", "two.0"]
    assert not list(layers(network))
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    with torch.no_grad():
        exact, approximate = network(X), compressed(X)
        set_hyperplanes(compressed, 0)
        torch.testing.assert_close(compressed(X), exact)
    assert 0 < (approximate - exact).norm() / exact.norm() < 0.5


def test_patches(network: Network) -> None:
    choices: list[tuple[Patch, dict[str, int]]] = [
        ("auto", {"one": 7, "two.0": 3}),
        (5, {"one": 5, "two.0": 5}),
    ]
    for patch, expected in choices:
        assert {name: layer.patch for name, layer in layers(compress(network, patch=patch))} == expected
    with pytest.raises(OptionError, match="patch must be auto or 1 to 16, not 0"):
        compress(network, patch=0)


@pytest.mark.parametrize("merge", ["scaled", "mean", "norm"])
def test_gradients_reach_the_weights(network: Network, merge: str) -> None:
    compressed = compress(network, hyperplanes=8, merge=merge)
    compressed(X).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in compressed.parameters())


@pytest.mark.parametrize(
    ("conv", "reason"),
    [
        (nn.Conv2d(4, 4, 3, stride=2), "stride"),
        (nn.Conv2d(4, 4, 3, dilation=2), "dilation"),
        (nn.Conv2d(4, 4, 3, groups=2), "groups"),
        (nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"), "padding mode"),
    ],
)
def test_what_cannot_be_replaced_is_refused(conv: nn.Conv2d, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        HasteConv2d(conv, torch.ones(4, 25, dtype=torch.int8), 4)


def export_quietly(module: nn.Module, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shapes = ({0: torch.export.Dim("batch", min=1, max=64)},)
        export(module, (X,), path, input_names=["x"], output_names=["y"], dynamic_shapes=shapes)


@pytest.mark.parametrize("tau", [0.0, 0.05])
def test_an_exported_module_is_a_compressed_model(network: Network, tmp_path: Path, tau: float) -> None:
    compressed = compress(network, hyperplanes=10, tau=tau)
    path = tmp_path / "a.onnx"
    export_quietly(compressed, path)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert [node.name for node in model.graph.node if node.op_type == "HasteConv"] == ["one", "two.0"]
    batch = torch.cat([X, -X, X])
    with torch.no_grad():
        np.testing.assert_allclose(Session(path, library=False).run(batch.numpy())[0], network(batch), atol=1e-5)
        require_library()
        session = Session(path)
        for count in (None, 0, 5, 12):
            session.hyperplanes = count
            set_hyperplanes(compressed, 10 if count is None else count)
            np.testing.assert_allclose(session.run(batch.numpy())[0], compressed(batch), atol=2e-5)
        assert session.native


def test_plain_torch_export_gives_the_nodes(network: Network) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(compress(network), (X,), dynamo=True, verbose=False)
    nodes = [node for node in program.model_proto.graph.node if node.op_type == "HasteConv"]
    assert [node.domain for node in nodes] == ["ai.haste", "ai.haste"]


def test_layers_that_differ_have_no_common_default(network: Network, tmp_path: Path) -> None:
    compressed = compress(network)
    next(layer for _, layer in layers(compressed)).count = 3
    with pytest.raises(ValueError, match="differ"):
        export(compressed, (X,), tmp_path / "a.onnx")
    with pytest.raises(ValueError, match="no HasteConv2d"):
        export(network, (X,), tmp_path / "a.onnx")
