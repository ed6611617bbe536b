"""How a head moves: turns, gaze, lids, brows and mouth, smooth in time, as people move when they talk.

A motion says nothing of who moves: the same one on another identity is the true answer to "A moved as B".
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from maskanim.train.people.assets import Floats

# Names of MakeHuman's ports of ARKit's expressions, and of the mouth shapes of speech.
VISEMES = tuple(
    f"viseme_{sound}" for sound in ("CH", "DD", "E", "FF", "I", "O", "PP", "RR", "SS", "TH", "U", "aa", "kk")
)
BOTH = (
    "eyeBlink", "eyeSquint", "eyeWide", "eyeLookDown", "eyeLookUp", "mouthSmile", "mouthFrown", "mouthStretch",
    "mouthUpperUp", "mouthLowerDown", "mouthPress", "mouthDimple", "browDown", "browOuterUp", "cheekSquint",
    "noseSneer",
)  # fmt: skip
SINGLE = (
    "jawOpen", "mouthPucker", "mouthFunnel", "mouthLeft", "mouthRight", "browInnerUp", "cheekPuff", "jawLeft",
    "jawRight",
)  # fmt: skip
EXPRESSIONS = tuple(
    f"arkit/{name}" for name in (*(f"{name}{side}" for name in BOTH for side in ("Left", "Right")), *SINGLE, *VISEMES)
)
_INDEX = {name.removeprefix("arkit/"): i for i, name in enumerate(EXPRESSIONS)}

YAW, PITCH, ROLL = 0.85, 0.35, 0.3  # radians, at most, of the neck; the shoulders turn, too
SHOULDERS = 0.35
GAZE = (0.5, 0.3)  # radians to the sides, and up and down
BLINK_SECONDS = 0.32
SYLLABLES = 5.5  # a second


class HeadPose(NamedTuple):
    """A head at one moment."""

    # yaw, pitch and roll in radians relative to the shoulders: positive is to the left, down, and to the right
    # shoulder, as the person sees it
    neck: NDArray[np.float64]
    shoulders: NDArray[np.float64]  # yaw, pitch and roll of the shoulders
    gaze: NDArray[np.float64]  # yaw and pitch of the eyes relative to the head
    expression: Floats  # (expressions,) float32 weights, in the order of EXPRESSIONS
    shift: NDArray[np.float64]  # how far the head is off the picture's middle, right and up, in head heights
    zoom: float  # head heights that a picture is high
    view: float  # the camera's angle of view, radians
    rise: float  # how high the camera stands, radians


class Waves:
    """Independent smooth curves, each about in [-1, 1] with a standard deviation of about a half."""

    def __init__(self, rng: np.random.Generator, count: int, slowest: float, fastest: float) -> None:
        self.rates = np.exp(rng.uniform(np.log(slowest), np.log(fastest), (3, count)))
        self.phases = rng.uniform(0, 2 * np.pi, (3, count))
        self.shares = rng.dirichlet([1.5] * 3, count).T

    def at(self, time: float) -> NDArray[np.float64]:
        waves = np.sin(2 * np.pi * self.rates * time + self.phases)
        result: NDArray[np.float64] = (self.shares * waves).sum(0)
        return result


class _Face:
    """The weights of an expression as they add up; nothing pulls against its own muscle."""

    def __init__(self) -> None:
        self.weights = np.zeros(len(EXPRESSIONS), np.float32)

    def add(self, name: str, value: float) -> None:
        self.weights[_INDEX[name]] += max(0.0, value)

    def both(self, name: str, value: float, lopsided: float = 0.0) -> None:
        self.add(f"{name}Left", value * (1 + lopsided))
        self.add(f"{name}Right", value * (1 - lopsided))


class HeadMotion:
    """An endless motion, drawn from a seed.

    Args:
        seed: non-negative integers; others make another motion.
    """

    def __init__(self, seed: list[int]) -> None:
        rng = np.random.default_rng(seed)
        self._seed = seed
        self._turns = Waves(rng, 3, 0.04, 0.5)
        self._body = Waves(rng, 6, 0.03, 0.3)
        self._mood = Waves(rng, 9, 0.05, 0.4)
        self._eyes = Waves(rng, 2, 0.1, 0.6)
        self._liveliness = rng.uniform(0.5, 1.25)
        self._rest = rng.normal(0, 0.12, 3)
        self._talks = rng.uniform() < 0.85
        self._phase = rng.uniform(0, 10)
        self._loud = rng.uniform(0.5, 1.1)
        self._smiles = rng.normal(0.1, 0.35)
        self._place = rng.normal(0, (0.05, 0.03), 2)
        self._zoom = rng.uniform(1.3, 1.85)
        self._view = np.deg2rad(rng.uniform(12, 32))
        self._rise = rng.normal(0, 0.06)

    def at(self, time: float) -> HeadPose:
        """The pose at a time in seconds."""
        turn = self._rest + 1.5 * self._liveliness * self._turns.at(time)
        neck = np.clip(turn, -1, 1) * (YAW, PITCH, ROLL)
        body = self._body.at(time)
        shoulders = body[:3] * (SHOULDERS, 0.06, 0.07) * self._liveliness
        place = self._place + 0.06 * self._liveliness * body[3:5]
        gaze = np.clip(1.4 * self._saccades(time), -1, 1) * GAZE
        zoom = self._zoom * (1 + 0.06 * body[5])
        return HeadPose(neck, shoulders, gaze, self._expression(time, gaze), place, zoom, self._view, self._rise)

    def _saccades(self, time: float) -> NDArray[np.float64]:
        """Eyes rest and jump: where they are is held for about half a second."""
        step, part = divmod(1.7 * time + self._phase, 1.0)
        now, before = (self._eyes.at((step + i) / 1.7) for i in (0, -1))
        return before + (now - before) * min(1.0, part * 8)

    def _noise(self, kind: int, step: int) -> np.random.Generator:
        return np.random.default_rng([*self._seed, kind, step % 2**31])

    def _expression(self, time: float, gaze: NDArray[np.float64]) -> Floats:
        face = _Face()
        self._feel(time, face)
        if self._talks:
            self._speak(time, face)
        self._lids(time, gaze, face)
        return np.minimum(face.weights, 1.2)

    def _feel(self, time: float, face: _Face) -> None:
        """Moods come and go; the strongest of one of them is laughter."""
        mood = 1.5 * self._mood.at(time)
        smile, brows, laugh = mood[0] + self._smiles, mood[1], mood[2]
        face.both("mouthSmile", 0.8 * smile, 0.25 * mood[3])
        face.both("mouthFrown", -0.4 * smile)
        face.both("cheekSquint", 0.6 * smile)
        face.both("browDown", -0.6 * brows - 0.2)
        face.both("browOuterUp", 0.8 * brows + 0.1, 0.4 * mood[4])
        face.add("browInnerUp", 0.6 * brows + 0.45)
        face.add("mouthPucker", 0.7 * (mood[5] - 0.6))
        face.add("cheekPuff", 0.8 * (mood[6] - 0.9))
        face.both("noseSneer", 0.6 * (mood[7] - 0.8))
        face.add("mouthLeft", 0.5 * (mood[8] - 0.7))
        face.add("mouthRight", 0.5 * (-mood[8] - 0.7))
        if laugh > 0.55:
            strength = min(1.0, (laugh - 0.55) / 0.3)
            face.add("jawOpen", 0.45 * strength * (1 + 0.3 * np.sin(11 * time)))
            face.both("mouthSmile", 0.6 * strength)
            face.both("eyeSquint", 0.6 * strength)
            face.both("mouthUpperUp", 0.4 * strength)

    def _speak(self, time: float, face: _Face) -> None:
        """Syllables, one fading into the next, in phrases with pauses between."""
        step, part = divmod(SYLLABLES * time + self._phase, 1.0)
        fade = 0.5 - 0.5 * np.cos(np.pi * part)
        for i, share in ((0, 1 - fade), (1, fade)):
            syllable = int(step) + i
            pause = self._noise(1, syllable // 9).uniform() < 0.25
            rng = self._noise(2, syllable)
            name, loud = str(rng.choice(VISEMES)), rng.uniform(0.4, 1.0) * self._loud
            if not pause:
                face.add(name, share * loud)
                face.add("jawOpen", share * loud * rng.uniform(0.0, 0.45))

    def _lids(self, time: float, gaze: NDArray[np.float64], face: _Face) -> None:
        """Lids follow the gaze, and blink every three or four seconds."""
        step, part = divmod(time / 3.3 + self._phase, 1.0)
        rng = self._noise(3, int(step))
        since = (part - rng.uniform(0.1, 0.8)) * 3.3
        blink = 0.0
        if 0 <= since < BLINK_SECONDS:
            blink = float(np.sin(np.pi * since / BLINK_SECONDS) ** 0.7)
        sleepy = float(rng.uniform() < 0.12) * 0.4
        face.both("eyeBlink", max(blink, sleepy))
        face.both("eyeLookDown", (1 - blink) * gaze[1] / GAZE[1] * 0.8)
        face.both("eyeLookUp", (1 - blink) * -gaze[1] / GAZE[1] * 0.6)
        face.both("eyeWide", (1 - blink) * 0.6 * self._mood.at(time)[1])
