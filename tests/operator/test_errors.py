"""What the C API refuses: the right status, a sentence that names the culprit, and never a crash."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from collections.abc import Callable
from ctypes import byref, c_int64, c_void_p
from dataclasses import replace

import numpy as np
import pytest

from tests.operator import native
from tests.operator.c_api import INVALID_ARGUMENT, LAYOUT, OK, UNSUPPORTED, ConvParams, NativeError, PoolParams
from tests.operator.cases import Case, build
from tests.operator.native import RunArgs

pytestmark = pytest.mark.usefixtures("library")
MANY = 4096
WEIGHTS = np.zeros(MANY * 16, np.float32)
PLANES = np.zeros(MANY, np.int8)


def good_params() -> ConvParams:
    params = ConvParams()
    params.in_channels = params.out_channels = 16
    params.kernel_h = params.kernel_w = 3
    params.patch, params.max_hyperplanes = 3, 4
    return params


def create(params: ConvParams | None, weights: bool = True, bias: bool = True, planes: bool = True) -> int:
    """Status of haste_conv_create; what it made is destroyed."""
    handle = c_void_p(12345)
    status = native.library().haste_conv_create(
        None if params is None else byref(params),
        WEIGHTS.ctypes.data if weights else None,
        WEIGHTS.ctypes.data if bias else None,
        PLANES.ctypes.data if planes else None,
        byref(handle),
    )
    if status == OK:
        native.library().haste_conv_destroy(handle)
    elif params is not None:
        assert handle.value is None, "a failed create leaves no conv behind"
    return int(status)


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
def test_bad_parameters(field: str, value: int, word: str) -> None:
    params = good_params()
    setattr(params, field, value)
    assert create(params) in (INVALID_ARGUMENT, UNSUPPORTED)
    assert word in native.error_message().lower()


@pytest.mark.parametrize(("field", "layout"), [("in", "x_layout"), ("out", "y_layout"), ("out", "z_layout")])
def test_blocked_needs_whole_blocks(field: str, layout: str) -> None:
    params = good_params()
    setattr(params, f"{field}_channels", 17)
    setattr(params, layout, LAYOUT["blocked"])
    assert create(params) == INVALID_ARGUMENT
    assert "16" in native.error_message()
    assert "17" in native.error_message()


def test_good_parameters_are_accepted() -> None:
    assert create(good_params()) == OK


def test_null_pointers() -> None:
    assert create(None) == INVALID_ARGUMENT
    assert create(good_params(), weights=False) == INVALID_ARGUMENT
    assert create(good_params(), bias=False) == INVALID_ARGUMENT
    assert create(good_params(), planes=False) == INVALID_ARGUMENT
    lib = native.library()
    params, size = good_params(), c_int64()
    assert (
        lib.haste_conv_create(byref(params), WEIGHTS.ctypes.data, WEIGHTS.ctypes.data, PLANES.ctypes.data, None) != OK
    )
    lib.haste_conv_destroy(None)
    assert lib.haste_conv_run(None, byref(RunArgs())) == INVALID_ARGUMENT
    assert lib.haste_conv_codes(None, byref(RunArgs()), None) == INVALID_ARGUMENT
    assert lib.haste_conv_run_grouped(None, byref(RunArgs()), None) == INVALID_ARGUMENT
    assert lib.haste_conv_output_size(None, 3, 3, byref(size), byref(size)) == INVALID_ARGUMENT
    assert lib.haste_pool_run(None, None, 1, 1, 1, 1, None, None, None) == INVALID_ARGUMENT
    assert lib.haste_pool_output_size(None, 3, 3, byref(size), byref(size)) == INVALID_ARGUMENT
    assert lib.haste_reorder(None, 0, None, 0, 1, 16, 2, 2, None, None) == INVALID_ARGUMENT
    assert lib.haste_select_isa(None) != OK
    assert "null" in native.error_message() or native.error_message()


@pytest.mark.parametrize("value", [2, -2, 127, -128])
def test_hyperplanes_must_be_ternary(value: int) -> None:
    problem = build(Case())
    planes = problem.hyperplanes.copy()
    planes[-1, -1] = value
    with pytest.raises(NativeError) as error:
        native.Conv(problem.weights, problem.bias, planes)
    assert error.value.status == INVALID_ARGUMENT
    assert str(value) in error.value.message


def test_more_hyperplanes_than_there_are() -> None:
    problem = build(Case(count=6))
    with problem.native_conv() as conv:
        conv.run(problem.x, len(problem.hyperplanes))
        for count in (len(problem.hyperplanes) + 1, 2**31, 2**62):
            with pytest.raises(NativeError, match=str(count)) as error:
                conv.run(problem.x, count)
            assert error.value.status == INVALID_ARGUMENT


@pytest.mark.parametrize(("height", "width"), [(2, 5), (5, 2), (0, 5), (5, 0), (-1, 5), (5, -(2**40)), (2**62, 5)])
def test_inputs_that_have_no_output(height: int, width: int) -> None:
    problem = build(Case(pads=(0, 0, 0, 0)))
    with problem.native_conv() as conv, pytest.raises(NativeError) as error:
        conv.output_size(height, width)
    assert error.value.status == INVALID_ARGUMENT
    assert str(height) in error.value.message


def run_raw(case: Case, change: Callable[[RunArgs], None]) -> int:
    """Status of a run whose arguments were spoilt."""
    problem = build(case)
    y = np.zeros(64 * 1024, np.float32)
    args = RunArgs()
    args.x, args.y = problem.x.ctypes.data, y.ctypes.data
    args.batch, args.height, args.width, args.hyperplanes = case.batch, case.height, case.width, case.count
    change(args)
    with problem.native_conv() as conv:
        return int(native.library().haste_conv_run(conv._handle, byref(args)))


@pytest.mark.parametrize(("field", "value"), [("batch", -1), ("x", None), ("y", None), ("height", 0), ("width", -4)])
def test_bad_run_arguments(field: str, value: int | None) -> None:
    assert run_raw(Case(), lambda args: setattr(args, field, value)) != OK
    assert native.error_message()


def test_empty_batch_needs_no_memory() -> None:
    def empty(args: RunArgs) -> None:
        args.batch, args.x, args.y = 0, None, None

    assert run_raw(Case(), empty) == OK


@pytest.mark.parametrize("parallel", [False, True])
def test_empty_batch(parallel: bool) -> None:
    problem = build(Case(batch=0))
    with problem.native_conv() as conv:
        output = problem.native_run(conv, (lambda task, count: None) if parallel else None)
    assert output.y.shape == (0, 16, 7, 7)
    assert (output.stats == 0).all()


def test_dense_mode_has_no_codes() -> None:
    problem = build(Case())
    with problem.native_conv() as conv, pytest.raises(NativeError) as error:
        conv.codes(problem.x, 0, problem.case.patches)
    assert error.value.status == INVALID_ARGUMENT


def test_a_refused_run_leaves_the_conv_usable() -> None:
    problem = build(Case())
    with problem.native_conv() as conv:
        before = problem.native_run(conv).y
        with pytest.raises(NativeError):
            conv.run(problem.x, 33)
        with pytest.raises(NativeError):
            conv.output_size(0, 0)
        assert (problem.native_run(conv).y == before).all()


def test_messages_belong_to_their_thread() -> None:
    """Another thread's failure does not change what this one reads."""
    import threading

    create(None)
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
def test_bad_pools(changes: dict[str, int]) -> None:
    x, y = np.zeros((1, 16, 5, 5), np.float32), np.zeros(16 * 25, np.float32)
    params = pool_params(**changes)
    status = native.library().haste_pool_run(byref(params), x.ctypes.data, *x.shape, y.ctypes.data, None, None)
    assert status in (INVALID_ARGUMENT, UNSUPPORTED), f"accepted {changes}"
    assert native.error_message()


