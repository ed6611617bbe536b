"""Export a checkpoint, of maskanim-train or of the paper's released code, and look at what export measured.

pip install 'maskanim[export,cpu]'
python export_checkpoint.py runs/mine/last.pt model.bundle
"""

import sys
from pathlib import Path

from maskanim.export.build import export_bundle

checkpoint, folder = map(Path, sys.argv[1:])
bundle = export_bundle(checkpoint, folder, weights="float16")  # verified against PyTorch, or nothing is written
parity = bundle.manifest.parity
assert parity is not None
print(f"{bundle.manifest.name}: {parity.frame_psnr:.1f} dB against PyTorch on {parity.frames}")
print(f"weights stored as float16: {parity.rounding.frame_psnr:.1f} dB" if parity.rounding else "float32 weights")
print(f"FP16 engines: {parity.half_refusal or f'{parity.half.frame_psnr:.1f} dB' if parity.half else 'not measured'}")
