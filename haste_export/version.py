"""The version of the package; the op library of the same build answers with the same one."""

__version__ = "0.1.0"
