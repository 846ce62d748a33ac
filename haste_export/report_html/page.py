"""Puts the page together: plain HTML with inline SVG and PNG, one style sheet, a few lines of script."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from string import Template

import numpy as np
import numpy.typing as npt

from haste_export.evaluate.sweep import Point
from haste_export.flops import LayerCost
from haste_export.report_html.charts import Axis, Series, line_chart
from haste_export.report_html.collect import LayerView
from haste_export.report_html.png import colour_map, data_uri, label_colours
from haste_export.report_html.style import SCRIPT, STYLE
from haste_export.version import __version__

SHOWN_CHANNELS = 8
_LARGEST_HEAT_MAP = 256


@dataclass(frozen=True)
class LayerRow:
    """A convolution in the table.

    `patch` is None for a Conv, `count` is L, 0 for a Conv, and `r` is None where nothing was measured.
    """

    name: str
    channels: tuple[int, int]
    kernel: tuple[int, int]
    size: tuple[int, int]
    patch: int | None
    count: int
    cost: LayerCost
    r: float | None
    input_bytes: int


@dataclass(frozen=True)
class Contents:
    """What the page shows.

    Attributes:
        model: its name.
        data: name of the data, "synthetic images" where there were none.
        stock_score: stock's score, None without labels.
        metric: what the score is called.
        facts: further lines for the head, name and text.
        rows: every convolution.
        setting: L or level of `rows` and `views`.
        rates: setting -> layer name -> r.
        points: accuracy and cost at every setting.
        views: layers from the inside, on one image.
        image: that image as [H, W] or [H, W, 3] in any range, if it is one.
        setting_name: "L" or "level".
    """

    model: str
    data: str
    stock_score: float | None
    metric: str
    rows: Sequence[LayerRow]
    setting: int
    rates: Mapping[int, Mapping[str, float]]
    points: Sequence[Point]
    views: Sequence[LayerView]
    image: npt.NDArray[np.float32] | None = None
    setting_name: str = "L"
    facts: Mapping[str, str] = field(default_factory=dict)


def render(contents: Contents) -> str:
    """The whole page."""
    sections = [
        _section("Layers", _table(contents.rows)),
        _section("Compression of every layer", _rates(contents)),
        _section("Input memory", _memory(contents)),
        _section("What it costs, what it saves", _curves(contents)),
        _section("Inside the layers", _inside(contents)),
    ]
    return _PAGE.substitute(
        title=escape(f"{contents.model}: HASTE report"),
        model=escape(contents.model),
        facts=_facts(contents),
        sections="\n".join(sections),
        style=STYLE,
        script=SCRIPT,
        version=escape(__version__),
    )


_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>$style</style>
</head>
<body>
<header><h1>$model</h1>$facts</header>
<main>
$sections
</main>
<footer>haste report, haste-export $version</footer>
<script>$script</script>
</body>
</html>
""")


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>"


def _facts(contents: Contents) -> str:
    regular, haste = sum(row.cost.regular for row in contents.rows), sum(row.cost.haste for row in contents.rows)
    compressed = sum(row.count > 0 for row in contents.rows)
    point = next((point for point in contents.points if point.setting == contents.setting), None)
    facts = {
        "convolutions compressed": f"{compressed} of {len(contents.rows)}",
        f"FLOPs saved at {contents.setting_name} = {contents.setting}": f"{1 - haste / regular:.1%}"
        if regular
        else "-",
    }
    if contents.stock_score is not None and point is not None and point.score is not None:
        facts[contents.metric] = f"{point.score:.2%} (stock {contents.stock_score:.2%})"
    elif point is not None:
        facts["agreement with stock"] = f"{point.agreement:.2%}"
    if point is not None:
        facts["time per sample"] = f"{point.milliseconds:.2f} ms (stock {point.stock_milliseconds:.2f} ms)"
    facts |= contents.facts
    facts["data"] = contents.data
    items = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(text)}</dd></div>" for name, text in facts.items())
    return f"<dl>{items}</dl>"


