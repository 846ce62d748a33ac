"""Where the op library lies, and how a session gets to know it."""

from __future__ import annotations

import os
from pathlib import Path

import onnxruntime

LIBRARY_VARIABLE = "HASTE_OPS_LIBRARY"
CUDA_LIBRARY_VARIABLE = "HASTE_OPS_CUDA_LIBRARY"

CUDA_PROVIDER = "CUDAExecutionProvider"

# The mark that register() leaves in the options themselves, so that it lives exactly as long as they do.
_REGISTERED_KEY = "haste.registered_library"


class LibraryNotFoundError(FileNotFoundError):
    """The op library is in none of the places where it is looked for; the message lists them."""


def library_path(cuda: bool = False) -> str:
    """Return the absolute path of the op library.

    Looked for in this order: the file named by the environment variable HASTE_OPS_LIBRARY (and nowhere else when that
    is set), beside this package (an installed wheel, or a copy on a device), the build folder of a source checkout.

    Args:
        cuda: the library with the CUDA kernels (variable HASTE_OPS_CUDA_LIBRARY) in place of the CPU one.

    Raises:
        LibraryNotFoundError: there is no such file; says where it was looked for.
    """
    candidates = library_candidates(cuda)
    for path in candidates:
        if path.is_file():
            return str(path)
    variable = CUDA_LIBRARY_VARIABLE if cuda else LIBRARY_VARIABLE
    places = "\n".join(f"  {path}" for path in candidates)
    if os.environ.get(variable):
        raise LibraryNotFoundError(f"{variable} names a file that does not exist:\n{places}")
    raise LibraryNotFoundError(
        f"{library_name(cuda)} was not found. Looked for:\n{places}\nInstall the wheel, build it (make native), "
        f"or name the file in {variable}."
    )


def library_name(cuda: bool = False) -> str:
    """File name of the op library."""
    return "libhaste_ops_cuda.so" if cuda else "libhaste_ops.so"


def library_candidates(cuda: bool = False) -> list[Path]:
    """All paths at which library_path() looks, first to last."""
    named = os.environ.get(CUDA_LIBRARY_VARIABLE if cuda else LIBRARY_VARIABLE)
    if named:
        return [Path(named).absolute()]
    package = Path(__file__).resolve().parent
    candidates = [package / library_name(cuda)]
    if (package.parent / "cpp_ops").is_dir():
        candidates.append(package.parent / "build" / library_name(cuda))
    return candidates


def register(
    session_options: onnxruntime.SessionOptions, cuda: bool = False, path: str | os.PathLike[str] | None = None
) -> str:
    """Make the operators of ai.haste known to sessions that are created with these options.

    Doing it again to the same options changes nothing: ONNX Runtime takes the domain once. Without `cuda` and `path`
    any library that is registered already will do, the one with CUDA kernels too.

    Args:
        session_options: the options to extend.
        cuda: register the library that has CUDA kernels beside the CPU ones.
        path: the library to register in place of the one that library_path() finds.

    Returns:
        The path of the library that is registered.

    Raises:
        LibraryNotFoundError: the library was not found.
        ValueError: the options have another library registered than `cuda` or `path` asks for.
        onnxruntime.capi.onnxruntime_pybind11_state.Fail: it was found but does not load; doctor() says why.
    """
    registered = _registered_library(session_options)
    if registered and path is None and not cuda:
        return registered
    library = str(Path(path).absolute()) if path is not None else library_path(cuda)
    if registered and os.path.realpath(registered) != os.path.realpath(library):
        raise ValueError(
            f"these session options have {registered} registered already, so {library} cannot be: take new ones"
        )
    if registered:
        return registered
    session_options.register_custom_ops_library(library)
    session_options.add_session_config_entry(_REGISTERED_KEY, library)
    return library


def _registered_library(session_options: onnxruntime.SessionOptions) -> str:
    """Path that register() left in the options, or an empty string."""
    try:
        return str(session_options.get_session_config_entry(_REGISTERED_KEY))
    except RuntimeError:  # how ONNX Runtime answers for a key that is not there
        return ""
