"""What a compression costs in accuracy: data sets, metrics, sweeps over L and seeds, and one layer at a time."""
