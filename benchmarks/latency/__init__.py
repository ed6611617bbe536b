"""Latency and throughput of engines and of PyTorch baselines, measured together in one run.

`measure.measure` gives a `records.LatencyReport`; `tables`, `plot` and `compare` show one or two of them. The GPU
benchmark, `benchmarks.gpu`, runs the same in processes of its own.
"""
