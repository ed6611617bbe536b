"""What scoring found, as a table on the terminal, JSON, CSV, LaTeX, and a page to look at."""

from maskanim.benchmarks.scoring.report.outputs import Outputs

__all__ = ["Outputs"]
