"""Passes over the whole model, one per file; each changes the model in place."""
