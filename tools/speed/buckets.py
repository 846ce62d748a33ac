"""What hashing leaves of a model's channels, as haste_export/speed/typical.py has it: medians over the layers.

`python tools/speed/buckets.py MODEL IMAGES.npy` compresses the model at every patch, runs it on every image at every L
and prints, for 1x1 and for larger kernels, the buckets B and merged members m as shares of C.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt
import onnx

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import haste_export
from haste_export.contract import CONV, STEERING_HYPERPLANES
from haste_export.instrument import instrument, layer_of
from tools.speed.layers import counts_of, session_of

Shares = dict[int, npt.NDArray[np.float64]]  # per L: B, m and the share of all-zero windows
_LEVELS = (0, 1, 6, 10, 14, 20, 28)


@click.command(context_settings={"show_default": True, "help_option_names": ["-h", "--help"]})
@click.argument("path", metavar="MODEL", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("images", metavar="IMAGES.npy", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--patch", "patches", type=int, multiple=True, default=(3, 4, 6, 7), help="Patch sizes.")
@click.option("--sparsity", type=float, default=0.5, help="Share of zeros in the hyperplanes.")
def main(path: Path, images: Path, patches: tuple[int, ...], sparsity: float) -> None:
    """Print the medians of B, m and zero windows over the layers of MODEL; IMAGES.npy is [n, *input without batch]."""
    model, batch = onnx.load(path), np.load(images)
    for patch in patches:
        for kind, layers in layer_shares(model, batch, patch, sparsity).items():
            for count in _LEVELS:
                kept, members, zeros = np.median([shares[count] for shares in layers], axis=0)
                click.echo(
                    f"{kind} p = {patch} L = {count:2}: B {kept:.2f} m {members:.2f} zero {zeros:.2f}"
                    f" ({len(layers)} layers)"
                )


def layer_shares(
    model: onnx.ModelProto, images: npt.NDArray[np.float32], patch: int, sparsity: float
) -> dict[str, list[Shares]]:
    """Shares of every layer, means over the images, by kernel: "1x1" or "larger"."""
    compressed = haste_export.compress(model, select="all", patch=patch, sparsity=sparsity)
    pointwise = {node.name: _is_pointwise(node) for node in compressed.graph.node if node.op_type == CONV}
    probe = instrument(compressed)
    session = session_of(probe)
    outputs = [value.name for value in probe.graph.output if layer_of(value.name) is not None]
    name = next(value.name for value in probe.graph.input if value.name != STEERING_HYPERPLANES)
    found: dict[str, Shares] = defaultdict(dict)
    for count in _LEVELS:
        feeds = {STEERING_HYPERPLANES: np.array(count, np.int64)}
        runs = [session.run(outputs, {name: image[None], **feeds}) for image in images]
        for place, output in enumerate(outputs):
            found[str(layer_of(output))][count] = np.mean([_shares(run[place]) for run in runs], axis=0)
    kinds: dict[str, list[Shares]] = defaultdict(list)
    for layer, shares in found.items():
        kinds["1x1" if pointwise[layer] else "larger"].append(shares)
    return dict(kinds)


def _shares(stats: npt.NDArray[np.float32]) -> tuple[float, float, float]:
    counts, zeros = counts_of(stats)
    return counts.buckets, counts.members, zeros


def _is_pointwise(node: onnx.NodeProto) -> bool:
    (kernel,) = (list(attribute.ints) for attribute in node.attribute if attribute.name == "kernel_shape")
    return kernel == [1, 1]


if __name__ == "__main__":
    main()
