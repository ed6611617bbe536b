"""How good a model is, on held-out puppets: drawn people whose key-points, parts and figures are known.

`reconstruction` rebuilds clips from their first frame (section 4.1, Table 7); `transfer` animates one puppet by another
(section 4.2, Tables 4 and 5); `ablations` does both for the paper's variants of the method.
"""

from maskanim.benchmarks.quality.grid import animation_grid
from maskanim.benchmarks.quality.reconstruction import Reconstruction, reconstruct
from maskanim.benchmarks.quality.transfer import Transfer, transfer

__all__ = ["Reconstruction", "Transfer", "animation_grid", "reconstruct", "transfer"]
