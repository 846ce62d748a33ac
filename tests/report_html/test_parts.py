from __future__ import annotations

import base64
import re
import struct
import zlib

import numpy as np
import pytest

from haste_export.contract import MERGES
from haste_export.flops import LayerShape, plain_layer
from haste_export.reference import group, merge
from haste_export.report_html.charts import Axis, Series, line_chart
from haste_export.report_html.collect import group_all, merge_all, share_of_patches
from haste_export.report_html.page import Contents, LayerRow, render
from haste_export.report_html.png import colour_map, data_uri, label_colours

RNG = np.random.default_rng(3)


def test_png_decodes_to_the_pixels() -> None:
    pixels = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    raw = base64.b64decode(data_uri(pixels).removeprefix("data:image/png;base64,"))
    assert raw.startswith(b"\x89PNG\r\n\x1a\n")
    place, chunks = 8, {}
    while place < len(raw):
        (length,) = struct.unpack_from(">I", raw, place)
        kind, body = raw[place + 4 : place + 8], raw[place + 8 : place + 8 + length]
        assert struct.unpack_from(">I", raw, place + 8 + length)[0] == zlib.crc32(kind + body)
        chunks[kind] = body
        place += 12 + length
    assert struct.unpack(">IIBBBBB", chunks[b"IHDR"]) == (7, 5, 8, 2, 0, 0, 0)
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(5, 22)
    np.testing.assert_array_equal(rows[:, 1:].reshape(5, 7, 3), pixels)


def test_colours_grow_brighter() -> None:
    colours = colour_map(np.linspace(-1, 2, 50)[None], 0, 1)[0].astype(float)
    brightness = colours @ np.array([0.3, 0.59, 0.11])
    assert (np.diff(brightness) >= -1).all()
    assert colour_map(np.full((2, 2), 3.0), 3, 3).shape == (2, 2, 3), "a flat image is no division by zero"
    assert (label_colours(np.array([[-1]])) == 235).all()


def test_group_all_numbers_buckets_as_the_reference() -> None:
    codes = RNG.integers(0, 4, (20, 9)).astype(np.uint32)
    for own, row in zip(group_all(codes), codes, strict=True):
        np.testing.assert_array_equal(own, group(row))


@pytest.mark.parametrize("how", MERGES)
def test_merge_all_is_the_reference_merge_expanded(how: str) -> None:
    cut = RNG.standard_normal((4, 9, 25)).astype(np.float32)
    cut[:, 2] = 0
    labels = group_all(RNG.integers(0, 4, (4, 9)).astype(np.uint32))
    for own, window, buckets in zip(merge_all(cut, labels, how), cut, labels, strict=True):
        reference = merge(window, buckets, how)
        expanded = reference.coefficients.T @ reference.inputs
        np.testing.assert_allclose(own, expanded, atol=1e-5)


def test_share_of_patches_by_hand() -> None:
    together = share_of_patches(np.array([[0, 0, 1], [0, 1, 1]]))
    np.testing.assert_array_equal(together, [[1, 0.5, 0], [0.5, 1, 0.5], [0, 0.5, 1]])


def test_input_memory_by_hand() -> None:
    """A layer that keeps a quarter, one that is dense at L = 8, and a Conv, which has no row."""
    cost = plain_layer(LayerShape(16, 16, 8, 8, 3, 3))
    rows = [
        LayerRow("a", (16, 16), (3, 3), (8, 8), 7, 8, cost, 0.75, 4096),
        LayerRow("b", (16, 16), (3, 3), (8, 8), 7, 8, cost, None, 10240),
        LayerRow("stem", (16, 16), (3, 3), (8, 8), None, 0, cost, None, 512),
    ]
    rates = {8: {"a": 0.75}, 12: {"a": 0.5, "b": 0.25}}
    page = render(Contents("m", "d", None, "top-1", rows, 8, rates, [], []))
    table = page[page.index("<table id='memory'>") :]
    body = table[: table.index("</table>")]
    cells = re.findall("<tr><th>(.*?)</th>(.*?)</tr>", body)
    assert [(name, re.findall("<td>(.*?)</td>", row)) for name, row in cells if "<td>" in row] == [
        ("a", ["4.0", "1.0 (25%)", "2.0 (50%)"]),
        ("b", ["10.0", "10.0 (100%)", "7.5 (75%)"]),
        ("all", ["14.0", "11.0 (79%)", "9.5 (68%)"]),
    ]


@pytest.mark.parametrize(
    "points", [[(0.0, 0.0)], [(1.0, 5.0), (2.0, 5.0)], [(0.001, 1e-6), (1e6, 3e5)], [(-3.0, -7.5), (4.0, 2.0)]]
)
def test_charts_place_every_point_inside(points: list[tuple[float, float]]) -> None:
    svg = line_chart(
        [Series("<a>", points, ["p"] * len(points))], Axis("x"), Axis("y & z"), "label", level=points[0][1]
    )
    circles = re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', svg)
    assert len(circles) == len(points)
    assert all(50 < float(x) < 560 and 10 < float(y) < 300 for x, y in circles)
    assert "y &amp; z" in svg
