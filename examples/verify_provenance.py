"""Ask videos who made them: which are signed as generated, by which model, and which were changed since.

pip install 'maskanim[provenance]'
python verify_provenance.py one.mp4 two.mp4
"""

import sys
from pathlib import Path

from maskanim.errors import MaskanimError
from maskanim.provenance import read_provenance

for video in map(Path, sys.argv[1:]):
    try:
        found = read_provenance(video)  # offline
    except MaskanimError as error:
        print(f"{video}: {error.received}")
    else:
        known = "known" if found.trusted else "unknown"
        print(f"{video}: {found.source_type} by model {found.model or 'unnamed'}; the signer is {known} here")
