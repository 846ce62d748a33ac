"""Side-by-side benchmark: the same model in several inference engines, measured in one interleaved run."""
