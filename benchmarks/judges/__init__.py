"""What judges pictures: the networks that see key-points, people, faces and identities.

    face = perceive("face")  # or "body"; `maskanim-bench quality nets` lists the networks and fetches them
    points, identity = (face.see(frames, name) for name in ("mesh", "identity"))  # values and found, frame by frame

Networks of others come from `networks`; the puppets' own finder is trained by `train_puppets`.
"""

from maskanim.benchmarks.judges.features import Feature, Observed, Observer
from maskanim.benchmarks.judges.networks import NETWORKS, Nets
from maskanim.benchmarks.judges.perception import Perception, perceive

__all__ = ["NETWORKS", "Feature", "Nets", "Observed", "Observer", "Perception", "perceive"]
