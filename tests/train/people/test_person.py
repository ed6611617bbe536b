"""Identities: the same for the same numbers, and apart in the two splits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from maskanim.train.people.assets import Pack, read_pack
from maskanim.train.people.figure import Anatomy
from maskanim.train.people.motion import EXPRESSIONS
from maskanim.train.people.person import HELD_OUT, Person, Split, available, draw_person


@pytest.fixture(scope="module")
def anatomy(pack: Pack) -> Anatomy:
    return Anatomy(pack, "head", EXPRESSIONS)


def test_the_same_numbers_are_the_same_person(anatomy: Anatomy) -> None:
    a, b = (draw_person(anatomy, 5, "train", 2) for _ in range(2))
    np.testing.assert_array_equal(a.figure.rest, b.figure.rest)
    assert a.wears == b.wears and all(np.array_equal(a.looks[kind].tint, b.looks[kind].tint) for kind in a.looks)


@pytest.mark.parametrize("other", [(6, "train", 2), (5, "test", 2), (5, "train", 3)])
def test_another_number_split_or_seed_is_somebody_else(anatomy: Anatomy, other: tuple[int, Split, int]) -> None:
    a, b = draw_person(anatomy, 5, "train", 2), draw_person(anatomy, *other)
    assert (a.female, a.age) != (b.female, b.age)


def test_held_out_assets_are_the_test_splits_alone(anatomy: Anatomy) -> None:
    def used(person: Person) -> set[str]:
        return {*person.wears, *(part.texture for part in person.figure.parts if part.kind == "skin")}

    train, test = (
        set().union(*(used(draw_person(anatomy, i, split)) for i in range(40))) for split in ("train", "test")
    )
    assert not train & HELD_OUT
    assert {key for key in test if key.startswith(("skins/", "hair/"))} == {
        "skins/young_lightskinned_male_diffuse3",
        "hair/short02",
    }
    assert "hair/afro01" in train


def test_training_identities_mix_skins_that_are_theirs_and_test_identities_none(real_assets: Path) -> None:
    anatomy = Anatomy(read_pack(real_assets), "head", EXPRESSIONS)
    train, test = ([draw_person(anatomy, i, split).looks["skin"] for i in range(40)] for split in ("train", "test"))
    assert all(look.share == 0 and not look.other for look in test)
    mixed = [look for look in train if look.share]
    assert 25 < len(mixed) < 40 and len({look.other for look in mixed}) > 5
    assert not {look.other for look in mixed} & HELD_OUT and max(look.share for look in mixed) <= 0.6


def test_hair_has_a_shape_of_its_own_in_training_alone(pack: Pack, anatomy: Anatomy) -> None:
    def moved(split: Split) -> float:
        """How far the hair of the first identity that has some is from where it would follow the body to."""
        person = next(p for p in (draw_person(anatomy, i, split) for i in range(9)) if "hair" in str(p.wears))
        (hair,) = (part for part in person.figure.parts if part.kind == "hair")
        at = person.figure.rest[hair.points]
        wears = [key for key in person.wears if key.startswith("hair")]
        proxy = pack.proxies[wears[0]]
        body = person.figure.rest[person.figure.base_points[proxy.corners]]
        follows = (body * proxy.weights[..., None]).sum(1) + proxy.offsets
        return float(np.abs(at - follows).max())

    assert moved("test") < 0.05 < moved("train")


def test_assets_without_held_out_ones_serve_both_splits() -> None:
    assert available(["hair/b", "hair/a"], "test") == available(["hair/b", "hair/a"], "train") == ["hair/a", "hair/b"]
    assert available(["hair/short02"], "train") == ["hair/short02"]