@pytest.mark.parametrize("which", ["x", "y"])
def test_null_tensors(which: str) -> None:
    tensor = np.zeros(16 * 25, np.float32)
    x = None if which == "x" else tensor.ctypes.data
    y = None if which == "y" else tensor.ctypes.data
    lib = native.library()
    assert lib.haste_pool_run(byref(pool_params()), x, 1, 16, 5, 5, y, None, None) == INVALID_ARGUMENT
    assert lib.haste_reorder(x, 0, y, 1, 1, 16, 5, 5, None, None) == INVALID_ARGUMENT


@pytest.mark.parametrize("sizes", [(-1, 16, 5, 5), (1, 0, 5, 5), (1, 16, -7, 5), (1, 16, 5, -2), (1, 17, 5, 5)])
def test_bad_sizes_of_pool_and_reorder(sizes: tuple[int, int, int, int]) -> None:
    tensor = np.zeros(4096, np.float32).ctypes.data
    params = pool_params(x_layout=1)
    lib = native.library()
    assert lib.haste_pool_run(byref(params), tensor, *sizes, tensor, None, None) == INVALID_ARGUMENT
    assert lib.haste_reorder(tensor, 1, tensor + 8192, 0, *sizes, None, None) == INVALID_ARGUMENT


@pytest.mark.parametrize("layout", [-1, 2, 77])
def test_reorder_between_unknown_layouts(layout: int) -> None:
    x, y = np.zeros(64, np.float32), np.zeros(64, np.float32)
    for layouts in ((layout, 0), (0, layout)):
        status = native.library().haste_reorder(
            x.ctypes.data, layouts[0], y.ctypes.data, layouts[1], 1, 16, 2, 2, None, None
        )
        assert status == INVALID_ARGUMENT


def test_structs_have_the_sizes_of_the_header() -> None:
    """A field that is missing here would shift everything behind it without any other sign."""
    assert ctypes.sizeof(ConvParams) == 10 * 8 + 2 * 4 + 2 * 4 + 5 * 4 + 4  # four bytes of padding
    assert ctypes.sizeof(RunArgs) == 12 * 8
    assert ctypes.sizeof(PoolParams) == 2 * 4 + 8 * 8 + 4 * 4  # three ints and four bytes of padding


def test_kernel_larger_than_padded_input() -> None:
    case = Case(kernel=(7, 7), pads=(0, 0, 0, 0), height=7, width=7)
    problem = build(case)
    with problem.native_conv() as conv:
        with pytest.raises(NativeError, match="7x7"):
            conv.run(np.zeros((1, 16, 6, 7), np.float32), 3)
        assert conv.run(np.zeros((1, 16, 7, 7), np.float32), 3).y.shape == (1, 16, 1, 1)


def test_many_channels_of_one_pixel() -> None:
    """The largest sizes that are cheap: long lists, not large images."""
    case = Case(channels=4096, outputs=1, height=1, width=1, kernel=(1, 1), pads=(0, 0, 0, 0), patch=1, count=32)
    problem = build(replace(case, kind="relu"))
    with problem.native_conv() as conv:
        output = problem.native_run(conv)
    assert output.stats[1] == 4096
