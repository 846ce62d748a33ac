"""The search: Optuna's NSGA-II over every layer's L (and τ), for cost against disagreement with stock.

Trials are kept in a journal file, so that a search that was stopped goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from haste_export.errors import MissingDependencyError, OptionError, OutputError
from haste_export.interrupts import held_back
from haste_export.plan import LayerSetting
from haste_export.tune.objective import Result

if TYPE_CHECKING:
    import optuna

Settings = Mapping[str, LayerSetting]

_POPULATION = 16
_RESULT = "result"
_LONGEST_FIRST_LINE = 1 << 20


class Search:
    """A resumable search over the settings of a model's layers."""

    def __init__(
        self,
        layers: Sequence[str],
        counts: Sequence[int],
        taus: Sequence[float],
        seed: int,
        storage: Path,
        identity: str,
    ) -> None:
        """Open or begin a study.

        Args:
            layers: whose settings are searched.
            counts: values of L to choose from; 0 is dense.
            taus: error bounds to choose from; (0.0,) searches none.
            seed: of the sampler.
            storage: journal file.
            identity: what the trials belong to (model, data, options); a file may hold trials of several.

        Raises:
            MissingDependencyError: Optuna is not installed.
            OutputError: the journal can not be written.
            OptionError: the file is something else.
        """
        optuna = _optuna()
        self._layers, self._counts, self._taus = list(layers), sorted(counts), sorted(taus)
        name = hashlib.sha256(json.dumps([identity, self._layers, self._counts, self._taus]).encode()).hexdigest()[:16]
        _check_journal(storage)
        try:
            backend = optuna.storages.journal.JournalFileBackend(str(storage))
            journal = optuna.storages.JournalStorage(_WholeLines(backend))
            self._study = optuna.create_study(
                storage=journal, study_name=name, directions=["minimize", "minimize"], load_if_exists=True
            )
        except OSError as error:
            raise OutputError(f"cannot write {storage}: {error.strerror or error}") from error
        except (ValueError, TypeError, LookupError) as error:  # whatever Optuna's reader stumbles over
            raise OptionError(f"{storage} is not a journal of haste tune; choose another --storage") from error
        # A sampler that began with the same seed again would repeat the trials that are done.
        sampler_seed = seed + len(self._study.trials)
        self._study.sampler = optuna.samplers.NSGAIISampler(population_size=_POPULATION, seed=sampler_seed)

    @property
    def done(self) -> int:
        """Trials that are finished."""
        return len(self._finished())

    def suggest_first(self, choices: Sequence[Settings]) -> None:
        """Try these before anything else."""
        for choice in choices:
            self._study.enqueue_trial(self._parameters(choice), skip_if_exists=True)

    def run(
        self, trials: int, measure: Callable[[Settings], Result], progress: Callable[[Result], None] | None = None
    ) -> None:
        """Go on until `trials` are finished in all."""

        def objective(trial: optuna.Trial) -> tuple[float, float]:
            result = measure(self._ask(trial))
            trial.set_user_attr(_RESULT, asdict(result))
            if progress is not None:
                progress(result)
            return result.cost, result.disagreement

        self._study.optimize(objective, n_trials=max(trials - self.done, 0))

    def results(self) -> list[tuple[dict[str, LayerSetting], Result]]:
        """Everything that was tried."""
        return [(self._settings(trial.params), Result(**trial.user_attrs[_RESULT])) for trial in self._finished()]

    def _finished(self) -> list[Any]:
        return [trial for trial in self._study.trials if _RESULT in trial.user_attrs and trial.values is not None]

    def _ask(self, trial: optuna.Trial) -> dict[str, LayerSetting]:
        # An index keeps the order of the values, which a categorical parameter would hide from the crossover.
        for name in self._layers:
            trial.suggest_int(f"L {name}", 0, len(self._counts) - 1)
            if len(self._taus) > 1:
                trial.suggest_int(f"tau {name}", 0, len(self._taus) - 1)
        return self._settings(trial.params)

    def _settings(self, parameters: Mapping[str, Any]) -> dict[str, LayerSetting]:
        return {
            name: LayerSetting(self._counts[parameters[f"L {name}"]], self._taus[parameters.get(f"tau {name}", 0)])
            for name in self._layers
        }

    def _parameters(self, choice: Settings) -> dict[str, int]:
        parameters = {f"L {name}": self._counts.index(choice[name].hyperplanes) for name in self._layers}
        if len(self._taus) > 1:
            parameters |= {f"tau {name}": self._taus.index(choice[name].tau) for name in self._layers}
        return parameters


class _WholeLines:
    """A backend of Optuna's journal that no interrupt cuts off: it left a lock behind, or failed to remove it twice."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend

    def read_logs(self, log_number_from: int) -> Any:
        return self._backend.read_logs(log_number_from)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        with held_back():
            self._backend.append_logs(logs)


def _check_journal(path: Path) -> None:
    """Raise OptionError for a file of another kind: Optuna would append to it, and only then fail to read it."""
    try:
        with path.open("rb") as file:
            first = file.readline(_LONGEST_FIRST_LINE)
        known = not first or "op_code" in dict(json.loads(first))
    except FileNotFoundError:
        return
    except OSError as error:
        raise OutputError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, TypeError):
        known = False
    if not known:
        raise OptionError(f"{path} is not a journal of haste tune; choose another --storage")


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise MissingDependencyError("haste tune needs Optuna: pip install 'haste-export[tune]'") from error
    # Its warnings are about trials that end by an exception, an interrupt for one; what ends the search is told anyway.
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna
