"""What a compression did, layer by layer: the document model.haste.json."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from haste_export.contract import NCHW, PATCH
from haste_export.flops import LayerShape, regular_cost
from haste_export.options import Options
from haste_export.version import __version__

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class LayerSpeed:
    """Milliseconds of one layer, predicted by the cost model or measured on this machine.

    Attributes:
        source: which of both.
        stock_ms: as Conv.
        haste_ms: as HasteConv at its L.
        dense_ms: as HasteConv in dense mode; None if it was not measured.
    """

    source: Literal["model", "measured"]
    stock_ms: float
    haste_ms: float
    dense_ms: float | None = None


@dataclass(frozen=True)
class DenseSpeed:
    """Milliseconds at the L asked for and in dense mode, L = 0, with the same layers rewritten.

    Attributes:
        source: "model": predicted, of the rewritten layers, without conversions; "measured": of the whole model.
        haste_ms: at the L asked for.
        dense_ms: in dense mode.
        speedup: of the L asked for over dense mode; if it was measured, the median of the ratios of a turn.
        pays: whether that is enough to count on (`haste_export.speed.dense`).
    """

    source: Literal["model", "measured"]
    haste_ms: float
    dense_ms: float
    speedup: float
    pays: bool


@dataclass(frozen=True)
class ModelSpeed:
    """Milliseconds of the whole model, measured in turns.

    Attributes:
        stock_ms: median of the original.
        haste_ms: median of the compressed model; of the best that was tried, if the model stays unchanged.
        speedup: median of the ratios of a turn.
        unchanged: whether the original was kept because nothing gains.
        threads: threads of one run.
        isa: instruction set of the op library.
        input: what was fed.
    """

    stock_ms: float
    haste_ms: float
    speedup: float
    unchanged: bool
    threads: int
    isa: str
    input: str


@dataclass
class LayerReport:
    """One convolution.

    Attributes:
        name: the node's name, before and after.
        status: whether it became a HasteConv.
        reason: for a layer that was left, the clause that says why.
        in_channels: C, all groups together; None if the weights are not constant.
        out_channels: M.
        group: groups of the Conv.
        kernel: (kH, kW); of other length for a convolution that is not 2-D.
        height: rows of the output, None if they are not static.
        width: columns of the output, None if they are not static.
        input_layout: "NCHW" or "blocked".
        output_layout: the same for the output.
        residual_layout: the same for the residual; None if there is none.
        activation: the fused activation, "" if there is none.
        patch: p, a patch being p x p output pixels; None for a layer that was left.
        hyperplanes: L by default; None for a layer that was left.
        tau: error bound by default; 0 is unbounded.
        weight_type: "float32" or "float16", as the weights are stored; None for a layer that was left.
        weight_bytes: of the weights as they are stored.
        float32_because: the clause that says why weights are float32 where float16 was asked for.
        speed: its milliseconds, if they were predicted or measured.
    """

    name: str
    status: Literal["rewritten", "left"]
    reason: str | None = None
    in_channels: int | None = None
    out_channels: int | None = None
    group: int = 1
    kernel: tuple[int, ...] = ()
    height: int | None = None
    width: int | None = None
    input_layout: str = NCHW
    output_layout: str = NCHW
    residual_layout: str | None = None
    activation: str = ""
    patch: int | None = None
    hyperplanes: int | None = None
    tau: float = 0.0
    weight_type: str | None = None
    weight_bytes: int | None = None
    float32_because: str | None = None
    speed: LayerSpeed | None = None

    @property
    def sentence(self) -> str:
        """What became of the layer, as a sentence."""
        if self.status == "left":
            return f"Conv '{self.name}': {self.reason}, left alone."
        if self.float32_because:
            return f"Conv '{self.name}': rewritten, its weights stay float32: {self.float32_because}."
        return f"Conv '{self.name}': rewritten."

    @property
    def shape(self) -> LayerShape | None:
        """Sizes for the cost formulas; None if one of them is unknown or the layer is not 2-D."""
        if len(self.kernel) != 2:
            return None
        if self.in_channels is None or self.out_channels is None or self.height is None or self.width is None:
            return None
        # A grouped convolution reads in_channels / group channels per output channel.
        sizes = (self.in_channels // self.group, self.out_channels, self.height, self.width, *self.kernel)
        return LayerShape(*sizes, patch=self.patch or PATCH) if min(sizes) > 0 else None

    @property
    def flops_regular(self) -> float | None:
        """FLOPs of the plain convolution for one image; None if a size is unknown."""
        return None if self.shape is None else regular_cost(self.shape)

    def to_json(self) -> dict[str, Any]:
        """The layer as JSON values."""
        return {**asdict(self), "kernel": list(self.kernel), "flops_regular": self.flops_regular}


@dataclass
class Report:
    """The whole compression.

    Attributes:
        options: what was asked for.
        layers: every convolution, in the order of the model.
        reorders: HasteReorder nodes added.
        pools: pools that became HasteMaxPool or HasteAveragePool.
        steering: name of the steering input; None if nothing was rewritten.
        levels: levels of `haste_level`, the dense one included; 0 if layers share `haste_hyperplanes`.
        weight_bytes: of the rewritten layers as they are stored; weights that layers share count once.
        weight_bytes_float32: what these would be as float32.
        source: path of the original, if it was a file.
        target: path of the result, if it was written.
        check: outcome of `--check`, if it ran.
        speed: milliseconds of the whole model, if they were measured.
        dense: the L asked for against dense mode, if that was predicted or measured and L is one number above 0.
        warnings: what the user should know about how layers were chosen.
    """

    options: Options
    layers: list[LayerReport] = field(default_factory=list)
    reorders: int = 0
    pools: int = 0
    steering: str | None = None
    levels: int = 0
    weight_bytes: int = 0
    weight_bytes_float32: int = 0
    source: str | None = None
    target: str | None = None
    check: dict[str, Any] | None = None
    speed: ModelSpeed | None = None
    dense: DenseSpeed | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def rewritten(self) -> list[LayerReport]:
        """The layers that became HasteConv."""
        return [layer for layer in self.layers if layer.status == "rewritten"]

    @property
    def left(self) -> list[LayerReport]:
        """The layers that stayed."""
        return [layer for layer in self.layers if layer.status == "left"]

    def layer(self, name: str) -> LayerReport:
        """The layer of this name; KeyError if there is none."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(name)

    def to_json(self) -> dict[str, Any]:
        """The document of model.haste.json."""
        return {
            "schema": SCHEMA_VERSION,
            "version": __version__,
            "source": self.source,
            "target": self.target,
            "options": self.options.to_json(),
            "summary": {
                "convolutions": len(self.layers),
                "rewritten": len(self.rewritten),
                "left": len(self.left),
                "reorders": self.reorders,
                "pools": self.pools,
                "steering": self.steering,
                "levels": self.levels,
                "weight_bytes": self.weight_bytes,
                "weight_bytes_float32": self.weight_bytes_float32,
            },
            "layers": [layer.to_json() for layer in self.layers],
            "warnings": self.warnings,
            "check": self.check,
            "speed": asdict(self.speed) if self.speed is not None else None,
            "dense": asdict(self.dense) if self.dense is not None else None,
        }
