"""How good a model is, on held-out puppets: drawn people whose key-points, parts and figures are known.

`puppets` rebuilds clips from their first frame (section 4.1, Table 7) and animates one puppet by another (section 4.2,
Tables 4 and 5); `ablations` does both for the paper's variants of the method.
"""

from maskanim.benchmarks.quality.puppets import Figures, animation_grid, reconstruct, transfer

__all__ = ["Figures", "animation_grid", "reconstruct", "transfer"]