def _table(rows: Iterable[LayerRow]) -> str:
    heads = ("layer", "C → M", "kernel", "H×W", "p", "L", "r", "input KB", "merged KB", "MFLOPs", "HASTE", "saved")
    body = []
    for row in rows:
        cells = [
            f"{row.channels[0]} → {row.channels[1]}",
            f"{row.kernel[0]}×{row.kernel[1]}",
            f"{row.size[0]}×{row.size[1]}",
            "-" if row.patch is None else str(row.patch),
            str(row.count) if row.count else "-",
            "-" if row.r is None else f"{row.r:.3f}",
            f"{row.input_bytes / 1024:.1f}",
            "" if row.r is None else f"{(1 - row.r) * row.input_bytes / 1024:.1f}",
            f"{row.cost.regular / 1e6:.2f}",
            f"{row.cost.haste / 1e6:.2f}" if row.count else "",
            f"{row.cost.reduction:.1%}" if row.count else "",
        ]
        body.append(f"<tr><th>{escape(row.name)}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    head = "".join(f"<th>{name}</th>" for name in heads)
    return f"<div class='wide'><table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"


def _rates(contents: Contents) -> str:
    names = [row.name for row in contents.rows if any(row.name in rates for rates in contents.rates.values())]
    if not names:
        return "<p>No layer is compressed.</p>"
    series = [
        Series(
            f"{contents.setting_name} = {setting}",
            [(place, rates[name]) for place, name in enumerate(names) if name in rates],
            [f"{name}: r = {rates[name]:.3f}" for name in names if name in rates],
        )
        for setting, rates in contents.rates.items()
        if rates
    ]
    chart = line_chart(series, Axis("layer", names=names), Axis("r = 1 − C̃/C"), "r of every layer")
    return f"<p>The share of a layer's input channels that merging saves, the mean over all patches.</p>{chart}"


def _memory(contents: Contents) -> str:
    """Bytes of every layer's input before and after merging, at every setting: a picture and a table."""
    rates = {setting: rates for setting, rates in contents.rates.items() if rates}
    rows = [row for row in contents.rows if any(row.name in known for known in rates.values())]
    if not rows:
        return "<p>No layer is compressed.</p>"
    columns = {"before": [float(row.input_bytes) for row in rows]}
    for setting, known in rates.items():
        # A layer that is a Conv, or dense, at this setting keeps its input whole.
        columns[f"{contents.setting_name} = {setting}"] = [
            (1 - known.get(row.name, 0.0)) * row.input_bytes for row in rows
        ]
    series = [
        Series(
            name,
            [(place, value / 1024) for place, value in enumerate(values)],
            [f"{row.name}: {value / 1024:.1f} KB" for row, value in zip(rows, values, strict=True)],
        )
        for name, values in columns.items()
    ]
    chart = line_chart(series, Axis("layer", names=[row.name for row in rows]), Axis("KB"), "input memory of layers")
    lines = [(row.name, [values[place] for values in columns.values()]) for place, row in enumerate(rows)]
    lines.append(("all", [sum(values) for values in columns.values()]))
    body = "".join(f"<tr><th>{escape(name)}</th>{_sizes(values)}</tr>" for name, values in lines)
    head = "".join(f"<th>{escape(name)}</th>" for name in ("KB of float32", *columns))
    table = f"<table id='memory'><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    about = (
        "What a layer's input takes for one sample, and what is left of it after merging, (1 − r)·C·H·W floats: the "
        "paper's saved input memory (its Fig. 5). The kernels merge a few patches at a time and never hold a merged "
        "tensor; haste membus tells the bytes that cross the bus."
    )
    return f"<p>{about}</p><div class='pair'>{chart}<div class='wide'>{table}</div></div>"


def _sizes(values: Sequence[float]) -> str:
    """Cells with KB, and what is left of the first."""
    first = values[0]
    shares = [f" ({value / first:.0%})" if first else "" for value in values[1:]]
    return "".join(f"<td>{value / 1024:.1f}{share}</td>" for value, share in zip(values, ["", *shares], strict=True))


def _curves(contents: Contents) -> str:
    points = contents.points
    if not points:
        return "<p>Nothing was measured.</p>"
    labelled = contents.stock_score is not None
    title = f"{contents.metric} (%)" if labelled else "agreement with stock (%)"
    level = contents.stock_score * 100 if contents.stock_score is not None else None
    scores = [(point.score if labelled else point.agreement) or 0.0 for point in points]
    labels = [f"{point.setting}: {score:.2%}" for point, score in zip(points, scores, strict=True)]
    by_cost = [(point.flops_reduction * 100, score * 100) for point, score in zip(points, scores, strict=True)]
    by_time = [
        (point.milliseconds / point.stock_milliseconds * 100, score * 100)
        for point, score in zip(points, scores, strict=True)
    ]
    charts = [
        line_chart([Series("", by_cost, labels)], Axis("FLOPs saved (%)"), Axis(title), "score by FLOPs", level),
        line_chart([Series("", by_time, labels)], Axis("time, stock = 100 %"), Axis(title), "score by time", level),
    ]
    return f"<p>A dot per {contents.setting_name}, which stands beside it.</p><div class='pair'>{''.join(charts)}</div>"


