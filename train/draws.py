"""Random draws of a joint batch: several processes draw what one process with all of their pictures would."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class RankSlice(NamedTuple):
    """This process's part of every joint batch.

    All processes draw for the joint batch, from generators in the same state, and each keeps the rows of its own
    pictures. So a run does not depend on how many processes share its batches.
    """

    # rank, world: the number of this process, and how many there are
    rank: int = 0
    world: int = 1

    def joint(self, count: int) -> int:
        """The size of the joint batch of which `count` pictures are this process's."""
        return count * self.world

    def part(self, rows: Tensor, groups: int = 1) -> Tensor:
        """This process's rows of a draw for the joint batch.

        Args:
            rows: (N * world, ...).
            groups: of how many batches, one after the other, the rows are, e.g. two for sources and then drivers.
        """
        if self.world == 1:
            return rows
        batches = rows.unflatten(0, (groups, self.world, -1))
        return batches[:, self.rank].flatten(0, 1).contiguous()
