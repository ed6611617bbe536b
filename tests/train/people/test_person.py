"""Identities: the same for the same numbers, and apart in the two splits."""

from __future__ import annotations

import numpy as np
import pytest

from maskanim.train.people.assets import Pack
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


def test_assets_without_held_out_ones_serve_both_splits() -> None:
    assert available(["hair/b", "hair/a"], "test") == available(["hair/b", "hair/a"], "train") == ["hair/a", "hair/b"]
    assert available(["hair/short02"], "train") == ["hair/short02"]
