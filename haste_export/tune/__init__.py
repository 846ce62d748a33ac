"""Chooses every layer's compression under an accuracy budget, or from the model alone."""
