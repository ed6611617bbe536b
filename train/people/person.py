"""Who is drawn: sex, age, origin, build, face, skin, hair, brows, eyes and clothes, from a seed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

import cv2
import numpy as np

from maskanim.train.people.assets import DETAILS, Floats, Pack, decode
from maskanim.train.people.figure import EXPRESSIVE, Anatomy, Figure, HairShape
from maskanim.train.people.render import Look

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = ("train", "test")

# What only test identities have; of assets without these, both splits draw from all.
HELD_OUT = frozenset(
    ["skins/young_lightskinned_female_diffuse3", "skins/young_lightskinned_male_diffuse3"]
    + ["skins/old_darkskinned_male_diffuse", "skins/middleage_darkskinned_female_diffuse"]
    + ["hair/short02", "hair/braid01", "hair/ponytail01"]
    + ["backgrounds/park", "backgrounds/lobby", "backgrounds/studio", "backgrounds/venice"]
)
DETAIL_SHARE, DETAIL_WEIGHT = 0.2, 0.3  # at 0.45 faces become caricatures
# The assets have ten skins and seven hair styles for training, and networks learn them by heart. So most training
# identities mix two skins, and each shapes its hair. Test identities do neither.
MIXED_SKINS, LARGEST_SHARE = 0.8, 0.6
HAIR_GROWTH, HAIR_LENGTH, HAIR_SHIFT = 0.05, (0.5, 1.3), 0.04  # a share of the radius; decimetres
MEN_S_HAIR = ("hair/short", "hair/afro")
OVER_THE_FACE, RARELY = ("hair/bob01", "hair/bob02", "hair/short03"), 0.3  # half a face teaches less
# Hair as people have it, RGB in 0..1, and how often.
HAIR = {(0.07, 0.06, 0.06): 5, (0.2, 0.13, 0.09): 5, (0.34, 0.21, 0.13): 4, (0.36, 0.2, 0.13): 1,
        (0.62, 0.46, 0.27): 2.5, (0.8, 0.68, 0.47): 2, (0.5, 0.5, 0.5): 1.5, (0.8, 0.8, 0.8): 1}  # fmt: skip


class Person(NamedTuple):
    """An identity that can be drawn."""

    figure: Figure  # its points
    looks: dict[str, Look]  # of its materials, by the kind of part
    # female, age: 0 is a man or a young adult, 1 a woman or an old one
    female: float
    age: float
    wears: tuple[str, ...]  # what it wears; for people who look at data


def available(keys: Iterable[str], split: Split) -> list[str]:
    """Those of the assets that identities of a split may have."""
    keys = sorted(keys)
    held_out = [key for key in keys if key in HELD_OUT]
    if split == "test" and held_out:
        return held_out
    return [key for key in keys if key not in HELD_OUT] or keys


def draw_person(anatomy: Anatomy, number: int, split: Split = "train", seed: int = 0) -> Person:
    """An identity: the same for the same numbers, and another one in each split.

    Args:
        anatomy: of the framing.
        number: which one; any non-negative integer.
        split: `train` and `test` are drawn from disjoint streams and assets; what is not in HELD_OUT both may have.
        seed: another seed is another population.
    """
    rng = np.random.default_rng([seed, SPLITS.index(split), number])
    pack = anatomy.pack
    woman = bool(rng.uniform() < 0.5)
    female = float(np.clip(rng.normal(0.95 if woman else 0.05, 0.08), 0, 1))
    age = float(rng.beta(1.0, 1.8))
    origin = dict(zip(("african", "asian", "caucasian"), rng.dirichlet([0.35] * 3), strict=True))
    targets = _macros(rng, female, age, origin) | _details(rng, pack)
    dark = rng.uniform() < origin["african"]
    skin = _skin(rng, pack, split, woman, age, dark)
    colour = _hair_colour(rng, age)
    wears = _wears(rng, pack, split, woman)
    eyes = str(rng.choice(_keys(pack.textures, "eyes")))
    if anatomy.framing == "body" and (shoes := [key for key in _keys(pack.proxies, "clothes") if "shoes" in key]):
        of_body = np.random.default_rng([seed, SPLITS.index(split), number, 4])  # a head's draws stay as they are
        wears.append(str(of_body.choice(shoes)))
    # From a stream of its own: what else is drawn of an identity stays as it is.
    varied = np.random.default_rng([seed, SPLITS.index(split), number, 5]) if split == "train" else None
    hair_shape = _hair_shape(varied) if varied else None
    known = {name: weight for name, weight in targets.items() if name in pack.targets}
    figure = Figure(anatomy, known, wears, skin, eyes, hair_shape)
    looks = _looks(rng, pack, figure, colour)
    if varied:
        looks["skin"] = _mixed_skin(varied, pack, looks["skin"], skin, woman)
    return Person(figure, looks, female, age, tuple(wears))


def _keys(keys: Iterable[str], folder: str) -> list[str]:
    return sorted(key for key in keys if key.startswith(f"{folder}/"))


def _macros(rng: np.random.Generator, female: float, age: float, origin: dict[str, float]) -> dict[str, float]:
    muscle, weight = (_between(rng.normal(0.5, 0.2)) for _ in range(2))
    weights: dict[str, float] = {}
    for sex, of_sex in (("female", female), ("male", 1 - female)):
        for years, of_age in (("young", 1 - age), ("old", age)):
            for race, share in origin.items():
                weights[f"macrodetails/{race}-{sex}-{years}"] = of_sex * of_age * float(share)
            for build, of_build in muscle.items():
                for mass, of_mass in weight.items():
                    name = f"macrodetails/universal-{sex}-{years}-{build}muscle-{mass}weight"
                    weights[name] = of_sex * of_age * of_build * of_mass
    return {name: value for name, value in weights.items() if value > 1e-3}


def _between(value: float) -> dict[str, float]:
    """Shares of min, average and max for a value in [0, 1]."""
    value = float(np.clip(value, 0, 1))
    high, low = max(0.0, 2 * value - 1), max(0.0, 1 - 2 * value)
    return {"min": low, "average": 1 - high - low, "max": high}


def _details(rng: np.random.Generator, pack: Pack) -> dict[str, float]:
    """A fifth of the details; those of the left and the right side together."""
    weights: dict[str, float] = {}
    drawn: dict[str, float] = {}
    for name in sorted(name for name in pack.targets if name.split("/")[0] in DETAILS):
        folder, _, detail = name.partition("/")
        both = f"{folder}/{detail.removeprefix('l-').removeprefix('r-')}"
        if both not in drawn:
            chosen = rng.uniform() < DETAIL_SHARE
            drawn[both] = min(0.8, abs(rng.normal(0, DETAIL_WEIGHT))) if chosen else 0.0
        if drawn[both]:
            weights[name] = drawn[both]
    return weights


def _skin(rng: np.random.Generator, pack: Pack, split: Split, woman: bool, age: float, dark: bool) -> str:
    """One that fits sex, then tone, then age, as far as there is one."""
    keys = available(_keys(pack.textures, "skins"), split)
    years = "old" if age > 0.6 else "middleage" if age > 0.35 else "young"
    for word in ("_female" if woman else "_male", "dark" if dark else "light", years):
        keys = [key for key in keys if word in key] or keys
    return str(rng.choice(keys))


def _mixed_skin(rng: np.random.Generator, pack: Pack, look: Look, first: str, woman: bool) -> Look:
    """The look with a share of another skin of the same sex; for some, as it was."""
    sex = "_female" if woman else "_male"
    keys = [key for key in available(_keys(pack.textures, "skins"), "train") if sex in key and key != first]
    if not keys or rng.uniform() > MIXED_SKINS:
        return look
    return look._replace(other=str(rng.choice(keys)), share=float(rng.uniform(0, LARGEST_SHARE)))


def _hair_shape(rng: np.random.Generator) -> HairShape:
    growth = rng.normal(0, HAIR_GROWTH, 9) + np.eye(9)[0] * HAIR_GROWTH
    length = float(rng.uniform(*HAIR_LENGTH))
    return HairShape(growth.astype(np.float32), length, rng.normal(0, HAIR_SHIFT, 3).astype(np.float32))


def _hair_colour(rng: np.random.Generator, age: float) -> Floats:
    weights = np.array(list(HAIR.values()), float)
    weights[-2:] *= 6 * age**2
    colour = np.array(list(HAIR))[rng.choice(len(HAIR), p=weights / weights.sum())]
    if rng.uniform() < 0.03:  # dyed
        colour = rng.uniform(0.1, 0.8, 3)
    return np.clip(colour * rng.uniform(0.75, 1.15) * rng.uniform(0.93, 1.07, 3), 0.03, 1).astype(np.float32)


def _wears(rng: np.random.Generator, pack: Pack, split: Split, woman: bool) -> list[str]:
    def one(keys: list[str]) -> list[str]:
        weights = np.array([RARELY if key in OVER_THE_FACE else 1.0 for key in keys])
        return [str(rng.choice(keys, p=weights / weights.sum()))] if keys else []

    hair = available(_keys(pack.proxies, "hair"), split)
    if not woman and rng.uniform() < 0.9:
        hair = [key for key in hair if key.startswith(MEN_S_HAIR)] or hair
    if rng.uniform() < (0.01 if woman else 0.1):
        hair = []
    suits = [key for key in _keys(pack.proxies, "clothes") if "shoes" not in key]
    suits = [key for key in suits if ("female" in key) == woman] or suits
    expressive = [key for folder in EXPRESSIVE for key in one(_keys(pack.proxies, folder))]
    return [*expressive, *one(suits), *one(hair)]


def _looks(rng: np.random.Generator, pack: Pack, figure: Figure, hair: Floats) -> dict[str, Look]:
    none = np.zeros(3, np.float32)
    plain = np.eye(3, dtype=np.float32)
    skin = np.diag(rng.uniform(0.93, 1.07, 3) * rng.uniform(0.88, 1.1)).astype(np.float32)
    looks = {
        "skin": Look(skin, none, rng.uniform(0.01, 0.06), rng.uniform(8, 30)),
        "eyes": Look(plain * np.float32(rng.uniform(0.85, 1.0)), none, 0.5, 120.0),
        "teeth": Look(plain * np.float32(rng.uniform(0.7, 1.0)), none, 0.1, 60.0),
        "tongue": Look(plain, none, 0.05, 20.0),
        "eyelashes": Look(0 * plain, hair * 0.3, 0.0),
        "clothes": Look(_recolour(rng), rng.uniform(-0.08, 0.12) * np.ones(3, np.float32), rng.uniform(0, 0.03), 10.0),
    }
    textures = {part.kind: part.texture for part in figure.parts}
    for kind, shade in (("hair", 1.0), ("eyebrows", rng.uniform(0.5, 0.9))):
        mean = _brightness(pack.textures[textures[kind]]) if kind in textures else 0.5
        looks[kind] = Look(np.outer(hair * shade, np.ones(3) / 3 / mean).astype(np.float32), none, 0.06, 25.0)
    return looks


def _recolour(rng: np.random.Generator) -> Floats:
    """Turns hues, changes saturation and brightness."""
    angle, saturation, gain = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 1.3), rng.uniform(0.6, 1.4)
    axis = np.ones(3) / np.sqrt(3)
    turn, _ = cv2.Rodrigues(axis * angle)
    grey = np.full((3, 3), 1 / 3)
    return (gain * (grey + saturation * (turn - grey))).astype(np.float32)


def _brightness(data: bytes) -> float:
    """Of the opaque pixels of a picture, in 0..1."""
    pixels = decode(data)
    opaque = pixels[..., 3] > 127 if pixels.shape[2] == 4 else np.ones(pixels.shape[:2], np.bool_)
    return max(0.05, float(pixels[..., :3][opaque].mean()) / 255) if opaque.any() else 0.5
