"""Each ablation changes exactly what it says: the pipeline run on terms, by networks that write down what they get."""

from __future__ import annotations

import pytest

from maskanim.ablations import TEST_TIME, AblatedNets, AblatedOps
from maskanim.pipeline import Animation, animate_frame, encode_source

SMALL, MASK, MASK_UP = "D(s)", "m(s)", "U(m(s))"
REFINED = f"r({SMALL}, {MASK}, P(m(d)))"


class Terms:
    """Networks and operations over text."""

    def m(self, image: str, /) -> str:
        return f"m({image})"

    def r(self, *arguments: str) -> str:
        return f"r({', '.join(arguments)})"

    def l(self, *arguments: str) -> str:  # noqa: E743 - the paper's name
        return f"l({', '.join(arguments)})"

    def h(self, *arguments: str) -> str:
        return f"h({', '.join(arguments)})"

    def downscale(self, image: str, /) -> str:
        return f"D({image})"

    def upscale(self, mask: str, /) -> str:
        return f"U({mask})"

    def perturb(self, mask: str, /) -> str:
        return f"P({mask})"


def run(name: str) -> Animation[str]:
    nets, ops = AblatedNets(Terms(), TEST_TIME[name]), AblatedOps(Terms(), TEST_TIME[name])
    source = encode_source(nets, ops, "s")
    assert (source.small, source.mask, source.mask_up) == (SMALL, MASK, MASK_UP)
    return animate_frame(nets, ops, source, "d")


def frame(refined: str) -> str:
    """Equations (5) and (6) for a refined mask."""
    return f"h(s, {MASK_UP}, U({refined}), l({SMALL}, {MASK}, {refined}))"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("full", frame(REFINED)),
        ("no_pert", frame(f"r({SMALL}, {MASK}, m(d))")),
        ("no_ref", frame("P(m(d))")),
        ("no_id", frame("m(d)")),
        ("low_res", f"l({SMALL}, {MASK}, {REFINED})"),
    ],
)
def test_the_frame_is_made_of(name: str, expected: str) -> None:
    assert run(name).frame == expected


def test_every_ablation_is_tried_above() -> None:
    assert set(TEST_TIME) == {"full", "no_pert", "no_ref", "no_id", "low_res"}


def test_the_full_method_is_the_pipeline_itself() -> None:
    assert run("full") == animate_frame(Terms(), Terms(), encode_source(Terms(), Terms(), "s"), "d")


def test_steps_before_the_one_left_out_stay() -> None:
    assert run("low_res").refined == run("full").refined and run("no_ref").perturbed == run("full").perturbed
    assert run("no_pert").mask == run("no_pert").perturbed == "m(d)"
