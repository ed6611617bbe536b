"""How a pair is rendered: everything that a person can ask for beside the model and the engine."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

from maskanim.errors import MaskanimError
from maskanim.provenance import check_label
from maskanim.runtime.framing import Crop
from maskanim.spec import IMAGE_SIZE

View = Literal["frame", "grid", "side-by-side"]
MOTION_SUFFIX = ".mmot"
WHITE = "white"
MOST_PIXELS = 2**16  # of a picture's side, which is not known yet


@dataclass(frozen=True)
class RenderSettings:
    """How pairs are rendered.

    Attributes:
        crop, driving_crop: which square of the source picture is animated, and which of the driving clip animates it;
            see `framing.parse_crop`.
        source_frame: of a source that is a video or an animated picture, counted from 0.
        background: a colour to put below transparent parts of the source.
        keep_alpha: the output is transparent where the source is; the background is found by animating it twice.
        paste_back: the animated square is put back into the full source picture.
        start, end: the part of the driving clip, in seconds; None: from its first, to its last frame.
        fps: a constant rate instead of the clip's own times.
        loop: how often the clip is shown.
        duration: for how many seconds it is shown, over and over, instead of `loop`.
        audio, video: the clip's audio and video track, each counted from 1; None takes the default one.
        view: the animated frame, all steps side by side, or source, driver and frame.
        label: a text that is drawn into every frame.
        provenance: whether the video is signed as synthetic; None: where that is possible.
        resume: go on with the whole segments of a render that was stopped.
    """

    crop: Crop = "center"
    driving_crop: Crop = "center"
    source_frame: int = 0
    background: str = WHITE
    keep_alpha: bool = False
    paste_back: bool = False
    start: Fraction | None = None
    end: Fraction | None = None
    fps: Fraction | None = None
    loop: int = 1
    duration: Fraction | None = None
    audio: int | None = None
    video: int | None = None
    view: View = "frame"
    label: str | None = None
    provenance: bool | None = None
    resume: bool = False

    def __post_init__(self) -> None:
        if self.keep_alpha and self.view != "frame":
            raise _together("--keep-alpha", f"--{self.view}")
        if self.paste_back and self.view == "grid":
            raise _together("--paste-back", "--grid")
        if self.loop < 1:
            raise MaskanimError("--loop", str(self.loop), "1 or more")
        if self.label:
            check_label(self.label, MOST_PIXELS if self.paste_back else IMAGE_SIZE)

    @property
    def composite(self) -> bool:
        """Whether frames hold pictures that the model did not draw."""
        return self.view != "frame" or self.paste_back


@dataclass(frozen=True)
class Extras:
    """What is written beside the video; None leaves it out.

    Attributes:
        motion: a motion file.
        masks: a folder of masks.
        preview: a contact sheet, a picture.
    """

    motion: Path | None = None
    masks: Path | None = None
    preview: Path | None = None


@dataclass(frozen=True)
class Job:
    """One pair.

    Attributes:
        source: the picture, or a video of which one frame is taken.
        driving: a clip, a motion file, ``camera:N`` or ``-``.
        output: the video to write.
        extras: what is written beside it.
    """

    source: Path
    driving: str
    output: Path
    extras: Extras = Extras()

    @property
    def replays(self) -> bool:
        """Whether a motion file drives it."""
        return Path(self.driving).suffix.lower() == MOTION_SUFFIX


def check_job(job: Job, settings: RenderSettings) -> None:
    """Refuse what does not go together.

    Raises:
        MaskanimError: with the two options that exclude each other.
    """
    replays = f"a driver that is a motion file ({job.driving}), which shows nothing"
    implied = settings.crop == settings.driving_crop == "auto"  # as maskanim-run has it where --crop alone was given
    recorded, records = job.extras.motion or job.extras.masks, "--save-motion or --save-masks"
    excluded = (
        ("--grid", replays, job.replays and settings.view == "grid"),
        ("--side-by-side", replays, job.replays and settings.view == "side-by-side"),
        ("--save-masks", replays, job.replays and job.extras.masks),
        ("--save-motion", replays, job.replays and job.extras.motion),
        ("--crop-driving", replays, job.replays and settings.driving_crop != "center" and not implied),
        ("--audio-track", replays, job.replays and settings.audio),
        ("--video-track", replays, job.replays and settings.video),
        ("--resume", records, settings.resume and recorded),
        ("--keep-alpha", records, settings.keep_alpha and recorded),
    )
    for one, other, given in excluded:
        if given:
            raise _together(one, other)


def _together(one: str, other: str) -> MaskanimError:
    return MaskanimError(one, f"together with {other}", "one of the two")
