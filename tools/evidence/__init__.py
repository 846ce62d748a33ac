"""The tables behind docs/accuracy.md, each with one command; their output is kept in docs/results."""
