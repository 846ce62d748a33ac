"""How the cost of one convolution grows with its size, for ours and for stock ONNX Runtime."""
