"""An inference session that knows the op library and the model's steering input."""

from __future__ import annotations

import operator
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from runtime_ops.library import CUDA_PROVIDER, register
from runtime_ops.native import run_count

HYPERPLANES_INPUT = "haste_hyperplanes"
LEVEL_INPUT = "haste_level"


class ProviderError(RuntimeError):
    """ONNX Runtime has no CUDA provider, or could not load it."""


class Session:
    """A compressed model, ready to run, with its compression adjustable between two runs.

    Attributes:
        inference: the onnxruntime.InferenceSession inside, for everything this class does not offer.
        library: path of the registered op library; None when the session was told to do without.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | bytes,
        *,
        options: onnxruntime.SessionOptions | None = None,
        providers: Sequence[Any] | None = None,
        library: str | os.PathLike[str] | bool = True,
        cuda: bool = False,
    ) -> None:
        """Load a model.

        Args:
            model: path of an ONNX file, or its bytes.
            options: session options; the library is registered in them. Fresh ones by default.
            providers: execution providers, as for onnxruntime.InferenceSession; the CPU by default, with `cuda` before
                it CUDA.
            library: True finds the op library, a path names it, False runs the model's exact fallback bodies.
            cuda: register the library with CUDA kernels.

        Raises:
            LibraryNotFoundError: the op library was not found.
            ValueError: `options` have another library registered already than `cuda` or `library` asks for.
            ProviderError: `cuda`, but ONNX Runtime has no CUDA provider or could not load it.
        """
        if options is None:
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 3  # each steering input makes ONNX Runtime warn that it is not constant
        self.library: str | None = None
        if library is not False:
            self.library = register(options, cuda, None if library is True else os.fspath(library))
        if providers is None:
            providers = (CUDA_PROVIDER, "CPUExecutionProvider") if cuda else ("CPUExecutionProvider",)
        source = model if isinstance(model, bytes) else os.fspath(model)
        self.inference = onnxruntime.InferenceSession(source, options, providers=list(providers))
        if cuda and CUDA_PROVIDER not in self.inference.get_providers():  # it falls back to the CPU without a word
            raise ProviderError(
                f"{CUDA_PROVIDER} is not in use. This onnxruntime offers "
                f"{', '.join(onnxruntime.get_available_providers())}; CUDA comes with onnxruntime-gpu, and needs the "
                "CUDA and cuDNN libraries it was built for; where those came as Python packages, call "
                "onnxruntime.preload_dlls() first. python -m runtime_ops says more."
            )
        self._steering = {
            node.name
            for node in (*self.inference.get_overridable_initializers(), *self.inference.get_inputs())
            if node.name in (HYPERPLANES_INPUT, LEVEL_INPUT)
        }
        self._fed: dict[str, npt.NDArray[np.int64]] = {}
        self._native_runs: int | None = None

    @property
    def hyperplanes(self) -> int | None:
        """L of every layer: 1 to the model's Lmax, more is more exact; 0 is dense; None leaves the model's default."""
        return self._value(HYPERPLANES_INPUT)

    @hyperplanes.setter
    def hyperplanes(self, value: int | None) -> None:
        self._feed(HYPERPLANES_INPUT, value)

    @property
    def level(self) -> int | None:
        """Row of the tuned tables: 0 or less is dense, above the last a run fails; None is the model's default."""
        return self._value(LEVEL_INPUT)

    @level.setter
    def level(self, value: int | None) -> None:
        self._feed(LEVEL_INPUT, value)

    @property
    def steering(self) -> frozenset[str]:
        """Names of the steering inputs that the model has: haste_hyperplanes, haste_level, both or none."""
        return frozenset(self._steering)

    @property
    def native(self) -> bool | None:
        """Whether native kernels ran in the last run(); None before the first.

        The library counts for the whole process: with several sessions running at once, one vouches for the other.
        """
        return None if self._native_runs is None else self._native_runs > 0

    def run(
        self, feeds: Mapping[str, npt.NDArray[Any]] | npt.NDArray[Any], outputs: Sequence[str] | None = None
    ) -> list[Any]:
        """Run the model once, steered as set.

        Args:
            feeds: input name -> array; a model with one input takes the array alone.
            outputs: names of the outputs wanted; all of them by default.

        Returns:
            The outputs, in the order asked for.

        Raises:
            ValueError: an array alone was given to a model with several inputs.
        """
        if not isinstance(feeds, Mapping):
            feeds = {self._only_input(): feeds}
        before = self._count()
        result = self.inference.run(list(outputs) if outputs is not None else None, {**self._fed, **feeds})
        self._native_runs = self._count() - before
        return list(result)

    def _only_input(self) -> str:
        names = [node.name for node in self.inference.get_inputs() if node.name not in self._steering]
        if len(names) != 1:
            raise ValueError(f"the model has {len(names)} inputs ({', '.join(names)}): feed them by name")
        return str(names[0])

    def _count(self) -> int:
        return run_count(self.library) if self.library is not None else 0

    def _value(self, name: str) -> int | None:
        value = self._fed.get(name)
        return None if value is None else int(value)

    def _feed(self, name: str, value: int | None) -> None:
        if name not in self._steering:
            has = " and ".join(sorted(self._steering)) or "no steering input"
            raise AttributeError(f"this model has no input {name}; it has {has}")
        if value is None:
            self._fed.pop(name, None)
        else:
            self._fed[name] = np.array(operator.index(value), dtype=np.int64)  # 0.5 would become 0, which is dense
