"""Times the CUDA kernels of HasteConv against cuDNN, layer by layer, and writes one Markdown table per batch size.

    python tools/gpu/bench.py [--batch 1,8,32] [--patch 7,3] [-L 14] [--shapes FILE] [--json FILE]
    HASTE_CUDA_TENSOR_CORES=0 python tools/gpu/bench.py             # what multiply-add units alone do

Compared with PyTorch's convolution (cuDNN, benchmark mode, float32) with TF32 off and on, in NCHW or channels last,
whichever is faster. Activations are blocked [N, C/16, H, W, 16] for HasteConv, as between the HasteConvs of a
compressed model. Every timed call is followed by one on another of up to 16 input sets; small layers stay in the L2 of
a large GPU nevertheless, for both. Calls are queued before the first one runs, so that times are the GPU's and not
those of the program that launches; medians over CUDA events. Every row's L = 0 is compared with cuDNN's result first.
Needs PyTorch with CUDA; exits 3 without.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from ctypes import byref
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.cuda.device import Conv  # noqa: E402
from tests.cuda.target import RunArgs, Target, gpu_target  # noqa: E402
from tests.operator.c_api import ConvOptions  # noqa: E402

NO_GPU = 3
REPEATS = 30
WARM_UP = 5
WRONG = 1e-4
"""Largest difference from cuDNN's float32 result, as a share of the largest output, that rounding may explain."""
QUEUE_CYCLES = 50_000_000
"""What the GPU waits before the first of a series of calls, some 25 ms."""
FOOTPRINT = 256 << 20
"""Bytes of input that one round of repeats goes through, several times a GPU's L2."""


@dataclass(frozen=True)
class Layer:
    """A stride-1 convolution that keeps the size of its input."""

    network: str
    name: str
    channels: int
    outputs: int
    kernel: int
    side: int

    def flops(self, batch: int) -> float:
        """Of the exact convolution."""
        return 2.0 * batch * self.side**2 * self.kernel**2 * self.channels * self.outputs

    def bytes_moved(self, batch: int) -> float:
        """Least traffic: input, weights and output once each, float32."""
        activations = batch * self.side**2 * (self.channels + self.outputs)
        return 4.0 * (activations + self.kernel**2 * self.channels * self.outputs)


@dataclass(frozen=True)
class Row:
    """One measurement; times in microseconds."""

    layer: str
    batch: int
    patch: int
    r: float
    haste: float
    hash_and_group: float
    mean: float
    dense: float
    cudnn: float
    cudnn_tf32: float
    peak_share: float
    bandwidth_share: float


def read_shapes(path: Path) -> list[Layer]:
    """Layers of a shapes file: network, layer, C, M, kernel side, input side; # starts a comment."""
    lines = (line.split("#")[0].split() for line in path.read_text().splitlines())
    return [Layer(words[0], words[1], *(int(word) for word in words[2:])) for words in lines if words]


def ceilings(torch: Any) -> tuple[float, float]:
    """Measured float32 multiply-add rate (FLOP/s, a matrix product without TF32) and copy bandwidth (bytes/s)."""
    torch.backends.cuda.matmul.allow_tf32 = False
    a, b = (torch.randn(8192, 8192, device="cuda") for _ in range(2))
    product = time_calls(torch, [lambda: torch.mm(a, b)], repeats=5)
    source = torch.randn(1 << 28, device="cuda")
    target = torch.empty_like(source)
    copy = time_calls(torch, [lambda: target.copy_(source)], repeats=10)
    return 2 * 8192**3 / (product * 1e-6), 2 * source.numel() * 4 / (copy * 1e-6)


def time_calls(torch: Any, calls: Sequence[Callable[[], Any]], repeats: int = REPEATS) -> float:
    """Median time of one call in microseconds; the calls of the list take turns."""
    for i in range(max(WARM_UP, len(calls))):
        calls[i % len(calls)]()
    torch.cuda.synchronize()
    torch.cuda._sleep(QUEUE_CYCLES)
    events = [tuple(torch.cuda.Event(enable_timing=True) for _ in range(2)) for _ in range(repeats)]
    for i, (begin, end) in enumerate(events):
        begin.record()
        calls[i % len(calls)]()
        end.record()
    torch.cuda.synchronize()
    median: float = statistics.median(1e3 * begin.elapsed_time(end) for begin, end in events)
    return median


