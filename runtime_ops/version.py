"""The version of the package. The library of the same build answers with the same one."""

__version__ = "0.1.0"
