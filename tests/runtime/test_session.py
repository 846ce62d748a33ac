"""The session helper, on the probe model that the package carries."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest

from runtime_ops import LibraryNotFoundError, Session, available_isas, isa, library_path, run_count
from runtime_ops.library import CUDA_LIBRARY_VARIABLE
from runtime_ops.probe import PROBE_MODEL

pytestmark = pytest.mark.usefixtures("library")

Array = npt.NDArray[np.float32]


def exact(x: Array) -> Array:
    """What stock ONNX Runtime computes."""
    result: Array = Session(PROBE_MODEL, library=False).run(x)[0]
    return result


def test_runs_natively(probe_input: Array) -> None:
    session = Session(PROBE_MODEL)
    before = session.native
    _, stats = session.run({"X": probe_input})
    assert before is None
    assert session.native is True
    assert stats[0] == 4  # 5x5 outputs in patches of 3x3


def test_without_library_runs_the_body(probe_input: Array) -> None:
    session = Session(PROBE_MODEL, library=False)
    _, stats = session.run(probe_input)
    assert session.library is None
    assert session.native is False
    np.testing.assert_array_equal(stats, np.zeros(8, np.float32))


def test_missing_library_is_an_error(no_library: Path) -> None:
    with pytest.raises(LibraryNotFoundError, match=str(no_library)):
        Session(PROBE_MODEL)


@pytest.mark.skipif("CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="CUDA is there")
@pytest.mark.parametrize("providers", [None, ["CUDAExecutionProvider", "CPUExecutionProvider"]])
@pytest.mark.filterwarnings("ignore:Specified provider")
def test_cuda_is_not_replaced_by_the_cpu_in_silence(
    monkeypatch: pytest.MonkeyPatch, providers: list[str] | None
) -> None:
    monkeypatch.setenv(CUDA_LIBRARY_VARIABLE, library_path())
    with pytest.raises(RuntimeError, match=r"CUDAExecutionProvider is not in use.*onnxruntime-gpu"):
        Session(PROBE_MODEL, providers=providers, cuda=True)


def test_from_a_path(tmp_path: Path, probe_input: Array) -> None:
    path = tmp_path / "probe.onnx"
    path.write_bytes(PROBE_MODEL)
    assert np.array_equal(Session(path).run(probe_input)[0], Session(str(path)).run(probe_input)[0])


def test_steering_changes_the_run_and_none_restores_the_default(probe_input: Array) -> None:
    session = Session(PROBE_MODEL)
    assert session.steering == {"haste_hyperplanes"}
    assert session.hyperplanes is None
    default = session.run(probe_input)
    session.hyperplanes = 1
    assert session.hyperplanes == 1
    coarse = session.run(probe_input)
    assert coarse[1][2] < default[1][2]  # fewer hyperplanes, fewer buckets
    session.hyperplanes = 0
    dense = session.run(probe_input)[0]
    scale = float(np.abs(dense).max())
    np.testing.assert_allclose(dense, exact(probe_input), rtol=0, atol=64 * np.finfo(np.float32).eps * scale)
    session.hyperplanes = None
    np.testing.assert_array_equal(session.run(probe_input)[0], default[0])


def test_a_feed_of_ones_own_wins(probe_input: Array) -> None:
    session = Session(PROBE_MODEL)
    session.hyperplanes = 1
    fed = session.run({"X": probe_input, "haste_hyperplanes": np.array(0, np.int64)})
    session.hyperplanes = 0
    np.testing.assert_array_equal(fed[0], session.run(probe_input)[0])


def test_steering_that_the_model_lacks(probe_input: Array) -> None:
    session = Session(PROBE_MODEL)
    with pytest.raises(AttributeError, match="no input haste_level; it has haste_hyperplanes"):
        session.level = 2
    assert session.run(probe_input)


def test_more_hyperplanes_than_the_model_has(probe_input: Array) -> None:
    session = Session(PROBE_MODEL)
    session.hyperplanes = 5
    with pytest.raises(Exception, match="hyperplanes"):
        session.run(probe_input)
    session.hyperplanes = 4
    assert session.run(probe_input)


def test_a_fraction_of_a_hyperplane_is_refused(probe_input: Array) -> None:
    session = Session(PROBE_MODEL)
    with pytest.raises(TypeError, match="float"):
        session.hyperplanes = 0.5  # type: ignore[assignment]
    session.hyperplanes = np.int64(3)
    assert session.hyperplanes == 3
    assert session.run(probe_input)


def test_chosen_outputs_come_in_order(probe_input: Array) -> None:
    session = Session(PROBE_MODEL)
    stats, y = session.run(probe_input, ["stats", "Y"])
    assert stats.shape == (8,)
    assert y.shape == (1, 2, 5, 5)


def test_own_options_are_used(probe_input: Array) -> None:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    first, second = Session(PROBE_MODEL, options=options), Session(PROBE_MODEL, options=options)
    np.testing.assert_array_equal(first.run(probe_input)[0], second.run(probe_input)[0])


def test_run_count_counts_native_runs_only(probe_input: Array) -> None:
    native, body = Session(PROBE_MODEL), Session(PROBE_MODEL, library=False)
    before = run_count()
    body.run(probe_input)
    assert run_count() == before
    native.run(probe_input)
    native.run(probe_input)
    assert run_count() == before + 2


def test_instruction_sets() -> None:
    available = available_isas()
    assert available[-1] == "generic"
    assert isa() in available
