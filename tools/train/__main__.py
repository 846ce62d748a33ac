"""``python -m tools.train NETWORK -o model.onnx``: trains one network on Fashion-MNIST and exports it to ONNX.

Runs on the processor or, with ``--device cuda``, on a GPU. The last 5 000 training images are never trained on: they
are the validation split that everything tuned afterwards may look at. The test images are looked at once, at the end.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import click
import onnx
import torch
from torch import nn

from . import datasets
from .loop import Recipe, accuracy, train
from .networks import NETWORKS

VALIDATION = 5_000
"""Images at the end of the training split that are held out."""


def export(network: nn.Module, path: Path) -> None:
    """Writes the network, batch norm folded: input ``image`` [batch, 1, 28, 28], output ``logits`` [batch, 10]."""
    example = torch.zeros(2, 1, 28, 28)
    program = torch.onnx.export(
        network.eval().cpu(),
        (example,),
        input_names=["image"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        opset_version=18,
        dynamo=True,
        verbose=False,
    )
    if program is None:
        raise RuntimeError("torch.onnx.export returned no program")
    model = program.model_proto
    for part in (
        model,
        model.graph,
        *model.graph.node,
        *model.graph.value_info,
        *model.graph.input,
        *model.graph.output,
    ):
        del part.metadata_props[:]  # stack traces and paths of the exporting machine
        part.doc_string = ""
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())


def _tensors(split: str, directory: Path, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = datasets.load_split(split, directory)
    return torch.from_numpy(datasets.normalise(images)).to(device), torch.from_numpy(labels).to(device)


@click.command()
@click.argument("network", type=click.Choice(sorted(NETWORKS)))
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True)
@click.option("--data", type=click.Path(exists=True, path_type=Path), default=datasets.DEFAULT_DIRECTORY)
@click.option("--epochs", default=9, show_default=True)
@click.option("--batch", default=256, show_default=True)
@click.option("--rate", default=0.1, show_default=True, help="Peak learning rate.")
@click.option("--seed", default=0, show_default=True)
@click.option("--device", default="cpu", show_default=True)
@click.option("--bfloat16", is_flag=True, help="Compute in bfloat16 where autocast allows.")
def main(
    network: str, output: Path, data: Path, epochs: int, batch: int, rate: float, seed: int, device: str, bfloat16: bool
) -> None:
    """Train NETWORK on Fashion-MNIST and write OUTPUT (ONNX) and OUTPUT.json (the recipe and the accuracies)."""
    torch.manual_seed(seed)
    recipe = Recipe(epochs=epochs, batch=batch, rate=rate, bfloat16=bfloat16)
    images, labels = _tensors("train", data, device)
    module = NETWORKS[network]().to(torch.device(device), memory_format=torch.channels_last)
    held_out = images[-VALIDATION:], labels[-VALIDATION:]
    start = time.monotonic()

    def report(epoch: int, loss: float) -> None:
        score = accuracy(module, *held_out)
        click.echo(
            f"epoch {epoch:2}  loss {loss:.4f}  validation {score:.2%}  {time.monotonic() - start:.0f} s", err=True
        )

    train(module, images[:-VALIDATION], labels[:-VALIDATION], recipe, seed, report)
    result = {
        "network": network,
        "seed": seed,
        **recipe.__dict__,
        "validation": accuracy(module, *held_out),
        "test": accuracy(module, *_tensors("test", data, device)),
    }
    export(module, output)
    output.with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n")
    click.echo(json.dumps(result))


if __name__ == "__main__":
    main()
