"""What the C APIs refuse: the right status, a sentence that names the culprit, and never a crash."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from ctypes import byref, c_int64, c_void_p
from dataclasses import replace

import numpy as np
import pytest

from tests.operator import native
from tests.operator.backends import Backend
from tests.operator.c_api import INVALID_ARGUMENT, LAYOUT, OK, UNSUPPORTED, ConvParams, NativeError, PoolParams
from tests.operator.cases import Case, build
from tests.operator.native import RunArgs

MANY = 4096
WEIGHTS = np.zeros(MANY * 16, np.float32)
PLANES = np.zeros(MANY, np.int8)


def good_params() -> ConvParams:
    params = ConvParams()
    params.in_channels = params.out_channels = 16
    params.kernel_h = params.kernel_w = 3
    params.patch, params.max_hyperplanes = 3, 4
    return params


def create(
    backend: Backend, params: ConvParams | None, weights: bool = True, bias: bool = True, planes: bool = True
) -> int:
    """Status of a create; what it made is destroyed."""
    handle = c_void_p(12345)
    status = backend.create_status(
        params,
        WEIGHTS.ctypes.data if weights else None,
        WEIGHTS.ctypes.data if bias else None,
        PLANES.ctypes.data if planes else None,
        byref(handle),
    )
    if status == OK:
        backend.destroy(handle)
    elif params is not None:
        assert handle.value is None, "a failed create leaves no conv behind"
    return status


@pytest.mark.parametrize(
    ("field", "value", "word"),
    [
        ("in_channels", 0, "channels"),
        ("in_channels", -5, "channels"),
        ("out_channels", 0, "channels"),
        ("kernel_h", 0, "kernel"),
        ("kernel_w", -1, "kernel"),
        ("pad_top", -1, "pad"),
        ("pad_right", -3, "pad"),
        ("patch", 0, "patch"),
        ("patch", -3, "patch"),
        ("in_channels", 65536, "channels"),
        ("out_channels", 2**24 + 1, "channels"),
        ("kernel_h", 65, "kernel"),
        ("kernel_w", 65, "kernel"),
        ("patch", 65, "patch"),
        ("pad_bottom", 2**20 + 1, "pad"),
        ("max_hyperplanes", 0, "hyperplanes"),
        ("max_hyperplanes", 33, "hyperplanes"),
        ("merge", 3, "merge"),
        ("activation", 7, "activation"),
        ("activation", -1, "activation"),
        ("weight_layout", 9, "layout"),
        ("weight_type", 9, "weight type"),
        ("x_layout", 2, "layout"),
        ("z_layout", -1, "layout"),
        ("y_layout", 5, "layout"),
        ("in_channels", 2**62, "channels"),
        ("kernel_h", 2**40, "kernel"),
        ("patch", 2**33, "patch"),
        ("pad_left", 2**62, "pad"),
    ],
)
def test_bad_parameters(backend: Backend, field: str, value: int, word: str) -> None:
    params = good_params()
    setattr(params, field, value)
    assert create(backend, params) == INVALID_ARGUMENT
    assert word in backend.error_message().lower()


@pytest.mark.parametrize(("field", "layout"), [("in", "x_layout"), ("out", "y_layout"), ("out", "z_layout")])
def test_blocked_needs_whole_blocks(backend: Backend, field: str, layout: str) -> None:
    params = good_params()
    setattr(params, f"{field}_channels", 17)
    setattr(params, layout, LAYOUT["blocked"])
    assert create(backend, params) == INVALID_ARGUMENT
    assert "16" in backend.error_message()
    assert "17" in backend.error_message()


def test_good_parameters_are_accepted(backend: Backend) -> None:
    assert create(backend, good_params()) == OK


@pytest.mark.parametrize(("field", "value"), [("kernel_h", 64), ("patch", 64), ("pad_left", 2**20)])
def test_the_largest_are_accepted(backend: Backend, field: str, value: int) -> None:
    params = good_params()
    params.in_channels = params.out_channels = params.kernel_h = params.kernel_w = params.max_hyperplanes = 1
    params.patch = 1
    setattr(params, field, value)
    assert create(backend, params) == OK


def test_null_pointers(backend: Backend) -> None:
    assert create(backend, None) == INVALID_ARGUMENT
    assert create(backend, good_params(), weights=False) == INVALID_ARGUMENT
    assert create(backend, good_params(), bias=False) == INVALID_ARGUMENT
    assert create(backend, good_params(), planes=False) == INVALID_ARGUMENT
    addresses = (WEIGHTS.ctypes.data, WEIGHTS.ctypes.data, PLANES.ctypes.data)
    assert backend.create_status(good_params(), *addresses, None) == INVALID_ARGUMENT
    backend.destroy(None)
    assert backend.pool_status(None, None, (1, 1, 1, 1), None) == INVALID_ARGUMENT
    assert backend.reorder_status(None, None, (0, 0), (1, 16, 2, 2)) == INVALID_ARGUMENT
    assert "null" in backend.error_message().lower()


@pytest.mark.usefixtures("library")
def test_null_pointers_of_runs() -> None:
    lib = native.library()
    size = c_int64()
    assert lib.haste_conv_run(None, byref(RunArgs())) == INVALID_ARGUMENT
    assert lib.haste_conv_codes(None, byref(RunArgs()), None) == INVALID_ARGUMENT
    assert lib.haste_conv_run_grouped(None, byref(RunArgs()), None) == INVALID_ARGUMENT
    assert lib.haste_conv_output_size(None, 3, 3, byref(size), byref(size)) == INVALID_ARGUMENT
    assert lib.haste_pool_output_size(None, 3, 3, byref(size), byref(size)) == INVALID_ARGUMENT
    assert lib.haste_select_isa(None) != OK
    assert "null" in native.error_message() or native.error_message()


@pytest.mark.parametrize("value", [2, -2, 127, -128])
def test_hyperplanes_must_be_ternary(backend: Backend, value: int) -> None:
    problem = build(Case())
    planes = problem.hyperplanes.copy()
    planes[-1, -1] = value
    with pytest.raises(NativeError) as error:
        backend.conv_of(replace(problem, hyperplanes=planes))
    assert error.value.status == INVALID_ARGUMENT
    assert f"has the value {value} at {planes.shape[1] - 1}" in error.value.message


def test_more_hyperplanes_than_there_are(backend: Backend) -> None:
    problem = build(Case(count=6))
    with backend.conv_of(problem) as conv:
        conv.run(problem.x, len(problem.hyperplanes))
        for count in (len(problem.hyperplanes) + 1, 2**31, 2**62):
            with pytest.raises(NativeError, match=str(count)) as error:
                conv.run(problem.x, count)
            assert error.value.status == INVALID_ARGUMENT


@pytest.mark.parametrize(("height", "width"), [(2, 5), (5, 2), (0, 5), (5, 0), (-1, 5), (5, -(2**40)), (2**62, 5)])
def test_inputs_that_have_no_output(backend: Backend, height: int, width: int) -> None:
    problem = build(Case(pads=(0, 0, 0, 0)))
    with backend.conv_of(problem) as conv, pytest.raises(NativeError) as error:
        conv.output_size(height, width)
    assert error.value.status == INVALID_ARGUMENT
    assert str(height) in error.value.message


@pytest.mark.parametrize(("field", "value"), [("batch", -1), ("x", None), ("y", None), ("height", 0), ("width", -4)])
def test_bad_run_arguments(backend: Backend, field: str, value: int | None) -> None:
    problem = build(Case())
    with backend.conv_of(problem) as conv:
        assert conv.try_run(problem.x, problem.case.count, **{field: value}) == INVALID_ARGUMENT
    assert backend.error_message()


def test_empty_batch_needs_no_memory(backend: Backend) -> None:
    problem = build(Case())
    with backend.conv_of(problem) as conv:
        assert conv.try_run(problem.x, problem.case.count, batch=0, x=None, y=None) == OK


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("parallel", [False, True])
def test_empty_batch(parallel: bool) -> None:
    problem = build(Case(batch=0))
    with problem.native_conv() as conv:
        output = problem.native_run(conv, (lambda task, count: None) if parallel else None)
    assert output.y.shape == (0, 16, 7, 7)
    assert (output.stats == 0).all()


def test_dense_mode_has_no_codes(backend: Backend) -> None:
    problem = build(Case())
    with backend.conv_of(problem) as conv, pytest.raises(NativeError) as error:
        conv.codes(problem.x, 0, problem.case.patches)
    assert error.value.status == INVALID_ARGUMENT


def test_a_refused_run_leaves_the_conv_usable(backend: Backend) -> None:
    problem = build(Case())
    with backend.conv_of(problem) as conv:
        before = conv.run(problem.x, problem.case.count).y
        with pytest.raises(NativeError):
            conv.run(problem.x, 33)
        with pytest.raises(NativeError):
            conv.output_size(0, 0)
        assert (conv.run(problem.x, problem.case.count).y == before).all()


@pytest.mark.usefixtures("library")
def test_messages_belong_to_their_thread() -> None:
    """Another thread's failure does not change what this one reads."""
    import threading

    native.library().haste_conv_create(None, None, None, None, None)
    mine = native.error_message()
    other: list[str] = []

    def fail() -> None:
        native.library().haste_select_isa(b"no-such-isa")
        other.append(native.error_message())

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    assert "no-such-isa" in other[0]
    assert native.error_message() == mine


