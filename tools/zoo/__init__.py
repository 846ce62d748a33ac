"""What the defaults give on models that other people made for other purposes (docs/benchmarks.md)."""
