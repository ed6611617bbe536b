"""The networks behind the figures: which there are, where they are found or fetched, and what runs them."""

from maskanim.benchmarks.scoring.nets.registry import NETWORKS, Network
from maskanim.benchmarks.scoring.nets.store import Nets, Place

__all__ = ["NETWORKS", "Nets", "Network", "Place"]
