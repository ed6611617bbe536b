"""Score the finished videos of two methods against the videos that they should be; files of one name belong together.

pip install 'maskanim[cpu,bench]'
python score_methods.py ours theirs true
"""

import sys
from pathlib import Path

from maskanim.benchmarks.judges import perceive
from maskanim.benchmarks.scoring.engine import score_all
from maskanim.benchmarks.scoring.report import as_csv
from maskanim.benchmarks.scoring.results import Scored
from maskanim.benchmarks.scoring.videos import finished
from maskanim.progress import NO_PROGRESS

ours, theirs, true = map(Path, sys.argv[1:])
methods = {"ours": ours, "theirs": theirs}
judge = perceive("object")  # L1 and SSIM; "face" and "body" have judges: maskanim-bench quality nets
cases, missing = finished(methods, true, None, true, 1)
videos, failed = score_all(cases, judge, False, NO_PROGRESS)
print(as_csv(Scored(judge, tuple(methods), videos, {**missing, **failed}, {"protocol": "finished videos"}, ())))
