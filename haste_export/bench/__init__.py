"""Timing of models in ONNX Runtime: interleaved, each candidate in a process of its own."""
