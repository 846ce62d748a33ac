"""What can go wrong for a user, each with an exit code of the command line: 1 gate, 2 input, 3 environment."""

from __future__ import annotations

from typing import ClassVar


class HasteError(Exception):
    """A failure that is explained in one sentence and needs no traceback."""

    exit_code: ClassVar[int] = 2


class CheckFailedError(HasteError):
    """The compressed model does not compute what the original computes."""

    exit_code = 1


class UnreadableModelError(HasteError):
    """The input is missing, is not ONNX, is truncated, or its external data is not where it says."""


class UnsupportedModelError(HasteError):
    """The input is ONNX, but of a kind that cannot be compressed: no graph, an unknown opset, compressed already."""


class OptionError(HasteError, ValueError):
    """An option has a value that makes no sense, or names something that the model does not have."""


class OutputError(HasteError):
    """The result could not be written; what stood there before is untouched."""


class MissingDependencyError(HasteError):
    """The environment lacks something that the command needs."""

    exit_code = 3


class DefectError(HasteError):
    """The compiler failed on a model in which nothing wrong is found: a defect of ours, to be reported."""


def first_cause(error: BaseException) -> BaseException:
    """What a chain of errors began with; passes and readers wrap errors in their own."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error
