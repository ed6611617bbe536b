"""The equations: who gets what, and that the source's share is computed once."""

from __future__ import annotations

from maskanim.pipeline import animate_frame, encode_source


class Symbols:
    """Networks and operations that write down what they were given."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def __getattr__(self, name: str):
        def call(*args: str) -> str:
            self.calls.append(name)
            return f"{name}({', '.join(args)})"

        return call


class SymbolicOps(Symbols):
    def downscale(self, x: str) -> str:
        return f"D({x})"

    def upscale(self, x: str) -> str:
        return f"U({x})"

    def perturb(self, x: str) -> str:
        return f"P({x})"


def test_equations_one_to_six() -> None:
    nets, ops = Symbols(), SymbolicOps()
    shown = animate_frame(nets, ops, encode_source(nets, ops, "s"), "d")
    assert shown.mask == "m(d)"
    assert shown.perturbed == "P(m(d))"
    assert shown.refined == f"r(D(s), m(s), {shown.perturbed})"
    assert shown.coarse == f"l(D(s), m(s), {shown.refined})"
    assert shown.frame == f"h(s, U(m(s)), U({shown.refined}), {shown.coarse})"


def test_the_source_is_encoded_once() -> None:
    nets, ops = Symbols(), SymbolicOps()
    source = encode_source(nets, ops, "s")
    for driving in ("d1", "d2", "d3"):
        animate_frame(nets, ops, source, driving)
    assert nets.calls == ["m"] + 3 * ["m", "r", "l", "h"]
