"""What the commands share: exit codes as exceptions, the --json option, reading a model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import onnx
from google.protobuf.message import DecodeError

Function = TypeVar("Function", bound=Callable[..., Any])


class GateError(click.ClickException):
    """A check or a gate that the user asked for failed."""

    exit_code = 1


class InputError(click.ClickException):
    """The user's input can not be read or used."""

    exit_code = 2


class LackingError(click.ClickException):
    """This machine lacks something that the command needs."""

    exit_code = 3


def json_option(function: Function) -> Function:
    """Add --json FILE to a command, passed as `json_file`."""
    option = click.option("--json", "json_file", metavar="FILE", help="Write the result as JSON as well; - for stdout.")
    return option(function)


def write_json(result: Any, target: str | None) -> None:
    """Write a result where --json says; nothing when it was not given.

    Raises:
        InputError: the file can not be written.
    """
    if target is None:
        return
    text = json.dumps(result, indent=2)
    if target == "-":
        click.echo(text)
        return
    try:
        Path(target).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"can not write {target}: {error.strerror}") from error


def read_model(path: Path) -> onnx.ModelProto:
    """Read an ONNX file, without its external data.

    Raises:
        InputError: it is not there, can not be read, or is no ONNX model.
    """
    try:
        model = onnx.load(str(path), load_external_data=False)
    except OSError as error:
        raise InputError(f"can not read {path}: {error.strerror}") from error
    except DecodeError as error:
        raise InputError(f"{path} is not an ONNX model, or is cut off") from error
    if not model.graph.node:
        raise InputError(f"{path} is not an ONNX model, or its graph is empty")
    return model
