"""FP16 graphs and engine plans, for export and runtime alike; imports neither torch nor onnx nor tensorrt by itself."""
