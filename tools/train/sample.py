"""``python -m tools.train.sample``: trains the sample network and writes the files of haste_export/data."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from . import datasets
from .__main__ import VALIDATION
from .__main__ import main as train_command

OUTPUT = Path(__file__).parents[2] / "haste_export" / "data"
IMAGES = 1_000


def write_images(directory: Path, output: Path) -> None:
    """The two image files: the first of the validation split, and the first test images."""
    train, test = datasets.load_split("train", directory), datasets.load_split("test", directory)
    splits = {"tune": tuple(array[-VALIDATION:] for array in train), "test": test}
    for name, (images, labels) in splits.items():
        np.savez_compressed(
            output / f"sample_{name}.npz",
            images=images[:IMAGES],
            labels=labels[:IMAGES],
            mean=np.float32(datasets.MEAN),
            std=np.float32(datasets.STD),
        )


@click.command()
@click.option("--data", type=click.Path(exists=True, path_type=Path), default=datasets.DEFAULT_DIRECTORY)
@click.option("-o", "--output", type=click.Path(exists=True, file_okay=False, path_type=Path), default=OUTPUT)
def main(data: Path, output: Path) -> None:
    """Make sample.onnx, sample_tune.npz and sample_test.npz."""
    write_images(data, output)
    recipe = ["sample", "-o", str(output / "sample.onnx"), "--data", str(data), "--epochs", "14", "--bfloat16"]
    train_command(recipe, standalone_mode=False)


if __name__ == "__main__":
    main()
