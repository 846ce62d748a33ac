"""``python -m tools.train.images SPLIT FILE.npz``: Fashion-MNIST images as ``haste eval --data`` takes them."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from . import datasets
from .__main__ import VALIDATION


@click.command()
@click.argument("split", type=click.Choice(["train", "validation", "test"]))
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--data", type=click.Path(exists=True, path_type=Path), default=datasets.DEFAULT_DIRECTORY)
def main(split: str, file: Path, data: Path) -> None:
    """Write the images of SPLIT, their labels, mean and deviation to FILE. "validation" is never trained on."""
    images, labels = datasets.load_split("test" if split == "test" else "train", data)
    if split != "test":
        part = slice(-VALIDATION, None) if split == "validation" else slice(None, -VALIDATION)
        images, labels = images[part], labels[part]
    np.savez_compressed(
        file, images=images, labels=labels, mean=np.float32(datasets.MEAN), std=np.float32(datasets.STD)
    )


if __name__ == "__main__":
    main()
