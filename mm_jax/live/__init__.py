"""A generator that draws in the browser: the network as ONNX, its runtime, sliders for motions."""