@pytest.mark.usefixtures("library")
def test_unknown_instruction_set() -> None:
    before = native.isa()
    assert native.library().haste_select_isa(b"altivec") == UNSUPPORTED
    assert "altivec" in native.error_message()
    assert native.isa() == before


def test_instruction_set_from_the_environment(isa: str) -> None:
    """HASTE_ISA chooses before anything else does; an unknown name is an error of create, not a silent other choice."""
    script = "import sys; from tests.operator import native; print(native.isa(), native.available_isas()[-1])"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=python_environment(HASTE_ISA=isa),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [isa, "generic"]


@pytest.mark.usefixtures("library")
def test_wrong_instruction_set_from_the_environment() -> None:
    script = (
        "from tests.operator.cases import Case, build\n"
        "from tests.operator.c_api import NativeError\n"
        "try:\n    build(Case()).native_conv()\nexcept NativeError as error:\n    print(error.status, error.message)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=python_environment(HASTE_ISA="mmx"),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(str(UNSUPPORTED))
    assert "mmx" in done.stdout


def python_environment(**variables: str) -> dict[str, str]:
    """This process's environment, so that a child finds the same packages and the same library."""
    import os

    path = os.pathsep.join(entry for entry in sys.path if entry)
    return {**os.environ, "PYTHONPATH": path, "HASTE_OPS_LIBRARY": str(native.find_library()), **variables}


@pytest.mark.usefixtures("library")
def test_version() -> None:
    import runtime_ops

    assert native.version() == runtime_ops.__version__


# -- pools and reorder ------------------------------------------------------------------------------------------------


def pool_params(**changes: int) -> PoolParams:
    params = PoolParams(1, 0, 2, 2, 2, 2, 0, 0, 0, 0, 0, 0, 0)
    for name, value in changes.items():
        setattr(params, name, value)
    return params


@pytest.mark.parametrize(
    "changes",
    [
        {"kernel_h": 0},
        {"kernel_w": -2},
        {"stride_h": 0},
        {"stride_w": -1},
        {"pad_top": -1},
        {"kernel_h": 9},
        {"kernel_w": 2**40},
        {"pad_left": 2**62},
        {"x_layout": 3},
        {"y_layout": -1},
    ],
)
def test_bad_pools(backend: Backend, changes: dict[str, int]) -> None:
    tensor = np.zeros(16 * 25, np.float32)
    status = backend.pool_status(pool_params(**changes), tensor.ctypes.data, (1, 16, 5, 5), tensor.ctypes.data)
    assert status == INVALID_ARGUMENT, f"accepted {changes}"
    assert backend.error_message()


@pytest.mark.parametrize("which", ["x", "y"])
def test_null_tensors(backend: Backend, which: str) -> None:
    tensor = np.zeros(16 * 25, np.float32)
    x = None if which == "x" else tensor.ctypes.data
    y = None if which == "y" else tensor.ctypes.data
    assert backend.pool_status(pool_params(), x, (1, 16, 5, 5), y) == INVALID_ARGUMENT
    assert backend.reorder_status(x, y, (0, 1), (1, 16, 5, 5)) == INVALID_ARGUMENT


@pytest.mark.parametrize("sizes", [(-1, 16, 5, 5), (1, 0, 5, 5), (1, 16, -7, 5), (1, 16, 5, -2), (1, 17, 5, 5)])
def test_bad_sizes_of_pool_and_reorder(backend: Backend, sizes: tuple[int, int, int, int]) -> None:
    tensor = np.zeros(4096, np.float32).ctypes.data
    assert backend.pool_status(pool_params(x_layout=1), tensor, sizes, tensor) == INVALID_ARGUMENT
    assert backend.reorder_status(tensor, tensor + 8192, (1, 0), sizes) == INVALID_ARGUMENT


@pytest.mark.parametrize("layout", [-1, 2, 77])
def test_reorder_between_unknown_layouts(backend: Backend, layout: int) -> None:
    tensor = np.zeros(64, np.float32).ctypes.data
    for layouts in ((layout, 0), (0, layout)):
        assert backend.reorder_status(tensor, tensor, layouts, (1, 16, 2, 2)) == INVALID_ARGUMENT


def test_structs_have_the_sizes_of_the_header() -> None:
    """A field that is missing here would shift everything behind it without any other sign."""
    assert ctypes.sizeof(ConvParams) == 10 * 8 + 2 * 4 + 2 * 4 + 5 * 4 + 4  # four bytes of padding
    assert ctypes.sizeof(RunArgs) == 12 * 8
    assert ctypes.sizeof(PoolParams) == 2 * 4 + 8 * 8 + 4 * 4  # three ints and four bytes of padding


def test_kernel_larger_than_padded_input(backend: Backend) -> None:
    case = Case(kernel=(7, 7), pads=(0, 0, 0, 0), height=7, width=7)
    problem = build(case)
    with backend.conv_of(problem) as conv:
        with pytest.raises(NativeError, match="7x7"):
            conv.run(np.zeros((1, 16, 6, 7), np.float32), 3)
        assert conv.run(np.zeros((1, 16, 7, 7), np.float32), 3).y.shape == (1, 16, 1, 1)


def test_many_channels_of_one_pixel(backend: Backend) -> None:
    """The largest sizes that are cheap: long lists, not large images."""
    case = Case(channels=4096, outputs=1, height=1, width=1, kernel=(1, 1), pads=(0, 0, 0, 0), patch=1, count=32)
    problem = build(replace(case, kind="relu"))
    with backend.conv_of(problem) as conv:
        output = conv.run(problem.x, case.count)
    assert output.stats[1] == 4096