def activations(torch: Any, shape: tuple[int, ...], seed: int) -> Any:
    """Something like a Relu's output: half zeros, neighbouring pixels alike, channels of different scale."""
    generator = torch.Generator("cuda").manual_seed(seed)
    batch, channels, height, width = shape
    coarse = torch.randn(batch, channels, (height + 3) // 4, (width + 3) // 4, device="cuda", generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")
    noise = torch.randn(shape, device="cuda", generator=generator)
    scale = torch.rand(1, channels, 1, 1, device="cuda", generator=generator) + 0.1
    return torch.relu(smooth + 0.2 * noise) * scale


def blocked(x: Any) -> Any:
    """[N,C,H,W] as the memory of [N, C/16, H, W, 16]."""
    batch, channels, height, width = x.shape
    return x.reshape(batch, channels // 16, 16, height, width).permute(0, 1, 3, 4, 2).contiguous()


class Haste:
    """HasteConv on a layer, ready to be called again and again."""

    def __init__(
        self, target: Target, torch: Any, layer: Layer, weights: Any, merge_how: str, count: int, patch: int
    ) -> None:
        rng = np.random.default_rng(0)
        window = (layer.kernel + patch - 1) ** 2
        signs = rng.choice(np.array([-1, 1], np.int8), (max(count, 1), window))
        hyperplanes = np.where(rng.random(signs.shape) < 2 / 3, np.int8(0), signs)
        pad = layer.kernel // 2
        self.conv = Conv(
            target,
            weights.cpu().numpy(),
            np.zeros(layer.outputs, np.float32),
            hyperplanes.astype(np.int8),
            ConvOptions((pad, pad, pad, pad), patch=patch, merge_how=merge_how, x_layout="blocked", y_layout="blocked"),
        )
        self.target, self.torch, self.layer, self.count, self.patch = target, torch, layer, count, patch
        self.stats = torch.zeros(8, device="cuda")

    def __enter__(self) -> Haste:
        """Nothing more: the layer exists already."""
        self.conv.__enter__()
        return self

    def __exit__(self, *failure: Any) -> None:
        """Give the layer's device memory back."""
        self.torch.cuda.synchronize()
        self.conv.__exit__(*failure)

    def calls(
        self, xs: Sequence[Any], *, count: int | None = None, codes_only: bool = False
    ) -> list[Callable[[], Any]]:
        """Runs on blocked xs, which share workspace and output and return the output; or, `codes_only`, hash them."""
        batch, side = xs[0].shape[0], self.layer.side
        nbytes = self.conv.workspace(batch, side, side)
        workspace = self.torch.empty(nbytes, dtype=self.torch.uint8, device="cuda")
        y = self.torch.empty(batch, self.layer.outputs // 16, side, side, 16, device="cuda")
        codes = self.torch.empty(
            batch * (-(-side // self.patch)) ** 2 * self.layer.channels, dtype=self.torch.int32, device="cuda"
        )
        args = RunArgs(batch=batch, height=side, width=side, y=y.data_ptr())
        args.hyperplanes = self.count if count is None else count
        args.workspace, args.workspace_bytes, args.stream = workspace.data_ptr(), nbytes, self.target.stream()
        lib, handle, kept = self.target.lib, self.conv.handle, (workspace, codes)

        def run(x: Any) -> Any:
            args.x = x.data_ptr()
            if codes_only:
                self.target.check(lib.haste_cuda_conv_codes(handle, byref(args), kept[1].data_ptr()))
            else:
                self.target.check(lib.haste_cuda_conv_run(handle, byref(args)))
            return y

        return [partial(run, x) for x in xs]

    def compression(self, x: Any) -> float:
        """Measured r = 1 - buckets / channels."""
        output = self.conv.run(x.cpu().numpy(), self.count)
        return float(1 - output.stats[2] / output.stats[1])


def measure(
    target: Target, torch: Any, layer: Layer, batch: int, patches: Sequence[int], count: int, peaks: tuple[float, float]
) -> list[Row]:
    """All times of one layer at one batch size, a row for each patch."""
    shape = (batch, layer.channels, layer.side, layer.side)
    sets = max(1, min(16, FOOTPRINT // (4 * int(np.prod(shape)))))
    xs = [activations(torch, shape, seed) for seed in range(sets)]
    weights = torch.randn(layer.outputs, layer.channels, layer.kernel, layer.kernel, device="cuda")
    weights /= (layer.channels * layer.kernel**2) ** 0.5
    pad = layer.kernel // 2
    conv2d = partial(torch.nn.functional.conv2d, padding=pad)
    torch.backends.cudnn.benchmark = True
    times = {}
    for name, tf32 in (("cudnn", False), ("cudnn_tf32", True)):
        torch.backends.cudnn.allow_tf32 = tf32
        times[name] = min(
            time_calls(
                torch,
                [partial(conv2d, x.to(memory_format=form), weights.to(memory_format=form)) for x in xs],
            )
            for form in (torch.contiguous_format, torch.channels_last)
        )
    torch.backends.cudnn.allow_tf32 = False
    exact = conv2d(xs[0], weights)
    blocked_xs = [blocked(x) for x in xs]
    rows = []
    for patch in patches:
        with (
            Haste(target, torch, layer, weights, "scaled", count, patch) as scaled,
            Haste(target, torch, layer, weights, "mean", count, patch) as mean,
        ):
            dense = scaled.calls(blocked_xs, count=0)
            error = float((dense[0]() - blocked(exact)).abs().max() / exact.abs().max())
            if not error < WRONG:
                raise SystemExit(f"{layer.name}, patch {patch}, batch {batch}: L = 0 differs from cuDNN by {error:.1e}")
            haste = time_calls(torch, scaled.calls(blocked_xs))
            row = Row(
                layer=f"{layer.network} {layer.name} {layer.channels}→{layer.outputs} {layer.kernel}² @{layer.side}²",
                batch=batch,
                patch=patch,
                r=scaled.compression(xs[0][:1]),
                haste=haste,
                hash_and_group=time_calls(torch, scaled.calls(blocked_xs, codes_only=True)),
                mean=time_calls(torch, mean.calls(blocked_xs)),
                dense=time_calls(torch, dense),
                **times,
                peak_share=layer.flops(batch) / (haste * 1e-6) / peaks[0],
                bandwidth_share=layer.bytes_moved(batch) / (haste * 1e-6) / peaks[1],
            )
        rows.append(row)
    return rows


def table(rows: list[Row]) -> str:
    """Markdown, one line per layer."""
    titles = (
        *(
            "layer",
            "patch",
            "r",
            "HasteConv µs",
            "of it gather + hash",
            "mean merge",
            "L = 0",
            "cuDNN fp32",
            "cuDNN TF32",
        ),
        *("× fp32", "× TF32", "fp32 peak", "bandwidth"),
    )
    head = f"| {' | '.join(titles)} |\n|{'---|' * len(titles)}\n"
    times = ("haste", "hash_and_group", "mean", "dense", "cudnn", "cudnn_tf32")
    lines = (
        f"| {row.layer} | {row.patch} | {row.r:.2f} | {' | '.join(f'{getattr(row, name):.1f}' for name in times)} | "
        f"{row.cudnn / row.haste:.2f} | {row.cudnn_tf32 / row.haste:.2f} | "
        f"{row.peak_share:.0%} | {row.bandwidth_share:.0%} |"
        for row in rows
    )
    return head + "\n".join(lines)


def main() -> int:
    """Measure, print, and write the JSON if asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", default="1,8,32")
    parser.add_argument("--patch", default="7,3", help="sides of patches, one row for each (default: 7,3)")
    parser.add_argument("-L", "--hyperplanes", type=int, default=14)
    parser.add_argument("--shapes", type=Path, default=Path(__file__).with_name("shapes.txt"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    target = gpu_target()
    if isinstance(target, str) or target.module.__name__ != "torch":
        print(target if isinstance(target, str) else "this benchmark needs PyTorch with CUDA", file=sys.stderr)
        return NO_GPU
    torch = target.module
    peaks = ceilings(torch)
    print(
        f"{torch.cuda.get_device_name()}, L = {options.hyperplanes}, medians of {REPEATS} calls. Measured ceilings: "
        f"{peaks[0] / 1e12:.1f} TFLOP/s (float32 matrix product, TF32 off), {peaks[1] / 1e9:.0f} GB/s (copy, read and "
        "written). 'fp32 peak' counts the exact convolution's operations, so compression counts as speed.\n"
    )
    torch.set_grad_enabled(False)
    rows = []
    patches = [int(word) for word in options.patch.split(",")]
    for batch in (int(word) for word in options.batch.split(",")):
        of_batch = [
            row
            for layer in read_shapes(options.shapes)
            for row in measure(target, torch, layer, batch, patches, options.hyperplanes, peaks)
        ]
        print(f"Batch {batch}\n\n{table(of_batch)}\n")
        rows += of_batch
    if options.json:
        options.json.write_text(json.dumps({"peaks": peaks, "rows": [asdict(row) for row in rows]}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
