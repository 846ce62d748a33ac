"""Third-party models, for which there are photographs but no labels: agreement with stock, and error."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import onnx

from haste_export.evaluate.dataset import Batch, Dataset, top1
from tools.engines.models import prepare
from tools.engines.photographs import Array, calibration, measured
from tools.evidence.measure import Measurement
from tools.evidence.settings import MERGES, Method, uniform
from tools.evidence.store import DIRECTORY
from tools.evidence.tables import Table

_SPARSER = 2 / 3


def photo_table(name: str, seeds: Sequence[int], hyperplanes: Sequence[int], sparsity: float) -> Table:
    """Accuracy and cost over L again, without labels, and with correction on other photographs.

    The scores of a classifier that was made for other images say little, so the last feature map is looked at too.
    """
    folder = DIRECTORY / name
    folder.mkdir(parents=True, exist_ok=True)
    prepared = prepare(name, folder)
    judged, calibrated_on = (
        _dataset(prepared.input_name, photographs(prepared.input_shape, prepared.preprocess))
        for photographs in (measured, calibration)
    )
    scores, features = (
        Measurement(
            _with_output(prepared.path, folder / f"{name}-{output}.onnx", place), judged, None, seeds, calibrated_on
        )
        for place, output in enumerate(("scores", "features"))
    )
    table = features.table("photographs", f"Agreement and error over L without labels, sparsity {sparsity:.2f}")
    table.name = f"photographs-{name}"
    table.facts = {**table.facts, "model": name, "correction": "on 16 views of 8 other photographs"}
    methods: dict[str, Method] = {merge: Method(merge, sparsity) for merge in MERGES}
    methods[f"scaled, s = {_SPARSER:.2f}"] = Method("scaled", _SPARSER)
    methods |= {f"{merge}, corrected": Method(merge, sparsity, corrected=True) for merge in MERGES}
    settings = uniform(hyperplanes)
    for label, method in methods.items():
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
                table.add(f"{label}, {setting.name}", row)
    return table


def _dataset(name: str, images: Array) -> Dataset:
    def batches() -> Iterator[Batch]:
        return (Batch({name: image}, None) for image in images)

    return Dataset("photographs of scikit-learn and scikit-image", batches, labelled=False, metric=top1)


def _with_output(source: Path, target: Path, place: int) -> Path:
    """The model with one of its outputs alone."""
    model = onnx.load(source)
    kept = model.graph.output[place]
    del model.graph.output[:]
    model.graph.output.append(kept)
    onnx.save(model, target)
    return target
