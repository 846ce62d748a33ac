"""The FLOPs of the paper's appendix B.1, term by term: one layer in full, and all layers of a model."""

from __future__ import annotations

from collections.abc import Iterator

from haste_export.contract import Merge
from haste_export.evaluate.stats import Layer, model_layers, total_cost
from haste_export.flops import Compression, LayerCost
from tools.evidence.measure import Measurement
from tools.evidence.settings import Method, uniform
from tools.evidence.tables import Document, grid, head

TERMS = ("regular", "centring", "hashing", "coefficients", "merge_inputs", "merge_filters", "reduced_convolution")


def bookkeeping(
    measured: Measurement, merge: Merge, count: int, sparsity: float, wanted: str | None = None
) -> Document:
    """The document; `wanted` is the layer that is reckoned in full, by default the one that costs most."""
    compressed = measured.compressed(Method(merge, sparsity), uniform([count]), measured.seeds[0])
    session = measured.judge.open(compressed)
    session.level = 1
    stats = measured.judge.judge(session).stats
    layers = model_layers(compressed, next(measured.dataset.batches()).feeds)
    costs = {layer.name: layer.cost(count, stats.get(layer.name)) for layer in layers}
    hashed = [layer for layer in layers if layer.name in stats]
    shown = next((layer for layer in hashed if layer.name == wanted), None) or max(
        hashed, key=lambda layer: costs[layer.name].regular
    )
    table = measured.table("flops", f"FLOPs by appendix B.1, {merge}, L = {count}, s = {sparsity:.2f}")
    total = total_cost(layers, dict.fromkeys(stats, count), stats)
    compression = Compression.from_stats(stats[shown.name].tolist())
    rows = {name: [formula, numbers, value] for name, formula, numbers, value in _terms(shown, compression, count)}
    document = [
        head(table.title, table.facts),
        f"\n## Layer {shown.name}\n\n{_sizes(shown, compression, count)}\n\n",
        grid(("formula", "numbers", "MFLOPs per image"), rows),
        _sum(costs[shown.name]),
        "\n## All convolutions, MFLOPs per image\n\nA convolution that stays as it is has no terms but its own.\n\n",
        grid(
            (*(term.replace("_", " ") for term in TERMS), "saved"),
            {**{layer.name: _cells(costs[layer.name]) for layer in layers}, "**total**": _cells(total)},
        ),
    ]
    values = {name: {**vars(cost), "reduction": cost.reduction} for name, cost in {**costs, "total": total}.items()}
    return Document(table.name, "".join(document), {"title": table.title, **table.facts, "layers": dict(values)})


def _terms(layer: Layer, compression: Compression, count: int) -> Iterator[tuple[str, str, str, str]]:
    """Name, formula, the formula with numbers in it, and its value: reckoned here anew, not by haste_export.flops."""
    shape = layer.shape
    assert layer.hyperplanes is not None
    h, w, k2, q2 = shape.out_h, shape.out_w, shape.kernel_h * shape.kernel_w, layer.hyperplanes.shape[1]
    c, m, n = shape.in_channels, shape.out_channels, -(-h // shape.patch) * -(-w // shape.patch)
    r, buckets, used = compression.r, compression.m, 1 - float((layer.hyperplanes[:count] == 0).mean())
    scaled = layer.merge != "mean"
    rows = [
        ("regular", "2·H·W·K²·C·M", f"2·{h}·{w}·{k2}·{c}·{m}", 2 * h * w * k2 * c * m),
        ("centring", "2·n·C·q²", f"2·{n}·{c}·{q2}", 2 * n * c * q2),
        ("hashing", "n·C·L·q²·(1−s)", f"{n}·{c}·{count}·{q2}·{used:.3f}", n * c * count * q2 * used),
        ("merge inputs", "n·q²·(C·r+m)", f"{n}·{q2}·({c}·{r:.4f}+{buckets:.2f})", n * q2 * (c * r + buckets)),
    ]
    if scaled:
        rows += [("coefficients", "4·n·C·q²", f"4·{n}·{c}·{q2}", 4 * n * c * q2)]
        rows += [("merge filters", "2·n·M·C·r·K²", f"2·{n}·{m}·{c}·{r:.4f}·{k2}", 2 * n * m * c * r * k2)]
    else:
        rows += [("merge filters", "n·M·C·r·K²", f"{n}·{m}·{c}·{r:.4f}·{k2}", n * m * c * r * k2)]
    reduced = 2 * h * w * k2 * c * (1 - r) * m
    rows += [("reduced convolution", "2·H·W·K²·C·(1−r)·M", f"2·{h}·{w}·{k2}·{c}·{1 - r:.4f}·{m}", reduced)]
    return ((name, formula, numbers, f"{value / 1e6:.3f}") for name, formula, numbers, value in rows)


def _sizes(layer: Layer, compression: Compression, count: int) -> str:
    shape = layer.shape
    return (
        f"{shape.in_channels} to {shape.out_channels} channels, output {shape.out_h}×{shape.out_w}, patches of "
        f"{shape.patch}×{shape.patch}, n = {shape.patches}, L = {count}; measured: r = {compression.r:.4f}, m = "
        f"{compression.m:.2f}. The terms are reckoned by the formulas here, the sum below by `haste_export.flops`."
    )


def _sum(cost: LayerCost) -> str:
    return (
        f"\nSum without the regular convolution: {cost.haste / 1e6:.3f}; saved: {cost.reduction:.2%} of "
        f"{cost.regular / 1e6:.3f}.\n"
    )


def _cells(cost: LayerCost) -> list[str]:
    return [*(f"{getattr(cost, term) / 1e6:.2f}" for term in TERMS), f"{cost.reduction:.1%}"]
