"""``python -m tools.zoo``: what the defaults give on other people's models, written to docs/results or to --out."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from haste_export.bench.machine import machine
from haste_export.cli.parameters import numbers
from haste_export.errors import HasteError
from tools.engines.environment import ROOT
from tools.zoo.measure import measure
from tools.zoo.models import MODELS, ModelMissingError
from tools.zoo.report import markdown
from tools.zoo.results import read, write

_BY_NAME = {model.name: model for model in MODELS}


@click.command(context_settings={"show_default": True, "help_option_names": ["-h", "--help"]})
@click.argument("names", nargs=-1, type=click.Choice(sorted(_BY_NAME)), metavar="[MODEL]...")
@click.option("--hyperplanes", callback=numbers(0), default="0,14,20", help="Values of L; 0 is dense.")
@click.option("--threads", callback=numbers(1), default="1,2", help="Numbers of threads, a table each.")
@click.option("--seconds", type=click.FloatRange(0.1), default=2.0, help="Time for one L and number of threads.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=ROOT / "docs" / "results")
def main(names: tuple[str, ...], hyperplanes: list[int], threads: list[int], seconds: float, out: Path) -> None:
    """Compress MODELs (default: all) with the defaults of haste-export and time them against stock ONNX Runtime.

    The wheels are downloaded once. Writes zoo.md and zoo.json; what is there of other models stays. Exit code 1 if a
    model could not be measured.
    """
    out.mkdir(parents=True, exist_ok=True)
    results = read(out / "zoo.json")
    about = machine()
    header = {
        "processor": f"{about['processor']}, {about['cores']} cores",
        "ONNX Runtime": str(about["onnxruntime"]),
        "command": "`python -m tools.zoo`",
    }
    failed = False
    for name in names or tuple(_BY_NAME):
        click.echo(name, err=True)
        try:
            results[name] = measure(_BY_NAME[name], hyperplanes, threads, seconds)
        except (HasteError, ModelMissingError) as error:
            click.echo(f"{name}: {error}", err=True)
            failed = True
            continue
        ordered = [results[known] for known in _BY_NAME if known in results]
        write(out / "zoo.json", header, ordered)
        (out / "zoo.md").write_text(markdown(header, ordered), encoding="utf-8")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