def _inside(contents: Contents) -> str:
    if not contents.views:
        return "<p>No layer is compressed.</p>"
    options = "".join(f"<option value='{i}'>{escape(view.name)}</option>" for i, view in enumerate(contents.views))
    panels = "".join(_panel(view, index) for index, view in enumerate(contents.views))
    picture = ""
    if contents.image is not None:
        picture = f"<figure>{_grey(contents.image, 'the image', 140)}<figcaption>the image</figcaption></figure>"
    where = f"{contents.setting_name} = {contents.setting}, exact inputs"
    return f"<p>On one image, {where}. <label>Layer <select id='layer'>{options}</select></label></p>{picture}{panels}"


def _panel(view: LayerView, index: int) -> str:
    order = _spectral_order(view.together)
    heat = _shrunk(view.together[np.ix_(order, order)])
    r_map = _image(colour_map(view.r, 0, 1), "r of every patch", 220)
    together = _image(colour_map(heat, 0, 1), "how often two channels are merged", 220)
    energy = (view.maps.astype(np.float64) ** 2).sum(axis=(1, 2))
    shown = np.sort(np.argsort(-energy, kind="stable")[:SHOWN_CHANNELS])
    spread = f"mean {view.r.mean():.2f}, {view.r.min():.2f} to {view.r.max():.2f}"
    figures = (
        f"<figure>{r_map}<figcaption>r of every patch: {spread}; dark is 0, bright is 1</figcaption></figure>"
        f"<figure>{together}<figcaption>how often two channels share a bucket, as a share of the patches; channels "
        "that often do stand together</figcaption></figure>"
    )
    maps = _feature_maps(view, [int(channel) for channel in shown])
    hidden = "" if index == 0 else " hidden"
    return f"<div class='panel' id='panel{index}'{hidden}><div class='pair'>{figures}</div>{maps}</div>"


def _feature_maps(view: LayerView, shown: Sequence[int]) -> str:
    rows = {
        "before": [
            _grey(view.maps[channel], f"channel {channel} before merging", 96, view.maps[channel]) for channel in shown
        ],
        "after": [
            _grey(view.merged[channel], f"channel {channel} merged", 96, view.maps[channel]) for channel in shown
        ],
        "buckets": [
            _image(label_colours(_lone_blank(view.labels, channel)), f"buckets of channel {channel}", 96)
            for channel in shown
        ],
    }
    head = "".join(f"<th>channel {channel}</th>" for channel in shown)
    body = "".join(
        f"<tr><th>{name}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>" for name, cells in rows.items()
    )
    table = f"<table class='maps'><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table>"
    return (
        f"<div class='wide'>{table}</div>"
        "<p>The input's strongest channels, before and after merging, on the same scale of grey. Below, a square per "
        "patch, coloured by the bucket that the channel is in: equal colours in one place mean channels merged there; "
        "light grey means that the channel is alone.</p>"
    )


def _lone_blank(labels: npt.NDArray[np.int64], channel: int) -> npt.NDArray[np.int64]:
    own = labels[:, :, channel]
    alone = (labels == own[:, :, None]).sum(axis=2) == 1
    return np.where(alone, -1, own)


def _spectral_order(together: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """Channels sorted along the second eigenvector of the normalised graph, so that groups become blocks."""
    degree = np.sqrt(together.sum(axis=1))
    _, vectors = np.linalg.eigh(together / np.outer(degree, degree))
    place = vectors[:, -2] if len(degree) > 1 else vectors[:, -1]
    return np.argsort(place / degree, kind="stable")


def _shrunk(matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    factor = -(-len(matrix) // _LARGEST_HEAT_MAP)
    size = len(matrix) // factor * factor
    blocks = matrix[:size, :size].reshape(size // factor, factor, size // factor, factor)
    mean: npt.NDArray[np.float64] = blocks.mean(axis=(1, 3))
    return mean


def _grey(values: npt.NDArray[np.float32], label: str, width: int, scale: npt.NDArray[np.float32] | None = None) -> str:
    """Grey (or RGB) image, black and white at the extremes of `scale`."""
    reference = values if scale is None else scale
    low, high = float(reference.min()), float(reference.max())
    level = np.clip((values - low) / (high - low if high > low else 1), 0, 1) * 255
    pixels = np.repeat(level[..., None], 3, axis=2) if level.ndim == 2 else level
    return _image(np.asarray(np.rint(pixels), np.uint8), label, width)


def _image(pixels: npt.NDArray[np.uint8], label: str, width: int) -> str:
    return f'<img src="{data_uri(pixels)}" alt="{escape(label)}" title="{escape(label)}" width="{width}">'
