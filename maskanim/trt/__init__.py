"""FP16 graphs and TensorRT engines, for export and runtime; imports neither torch, onnx nor tensorrt by itself."""
