"""One model on one data set, measured with the native operator in ONNX Runtime; nothing is measured twice."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx

from haste_export.compiler import compress_with_report
from haste_export.evaluate.dataset import Dataset, load_dataset
from haste_export.evaluate.engine import Judge
from haste_export.evaluate.models import compressed_with, load_whole
from haste_export.evaluate.stats import haste_convs
from haste_export.evaluate.sweep import Point, sweep_compressed
from haste_export.options import Options
from haste_export.tune.correct import Corrections, MomentMeter, attach
from haste_export.tune.data_free import synthetic_dataset
from tools.evidence.planes import Planes, choose, replace_planes
from tools.evidence.settings import Method, Setting
from tools.evidence.store import Numbers, Store, digest
from tools.evidence.tables import Table
from tools.evidence.timing import Stopwatch

THREADS = 1


class Measurement:
    """Compresses a model in many ways, and says what each costs.

    Attributes:
        path: of the stock model.
        stock: the model.
        seeds: of the hyperplanes.
        samples: how many images corrections are measured on.
    """

    def __init__(
        self,
        model: Path,
        data: str | Dataset,
        limit: int | None,
        seeds: Sequence[int],
        calibration: str | Dataset | None = None,
        samples: int = 128,
        store: Store | None = None,
    ) -> None:
        """Open the model and the data; `samples` images of `calibration`, without labels, are for corrections."""
        self.path, self.seeds = model, seeds
        self.stock: onnx.ModelProto = load_whole(model)
        dataset = load_dataset(data, self.stock) if isinstance(data, str) else data
        self.dataset: Dataset = dataset if limit is None else dataset.take(limit)
        images = load_dataset(calibration, self.stock) if isinstance(calibration, str) else calibration
        self._images = None if images is None else images.take(samples)
        self.samples = samples
        self._store = store or Store()
        self._model_key = hashlib.sha256(self.stock.SerializeToString(deterministic=True)).hexdigest()[:16]
        self._tables: dict[str, Corrections] = {}
        self._chosen: dict[str, dict[str, Planes]] = {}
        self._meter: tuple[str, MomentMeter] | None = None  # the latest, which knows stock's moments

    @cached_property
    def judge(self) -> Judge:
        """Runs stock, so it is made only when something is not known yet."""
        return Judge(self.stock, self.dataset, THREADS)

    @cached_property
    def _data_key(self) -> str:
        return _fingerprint(self.dataset)

    @cached_property
    def _calibration_key(self) -> str:
        if self._images is None:
            raise click.UsageError("a correction needs --calibrate")
        return _fingerprint(self._images)

    @cached_property
    def stock_score(self) -> Numbers:
        """Samples, and stock's score where there are labels."""
        key = {"model": self._model_key, "data": self._data_key, "what": "stock"}
        known = self._store.get(key)
        if known is None:
            quality = self.judge.stock_quality
            known = {"samples": quality.samples, **({} if quality.score is None else {"score": quality.score})}
            self._store.put(key, known)
        return known

    def table(self, name: str, title: str, further: Mapping[str, str] | None = None) -> Table:
        """An empty table with what a reader must know."""
        score = f"{self.stock_score['score']:.2%}" if "score" in self.stock_score else "not known (no labels)"
        facts = {
            "model": self.path.name,
            "data": f"{self.dataset.name}, {self.stock_score['samples']:.0f} samples; "
            f"stock {self.dataset.metric_name} {score}",
            "seeds": ", ".join(map(str, self.seeds)) + "; mean ± standard deviation",
            "engine": "native kernels in ONNX Runtime, one thread",
        }
        return Table(f"{name}-{self.path.stem}", title, {**facts, **(further or {})})

    def fill(self, table: Table, label: str, method: Method, settings: Sequence[Setting]) -> None:
        """All seeds at these settings; `label` is a format with {}, for the setting's name."""
        for setting, rows in zip(settings, self.rows(method, settings), strict=True):
            for row in rows:
                table.add(label.format(setting.name), row)

    def rows(self, method: Method, settings: Sequence[Setting]) -> list[list[Numbers]]:
        """For every setting, one row per seed."""
        for seed in self.seeds:
            missing = [item for item in settings if self._store.get(self._key(method, item, seed)) is None]
            # A correction takes long, so each is judged, and remembered, before the next begins.
            for group in [[item] for item in missing] if method.corrected else [missing] if missing else []:
                self._judge(method, group, seed)
        keys = [[self._key(method, item, seed) for seed in self.seeds] for item in settings]
        return [[self._store.get(key) or {} for key in row] for row in keys]

    def is_known(self, method: Method, setting: Setting) -> bool:
        """Whether all seeds have been judged at this setting."""
        return all(self._store.get(self._key(method, setting, seed)) is not None for seed in self.seeds)

    def times(self, method: Method, settings: Sequence[Setting], repeats: int) -> list[Numbers]:
        """Time relative to stock at these settings with the first seed, measured in turns with it.

        Correct only on a machine that does nothing else.
        """
        seed = self.seeds[0]
        keys = [{**self._key(method, item, seed), "data": "", "what": "time"} for item in settings]
        missing = [place for place, key in enumerate(keys) if self._store.get(key) is None]
        if missing:
            model = self.compressed(method, [settings[place] for place in missing], seed)
            for place, known in zip(missing, self._stopwatch.measure(model, len(missing), repeats), strict=False):
                self._store.put(keys[place], known)
                self._store.put(self._stock_key, {"stock ms": self._stopwatch.fastest})
        return [self._store.get(key) or {} for key in keys]

    @cached_property
    def _stopwatch(self) -> Stopwatch:
        known = self._store.get(self._stock_key) or {}
        return Stopwatch(self.stock, next(self.dataset.batches()).feeds, THREADS, known.get("stock ms", math.inf))

    @property
    def _stock_key(self) -> dict[str, Any]:
        return {"model": self._model_key, "data": "", "what": "time of stock"}

    def compressed(self, method: Method, settings: Sequence[Setting], seed: int) -> onnx.ModelProto:
        """The compressed model with these settings as its levels 1, 2, ..."""
        options = method.options(seed, tau=float(any(item.bounded for item in settings)))
        names = self.layers(options)
        levels = [item.level(names) for item in settings]
        model = compressed_with(self.stock, replace(options, plan=replace(options.plan, levels=tuple(levels))))
        if method.planes:
            replace_planes(model, self._planes(method, seed))
        if not method.corrected:
            return model
        return attach(model, [self._correction(method, item, seed) for item in settings])

    def layers(self, options: Options) -> list[str]:
        """Names of the layers that are rewritten."""
        return [node.name for node in haste_convs(compressed_with(self.stock, options))]

    def left_alone(self, method: Method) -> tuple[str, ...]:
        """Names of the layers that qualify, but which `haste-export` would leave: its cost model sees no gain there."""
        options = replace(method.options(self.seeds[0]), hyperplanes=Options.hyperplanes, select="model")
        _, report = compress_with_report(self.stock, **vars(options))
        return tuple(layer.name for layer in report.left if layer.speed is not None)

    def _judge(self, method: Method, settings: Sequence[Setting], seed: int) -> None:
        model = self.compressed(method, settings, seed)
        for point in sweep_compressed(self.judge, model, range(1, len(settings) + 1), seed):
            item = settings[point.setting - 1]
            self._store.put(self._key(method, item, seed), row(point, self.judge.stock_quality.score))

    def _key(self, method: Method, setting: Setting, seed: int) -> dict[str, Any]:
        key = {"model": self._model_key, "data": self._data_key, **method.key(), **setting.key(), "seed": seed}
        if not method.corrected:
            return key
        return {**key, "calibration": self.samples if method.synthetic else self._calibration_key}

    def _correction(self, method: Method, setting: Setting, seed: int) -> Corrections:
        """The layers' corrections, from a file if they are known."""
        name = digest({**self._key(method, setting, seed), "data": ""})
        if name not in self._tables:
            path = self._store.directory / f"correction-{name}.npz"
            if path.exists():
                with np.load(path) as arrays:
                    self._tables[name] = dict(arrays)
            else:
                self._tables[name] = self._calibrate(method, setting, seed)
                path.parent.mkdir(parents=True, exist_ok=True)
                np.savez_compressed(path, **self._tables[name])  # type: ignore[arg-type]
        return self._tables[name]

    def _calibrate(self, method: Method, setting: Setting, seed: int) -> Corrections:
        options = replace(method.options(seed, tau=float(setting.bounded)), layout="nchw", weights="oihw")
        key = digest({**method.key(), "seed": seed, "bounded": setting.bounded})
        if self._meter is None or self._meter[0] != key:
            images = synthetic_dataset(self.stock, {}, self.samples // 16, 16) if method.synthetic else self._images
            assert images is not None
            model = compressed_with(self.stock, options)
            if method.planes:
                replace_planes(model, self._planes(method, seed))
            self._meter = key, MomentMeter(model, images, THREADS)
        return self._meter[1].calibrate(setting.level(self.layers(options)))

    def _planes(self, method: Method, seed: int) -> dict[str, Planes]:
        """Chosen once per method and seed."""
        key = digest({**replace(method, corrected=False).key(), "seed": seed})
        if key not in self._chosen:
            self._chosen[key] = choose(method.planes, self.stock, method.options(seed))
        return self._chosen[key]


def row(point: Point, stock: float | None) -> Numbers:
    """The columns of every native table, in per cent where that reads better."""
    drop = {"top-1 loss (points)": (stock - point.score) * 100} if stock is not None and point.score is not None else {}
    return {
        **drop,
        "agreement (%)": point.agreement * 100,
        "error": point.error,
        "FLOPs saved (%)": point.flops_reduction * 100,
        "r": point.r,
    }


def _fingerprint(dataset: Dataset) -> str:
    digest_of_all = hashlib.sha256()
    for batch in dataset.batches():
        for values in batch.feeds.values():
            digest_of_all.update(np.ascontiguousarray(values).tobytes())
        if batch.labels is not None:
            digest_of_all.update(batch.labels.tobytes())
    return digest_of_all.hexdigest()[:16]
