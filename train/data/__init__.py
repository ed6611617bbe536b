"""Training pairs, a source and a driving frame of the same clip: drawn puppets, or real clips."""

from __future__ import annotations

from pathlib import Path

from maskanim.errors import MaskanimError
from maskanim.train.data.clips import ClipPairs
from maskanim.train.data.drawn import PeoplePairs, SyntheticPairs
from maskanim.train.data.layouts import Split, list_clips
from maskanim.train.data.pairs import Pairs
from maskanim.train.settings import TrainSettings

SYNTHETIC = "synthetic"
PEOPLE = "people"


def open_data(data: str | Path, settings: TrainSettings, split: Split = "train", assets: Path | None = None) -> Pairs:
    """Training pairs by the name a user gives.

    Args:
        data: ``synthetic``, the drawn puppets; ``people``, rendered from `assets`; or a folder of clips, see
            `list_clips`.
        settings: the sampling, and the seed.
        split: of a folder of clips.
        assets: MakeHuman's data folder, for people.

    Raises:
        MaskanimError: neither of them, no clip that can be read, or settings that only drawn data can serve.
    """
    seed = 2 * settings.seed + 1  # the even ones are the warm-up's
    if data == SYNTHETIC:
        return SyntheticPairs(settings.identities, seed)
    if data == PEOPLE:
        if assets is None:
            next_step = f"A folder of that name is --data ./{PEOPLE}"
            raise MaskanimError("--data people", "no --assets", "MakeHuman's data folder with --assets DIR", next_step)
        return PeoplePairs(assets, settings.identities, settings.data, seed)
    if not Path(data).exists():
        raise MaskanimError(
            f"--data {data}", "there is no such folder", f"'{SYNTHETIC}', '{PEOPLE}' or a folder of clips"
        )
    pairs = ClipPairs(list_clips(Path(data), split), settings.data, seed)
    drawn = {"warmup.steps": settings.warmup.steps, "warmup.weight": settings.warmup.weight}
    needed = [name for name, value in {**drawn, "data.across": settings.data.across}.items() if value]
    if needed and not pairs.has_figures:
        expected = f"{' and '.join(needed)} of 0 for real clips, which have no figure maps and no second driver"
        next_step = f"They are for --data {SYNTHETIC}, and for what maskanim-train people writes"
        raise MaskanimError(f"--data {data}", "settings that learn from ground truth", expected, next_step)
    return pairs
