"""What happens inside the layers of a compressed model on one image: buckets, merged feature maps, r over the image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

import runtime_ops
from haste_export import contract
from haste_export.evaluate.engine import session_options
from haste_export.evaluate.stats import attributes, haste_convs
from haste_export.reference import Geometry, hash_codes, windows

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class LayerView:
    """One layer on one image, at one L.

    Attributes:
        name: of the layer.
        geometry: its sizes.
        labels: int64 [n_h, n_w, C], the bucket of every channel in every patch, numbered by first appearance.
        maps: float32 [C, H', W'], the input's feature maps as the patches see them, centred pixels only.
        merged: the same after merging: what every channel was replaced by.
        r: float64 [n_h, n_w], compression of every patch.
        together: float64 [C, C], how often two channels share a bucket, as a share of all patches.
    """

    name: str
    geometry: Geometry
    labels: npt.NDArray[np.int64]
    maps: Floats
    merged: Floats
    r: npt.NDArray[np.float64]
    together: npt.NDArray[np.float64]


def layer_views(
    compressed: onnx.ModelProto, feeds: Mapping[str, Array], counts: Mapping[str, int]
) -> Iterator[LayerView]:
    """Every HasteConv of a model, in order, on a batch of one.

    Args:
        compressed: exported in the NCHW layout, so that its values can be looked at.
        feeds: one sample.
        counts: L by layer; layers without any, or dense ones, are left out.
    """
    nodes = [node for node in haste_convs(compressed) if counts.get(node.name, 0) > 0]
    values = _inputs_of(compressed, nodes, feeds)
    initializers = {tensor.name: tensor for tensor in compressed.graph.initializer}
    for node in nodes:
        planes = numpy_helper.to_array(initializers[node.input[contract.V]])
        yield view(node, values[node.input[contract.X]], planes, counts[node.name])


def view(node: onnx.NodeProto, x: Floats, planes: npt.NDArray[np.int8], count: int) -> LayerView:
    """One layer on its input [1, C, H, W]."""
    values = attributes(node)
    kernel_h, kernel_w = values["kernel_shape"]
    pads = tuple(values.get("pads", (0, 0, 0, 0)))
    patch = values.get("patch", contract.PATCH)
    geometry = Geometry(x.shape[2], x.shape[3], kernel_h, kernel_w, pads, patch)
    cut = windows(x, geometry)[0]
    labels = group_all(hash_codes(cut, planes, count))
    merged = merge_all(cut, labels, values.get("merge", "scaled"))
    channels = labels.shape[1]
    buckets = labels.max(axis=1) + 1
    return LayerView(
        node.name,
        geometry,
        labels.reshape(*geometry.grid, channels),
        _assemble(cut, geometry),
        _assemble(merged, geometry),
        (1 - buckets / channels).reshape(geometry.grid),
        share_of_patches(labels),
    )


def group_all(codes: npt.NDArray[np.uint32]) -> npt.NDArray[np.int64]:
    """Bucket numbers [P, C] of codes [P, C], numbered by first appearance in every patch."""
    channels = codes.shape[1]
    first = np.argmax(codes[:, :, None] == codes[:, None, :], axis=2)  # the first channel with the same code
    opens = first == np.arange(channels)
    number = np.cumsum(opens, axis=1) - 1
    return np.take_along_axis(number, first, axis=1)


def merge_all(cut: Floats, labels: npt.NDArray[np.int64], how: str) -> Floats:
    """What every channel's window [P, C, Q] is replaced by: its bucket's mean u, or a_i·u (scaled, norm)."""
    patches, channels, _ = cut.shape
    member = (labels[:, :, None] == np.arange(channels)).astype(np.float32)  # [P, C, bucket]
    sizes = np.maximum(member.sum(axis=1), 1)
    u = np.einsum("pcb,pcq->pbq", member, cut, optimize=True) / sizes[:, :, None]
    own = np.take_along_axis(u, labels[:, :, None].repeat(cut.shape[2], axis=2), axis=1)
    if how == "mean":
        return own
    energy = (own * own).sum(axis=2)
    product = (cut * (cut if how == "norm" else own)).sum(axis=2)
    a = np.divide(product, energy, out=np.zeros((patches, channels), np.float32), where=energy > 0)
    a = np.sqrt(a) if how == "norm" else a
    return np.asarray(a[:, :, None] * own, np.float32)


def share_of_patches(labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """[C, C]: the share of patches in which two channels have the same label."""
    total = np.zeros((labels.shape[1],) * 2)
    for row in labels:
        total += row[:, None] == row[None, :]
    return total / len(labels)


def _assemble(cut: Floats, geometry: Geometry) -> Floats:
    """The centre p×p pixels of every window, side by side: [C, H', W']."""
    n_h, n_w = geometry.grid
    p, (q_h, q_w) = geometry.patch, geometry.window
    top, left = (q_h - p) // 2, (q_w - p) // 2
    square = cut.reshape(n_h, n_w, cut.shape[1], q_h, q_w)[..., top : top + p, left : left + p]
    whole = square.transpose(2, 0, 3, 1, 4).reshape(cut.shape[1], n_h * p, n_w * p)
    return np.ascontiguousarray(whole[:, : geometry.out_h, : geometry.out_w])


def _inputs_of(model: onnx.ModelProto, nodes: list[onnx.NodeProto], feeds: Mapping[str, Array]) -> dict[str, Floats]:
    """The inputs X of the given nodes, stock's values: the exact bodies are run."""
    wanted = list(dict.fromkeys(node.input[contract.X] for node in nodes))
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    known = {value.name for value in (*probe.graph.output, *probe.graph.input)}
    fed = [name for name in wanted if name in feeds]
    asked = [name for name in wanted if name not in feeds]
    probe.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in asked if name not in known
    )
    session = runtime_ops.Session(probe.SerializeToString(), options=session_options(), library=False)
    values = dict(zip(asked, session.run(feeds, asked), strict=True)) if asked else {}
    return {**values, **{name: np.asarray(feeds[name], np.float32) for name in fed}}
