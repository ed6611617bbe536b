"""Latency and throughput of engines and of PyTorch baselines, measured together in one run.

`measure.measure` gives a `records.LatencyReport`; `table`, `plot` and `compare` show one or two of them.
"""
