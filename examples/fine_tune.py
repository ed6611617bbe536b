"""Go on from a model's weights with a folder of clips of yours; the embedded demo's, unless another is named.

pip install 'maskanim[train,export,cpu]'
python fine_tune.py clips runs/mine 200
"""

import sys
from pathlib import Path

from maskanim.logs import show_logs
from maskanim.models import choose
from maskanim.train.session import Start, train
from maskanim.train.settings import Warmup, load_settings

clips, out, steps = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
bundle = choose(sys.argv[4] if len(sys.argv) > 4 else "demo").bundle
changes = {
    "batch": 4,
    "learning_rate": 1e-4,
    "stages": [{"from_epoch": 0, "norm": "running"}],  # as the networks animate, without the noise of small batches
    "data": {"across": 0.0},  # real clips do not have it
}
settings = load_settings("people", changes).model_copy(update={"model": bundle.manifest.model, "warmup": Warmup()})
show_logs()
train(
    Start(settings, clips, init=bundle.path, provenance={"command": "fine_tune.py", "config": "people"}),
    out,
    max_steps=steps,
    workers=1,
    save_every=None,
    grid_every=None,
    keep=1,
)
print(f"next: maskanim-export --ckpt {out}/last.pt")
