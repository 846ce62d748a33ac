"""``python -m haste_export.data [DIRECTORY]``: copies the sample model and its images, and says what to try."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from . import sample_file, sample_model


@click.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path), default=Path())
def main(directory: Path) -> None:
    """Copy the sample model and its two image files to DIRECTORY (default: here)."""
    directory.mkdir(parents=True, exist_ok=True)
    for source in (sample_model(), sample_file("tune"), sample_file("test")):
        click.echo(shutil.copy(source, directory))


if __name__ == "__main__":
    main()
