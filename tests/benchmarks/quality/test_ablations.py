"""The ablation table: rows, what is measured and what is not, and the commands."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from maskanim.ablations import TEST_TIME, TRAINING_TIME
from maskanim.benchmarks.cli import app
from maskanim.benchmarks.quality import reconstruct, table, transfer
from maskanim.benchmarks.quality.ablations import (
    AblatedAnimator,
    Row,
    measure_ablations,
    named_bundles,
    open_models,
    open_on_processor,
)
from maskanim.benchmarks.quality.puppets import REFERENCES
from maskanim.bundle import Bundle
from maskanim.errors import MaskanimError
from maskanim.ops import Array, downscale, upscale
from maskanim.runtime import Animator
from maskanim.runtime.sessions.host import HostRunner
from maskanim.spec import Perturbation
from maskanim.train.puppets import Puppet


@pytest.fixture(scope="module")
def rows(tiny_bundle: Bundle) -> dict[str, Row]:
    path = str(tiny_bundle.path)
    with open_models(path, {"h_update_l": path, "longer": path}, "ort") as models:
        found, references = measure_ablations(models, 2, 2, 1)
    assert set(references) == set(REFERENCES)
    return {row.name: row for row in found}


def test_rows_in_the_papers_order_and_what_is_not_trained(rows: dict[str, Row]) -> None:
    assert list(rows) == [*TEST_TIME, *TRAINING_TIME, "longer"]
    absent = [name for name, row in rows.items() if row.reconstruction is None]
    assert absent == ["no_color_aug", "h_update_m"]
    assert all(rows[name].transfer is None and rows[name].model is None for name in absent)


def test_the_full_method_is_what_the_animator_does(rows: dict[str, Row], tiny_bundle: Bundle) -> None:
    with Animator.open(tiny_bundle, "ort") as animator:
        assert rows["full"].reconstruction == reconstruct({"": animator}, range(2), 2)[""]
        assert rows["full"].transfer == transfer({"": animator}, range(2), 1)[""]


def test_the_same_model_under_another_name_has_the_same_figures(rows: dict[str, Row]) -> None:
    assert rows["longer"].reconstruction == rows["h_update_l"].reconstruction == rows["full"].reconstruction
    assert rows["longer"].meaning == "another model" and rows["h_update_l"].meaning == TRAINING_TIME["h_update_l"]


class Simple:
    """Networks by hand: the frame is a mean of all that h is given."""

    def m(self, image: Array) -> Array:
        return downscale(image).mean(1, keepdims=True)

    def r(self, small: Array, mask: Array, perturbed: Array) -> Array:
        return 0.5 * perturbed + 0.3 * mask

    def l(self, small: Array, mask: Array, refined: Array) -> Array:  # noqa: E743 - the paper's name
        return upscale(small * refined)

    def h(self, source: Array, mask_up: Array, refined_up: Array, coarse: Array) -> Array:
        return (source + mask_up + refined_up + coarse) / 4


def test_each_variant_is_another_method() -> None:
    source, driving = Puppet(0, "test").frame(0).image, Puppet(1, "test").frame(1).image
    runner = HostRunner(Simple(), Perturbation())  # type: ignore[arg-type]
    frames = {}
    for name, ablation in TEST_TIME.items():
        animator = AblatedAnimator(runner, ablation)
        frames[name] = animator.animate(animator.encode_source(source), driving)
    (full,) = (result.finish() for result in runner.run(runner.encode_source(source), [runner.prepare(driving)]))
    np.testing.assert_array_equal(frames["full"], full)
    assert len({frame.tobytes() for frame in frames.values()}) == len(TEST_TIME)


def test_markdown_and_terminal_hold_every_row(rows: dict[str, Row], capsys: pytest.CaptureFixture[str]) -> None:
    text = table.markdown(list(rows.values()), {})
    table.print_ablations(list(rows.values()), {})
    printed = capsys.readouterr().out
    for name, row in rows.items():
        lines = [line for line in text.splitlines() if line.startswith(f"| {name} |")]
        assert len(lines) == 2  # rebuilt, and animated by others
        assert all((table.NOT_TRAINED in line) == (row.reconstruction is None) for line in lines)
        assert f"{name}: {row.meaning}" in printed


def test_the_command(tiny_bundle: Bundle, tmp_path: Path) -> None:
    wrote, text = tmp_path / "ablations.json", tmp_path / "ablations.md"
    arguments = ["ablations", "--model", str(tiny_bundle.path), "--engine", "ort", "--identities", "1", "--frames", "2"]
    arguments += ["--driving", "1", "--json", str(wrote), "--markdown", str(text)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    record = json.loads(wrote.read_text())
    assert [row["name"] for row in record["rows"]] == [*TEST_TIME, *TRAINING_TIME]
    assert record["rows"][0]["reconstruction"]["frames"] == 2 and record["rows"][-1]["reconstruction"] is None
    assert set(record["references"]) == set(REFERENCES) and record["finder"]["held_out_error"] > 0
    assert text.read_text().count("| not trained |") and "no_pert" in result.output


def test_the_quality_command(tiny_bundle: Bundle, tmp_path: Path) -> None:
    wrote = tmp_path / "quality.json"
    arguments = ["quality", "--model", str(tiny_bundle.path), "--engine", "ort", "--identities", "1", "--frames", "2"]
    result = CliRunner().invoke(app, [*arguments, "--driving", "2", "--json", str(wrote)])
    assert result.exit_code == 0, result.output
    record = json.loads(wrote.read_text())
    assert record["inside_ratio"] == pytest.approx(record["inside"] / record["repeated_inside"])
    assert record["transfer"]["pairs"] == 1 and record["transfer"]["frames"] == 2
    assert "source, drawn in its own shape" in result.output and "model tiny" in result.output


@pytest.mark.parametrize("also", [["h_update_l"], ["=path"], ["name="], ["full=path"], ["a=path", "a=path"]])
def test_mistakes_in_also_are_told(also: list[str]) -> None:
    with pytest.raises(MaskanimError, match="--also"):
        named_bundles(also)


def test_an_engine_on_a_gpu_is_refused(tiny_bundle: Bundle) -> None:
    with pytest.raises(MaskanimError, match="one of openvino, ort"):
        open_on_processor(str(tiny_bundle.path), "trt")
