"""Third-party models, for which there are photographs but no labels: agreement with stock, and error."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx

from haste_export.evaluate.dataset import Batch, Dataset, top1
from tools.engines.models import prepare
from tools.engines.photographs import measured as photographs
from tools.evidence.measure import Measurement
from tools.evidence.settings import MERGES, Method, uniform
from tools.evidence.store import DIRECTORY
from tools.evidence.tables import Table


def photo_table(name: str, seeds: Sequence[int], hyperplanes: Sequence[int], sparsity: float) -> Table:
    """The first table again, without labels; the error is that of the last feature map.

    The scores of a classifier that was made for other images say little, and a feature map much.
    """
    folder = DIRECTORY / name
    folder.mkdir(parents=True, exist_ok=True)
    prepared = prepare(name, folder)
    images = photographs(prepared.input_shape, prepared.preprocess)
    dataset = Dataset(
        "photographs of scikit-learn and scikit-image",
        lambda: (Batch({prepared.input_name: image}, None) for image in images),
        labelled=False,
        metric=top1,
    )
    scores, features = (
        Measurement(_with_output(prepared.path, folder / f"{name}-{output}.onnx", place), dataset, None, seeds)
        for place, output in enumerate(("scores", "features"))
    )
    table = features.table("photographs", f"Agreement and error over L without labels, sparsity {sparsity:.2f}")
    table.name, table.facts = f"photographs-{name}", {**table.facts, "model": name}
    for merge in MERGES:
        method, settings = Method(merge, sparsity), uniform(hyperplanes)
        for setting, by_scores, by_features in zip(
            settings, scores.rows(method, settings), features.rows(method, settings), strict=True
        ):
            for one, other in zip(by_scores, by_features, strict=True):
                row = {
                    "agreement (%)": one["agreement (%)"],
                    "error of the scores": one["error"],
                    "error of the last feature map": other["error"],
                    "FLOPs saved (%)": other["FLOPs saved (%)"],
                    "r": other["r"],
                }
                table.add(f"{merge}, {setting.name}", row)
    return table


def _with_output(source: Path, target: Path, place: int) -> Path:
    """The model with one of its outputs alone."""
    model = onnx.load(source)
    kept = model.graph.output[place]
    del model.graph.output[:]
    model.graph.output.append(kept)
    onnx.save(model, target)
    return target
