"""Measures the constants of the cost model."""
