"""Checkpoints of ours and of the released code, and every file that is neither."""

from __future__ import annotations

import argparse
import collections
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from maskanim.errors import MaskanimError
from maskanim.export.checkpoints import load_trained
from maskanim.networks import Networks
from maskanim.spec import ModelSpec, Perturbation, Widths

# The released code's modules, written down from its source by hand: (its key, its prefix, ours).
RELEASED = [
    ("mask_generator", "down.", "m.shrink."),
    ("mask_generator", "predictor.encoder.down_blocks.", "m.hourglass.down_blocks."),
    ("mask_generator", "predictor.decoder.up_blocks.", "m.hourglass.up_blocks."),
    ("mask_generator", "ref.", "m.head."),
    ("generator", "mask_fix_net.encoder.down_blocks.", "r.hourglass.down_blocks."),
    ("generator", "mask_fix_net.decoder.up_blocks.", "r.hourglass.up_blocks."),
    ("generator", "ref.", "r.head."),
    ("generator", "first.conv.", "l.first.0."),
    ("generator", "first.norm.", "l.first.1."),
    *(("generator", f"bottleneck.r{k}.", f"l.bottleneck.{k}.") for k in range(6)),
    ("generator", "up_blocks.", "l.up_blocks."),
    ("generator", "final.", "l.head."),
    ("generator", "hourglass.encoder.down_blocks.", "h.hourglass.down_blocks."),
    ("generator", "hourglass.decoder.up_blocks.", "h.hourglass.up_blocks."),
    ("generator", "final_hourglass.", "h.head."),
]


def released(nets: Networks) -> dict[str, Any]:
    """A checkpoint as the released code's logger saves it."""
    state = nets.state_dict()
    checkpoint: dict[str, Any] = {"generator": {}, "mask_generator": {}, "epoch": 99}
    for part, theirs, ours in RELEASED:
        entries = {theirs + name.removeprefix(ours): value for name, value in state.items() if name.startswith(ours)}
        assert entries
        checkpoint[part].update(entries)
    assert len(checkpoint["generator"]) + len(checkpoint["mask_generator"]) == len(state)
    checkpoint["generator"]["down_blocks.0.conv.weight"] = torch.rand(128, 64, 3, 3)  # created there, never used
    optimizer = torch.optim.Adam([torch.zeros(3, requires_grad=True)])
    return checkpoint | {f"optimizer_{part}": optimizer.state_dict() for part in ("generator", "mask_generator")}


def assert_same_weights(a: Networks, b: Networks) -> None:
    left, right = a.state_dict(), b.state_dict()
    assert list(left) == list(right)
    for name, value in left.items():
        assert name.endswith("num_batches_tracked") or torch.equal(value, right[name]), name


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises(MaskanimError) as caught:
        load_trained(path, **options)
    message = str(caught.value)
    assert "\n" not in message and str(path) in message
    return message


def test_our_checkpoint(tmp_path: Path, nets: Networks, write_checkpoint: Callable[..., Path]) -> None:
    trained = load_trained(write_checkpoint(tmp_path / "last.pt", nets))
    assert_same_weights(trained.nets, nets)
    assert not trained.nets.training and trained.nets.spec == nets.spec and trained.notes == ()
    run = trained.provenance["trained"]
    assert (run["perceptual"], run["step"], run["command"]) == (
        "efficientnet-lite0",
        14,
        "maskanim-train --config small",
    )
    assert type(run["torch"]) is str and len(trained.provenance["checkpoint_sha256"]) == 64


def test_unfinished_training_is_told(tmp_path: Path, nets: Networks, write_checkpoint: Callable[..., Path]) -> None:
    trained = load_trained(write_checkpoint(tmp_path / "last.pt", nets, step=13))
    assert trained.notes == ("The training is at step 13 of 14.",)


@pytest.mark.parametrize("skips", [0, 1, 4, 5])
@pytest.mark.parametrize("widths", [Widths(m=4, r=6, l=8, h=5), Widths(m=5, r=4, l=12, h=4)])
def test_released_checkpoint_of_any_widths_and_skips(
    tmp_path: Path, make_networks: Callable[..., Networks], widths: Widths, skips: int
) -> None:
    nets = make_networks(ModelSpec(widths=widths, mask_skips=skips))
    torch.save(released(nets), tmp_path / "00000099-checkpoint.pth.tar")
    trained = load_trained(tmp_path / "00000099-checkpoint.pth.tar")
    assert_same_weights(trained.nets, nets)
    assert trained.nets.spec == ModelSpec(widths=widths, mask_skips=skips)
    assert trained.provenance["trained"] == {"code": "the authors' released code", "epoch": 99}
    assert "100 for VoxCeleb" in trained.notes[0]


@pytest.mark.parametrize("blocks", [0, 1, 3])
def test_weights_alone_tell_how_many_blocks_r_has(
    tmp_path: Path, make_networks: Callable[..., Networks], blocks: int
) -> None:
    nets = make_networks(ModelSpec(widths=Widths(m=4, r=4, l=8, h=4), mask_skips=4, refinement_blocks=blocks))
    torch.save(nets.state_dict(), tmp_path / "weights.pt")
    trained = load_trained(tmp_path / "weights.pt")
    assert_same_weights(trained.nets, nets)
    assert trained.nets.spec.refinement_blocks == blocks


def test_released_checkpoint_of_an_old_pytorch(tmp_path: Path, nets: Networks) -> None:
    values = released(nets)
    for part in ("generator", "mask_generator"):
        values[part] = {name: v for name, v in values[part].items() if not name.endswith("num_batches_tracked")}
    torch.save(values, tmp_path / "old.tar", _use_new_zipfile_serialization=False)
    assert_same_weights(load_trained(tmp_path / "old.tar").nets, nets)


def test_threshold_is_the_released_codes_th(
    tmp_path: Path, nets: Networks, write_checkpoint: Callable[..., Path]
) -> None:
    torch.save(released(nets), tmp_path / "theirs.tar")
    trained = load_trained(tmp_path / "theirs.tar", threshold=60)
    assert trained.nets.spec.perturbation == Perturbation(kind="fixed", threshold=60 / 255) and trained.notes == ()
    with pytest.raises(MaskanimError, match="--threshold"):
        load_trained(write_checkpoint(tmp_path / "ours.pt", nets), threshold=60)


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path, nets: Networks) -> None:
    values = released(nets)
    del values["generator"]["final.bias"], values["mask_generator"]["predictor.encoder.down_blocks.0.conv.bias"]
    values["generator"]["hourglass.encoder.down_blocks.1.conv.weight"] = torch.zeros(2, 2, 3, 3)
    values["generator"]["bottleneck.r6.conv1.weight"] = torch.zeros(8, 8, 3, 3)
    torch.save(values, tmp_path / "bad.tar")
    message = refusal(tmp_path / "bad.tar")
    for name in ("generator.final.bias", "mask_generator.predictor.encoder.down_blocks.0.conv.bias"):
        assert name in message.partition("2 missing")[2]
    assert "generator.hourglass.encoder.down_blocks.1.conv.weight (2, 2, 3, 3) instead of (16, 8, 3, 3)" in message
    assert "1 not known: generator.bottleneck.r6.conv1.weight" in message


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(
    tmp_path: Path, nets: Networks, write_checkpoint: Callable[..., Path], value: float
) -> None:
    state: dict[str, Tensor] = {name: entry.clone() for name, entry in nets.state_dict().items()}
    state["h.head.weight"][0, 0, 3, 3] = value
    state["l.first.1.running_var"][1] = value
    message = refusal(write_checkpoint(tmp_path / "last.pt", nets, networks=state))
    assert "NaN or infinite" in message and "l.first.1.running_var, h.head.weight" in message


class Hostile:
    """Unpickled in earnest, this creates a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize("how", ["torch", "torch-old", "pickle-2", "pickle-5"])
def test_hostile_pickle_is_not_executed(tmp_path: Path, how: str) -> None:
    path, mark = tmp_path / "hostile.pt", tmp_path / "executed"
    values = {"generator": {}, "mask_generator": Hostile(mark)}
    if how.startswith("torch"):
        torch.save(values, path, _use_new_zipfile_serialization=how == "torch")
    else:
        path.write_bytes(pickle.dumps(values, protocol=int(how[-1])))
    message = refusal(path)
    assert "pickle" in message and "nothing of it was run" in message
    assert not mark.exists()
    if how != "torch":
        return
    torch.load(path, weights_only=False)
    assert mark.exists()  # so that the file would have been created, had the code run


def test_files_that_are_no_checkpoint(tmp_path: Path, nets: Networks, write_checkpoint: Callable[..., Path]) -> None:
    whole = write_checkpoint(tmp_path / "whole.pt", nets).read_bytes()
    contents = {"cut.pt": whole[: len(whole) // 2], "text.pt": b"hello, world\n" * 9, "empty.pt": b"", "one.pt": b"P"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    assert "cut off" in refusal(tmp_path / "cut.pt")
    assert "foreign" in refusal(tmp_path / "text.pt")
    assert "empty" in refusal(tmp_path / "empty.pt")
    assert "damaged" in refusal(tmp_path / "one.pt")
    assert "no such file" in refusal(tmp_path / "absent.pt")
    assert "a folder" in refusal(tmp_path)


def test_pytorch_files_of_something_else(tmp_path: Path, nets: Networks, write_checkpoint: Callable[..., Path]) -> None:
    path = tmp_path / "foreign.pt"
    foreign: dict[str, Any] = {
        "a dict of something else (fc.weight)": {"fc.weight": torch.zeros(3)},
        "a dict of something else (0)": {0: torch.zeros(3)},
        "a PyTorch file of a Tensor": torch.zeros(3),
        "no convolution mask_generator.predictor.decoder.up_blocks.4.conv": {"generator": {}, "mask_generator": 3},
        "checkpoint version 2": {"format": "maskanim-checkpoint", "version": 2},
        "other entries": {"format": "maskanim-checkpoint", "version": 1, "step": 3},
    }
    for told, values in foreign.items():
        torch.save(values, path)
        assert told in refusal(path)
    assert "valid model" in refusal(write_checkpoint(path, nets, settings={"model": {"widths": 3}}))
    assert "missing" in refusal(write_checkpoint(path, nets, networks={}))
    sparse = {**nets.state_dict(), "h.head.bias": torch.zeros(3).to_sparse()}
    assert "1 missing: h.head.bias" in refusal(write_checkpoint(path, nets, networks=sparse))


def parts(values: dict[str, Any], change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> dict[str, Any]:
    """A released checkpoint with both of its state dicts changed."""
    return values | {part: change(values[part]) for part in ("generator", "mask_generator")}


def prefixed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"module.{name}": value for name, value in state.items()}


def flat(values: dict[str, Any]) -> dict[str, Tensor]:
    return {f"{part}.{name}": v for part in ("generator", "mask_generator") for name, v in values[part].items()}


NUMPY = {"epoch": np.int64(99), "loss": np.float32(0.5), "done": np.bool_(True)}
# How people have them: what is in the file, and what is said of it.
LOADED: dict[str, tuple[Callable[[Networks], Any], str]] = {
    "DataParallel": (lambda nets: parts(released(nets), prefixed), "prefix module. was taken off"),
    "state_dict": (lambda nets: {"state_dict": released(nets)}, "out of the entry state_dict"),
    "state_dict of prefixed names": (lambda nets: {"state_dict": prefixed(flat(released(nets)))}, "prefix module."),
    "numpy scalars": (lambda nets: released(nets) | NUMPY, ""),
    "our names alone": (lambda nets: nets.state_dict(), ""),
    "our names, prefixed": (lambda nets: {"state_dict": prefixed(nets.state_dict())}, "prefix module."),
}


@pytest.mark.parametrize("kind", LOADED)
def test_checkpoints_as_people_have_them(tmp_path: Path, nets: Networks, kind: str) -> None:
    make, told = LOADED[kind]
    torch.save(make(nets), tmp_path / "theirs.pt")
    trained = load_trained(tmp_path / "theirs.pt", threshold=60)
    assert_same_weights(trained.nets, nets)
    assert told in " ".join(trained.notes) and (told or not trained.notes)
    assert trained.nets.spec.perturbation == Perturbation(kind="fixed", threshold=60 / 255)
    if kind == "numpy scalars":
        assert trained.provenance["trained"]["epoch"] == 99


def test_numbers_of_an_older_numpy(tmp_path: Path, nets: Networks) -> None:
    """Before NumPy 2 their reconstructor had another name; here it is put into the file by hand."""
    torch.save(released(nets) | NUMPY, tmp_path / "new.pt")
    old = tmp_path / "old.pt"
    with zipfile.ZipFile(tmp_path / "new.pt") as new, zipfile.ZipFile(old, "w") as written:
        for entry in new.namelist():
            content = new.read(entry)
            if entry.endswith("data.pkl"):
                assert b"numpy._core.multiarray" in content
                content = content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
            written.writestr(entry, content)
    assert load_trained(old).provenance["trained"]["epoch"] == 99


@pytest.mark.parametrize("names", ["ours", "theirs"])
def test_safetensors(tmp_path: Path, nets: Networks, names: str) -> None:
    state = nets.state_dict() if names == "ours" else flat(released(nets))
    save_file({name: value.contiguous() for name, value in state.items()}, tmp_path / "weights.safetensors")
    trained = load_trained(tmp_path / "weights.safetensors")
    assert_same_weights(trained.nets, nets)
    assert "100 for VoxCeleb" in trained.notes[0]
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "weights.safetensors").read_bytes()[:-9])
    assert "cut off" in refusal(tmp_path / "cut.safetensors")


@pytest.mark.parametrize(
    ("beside", "told"),
    [
        (collections.defaultdict(list), "a pickle with a collections.defaultdict beside the weights"),
        (argparse.Namespace(lr=1), "a pickle with a argparse.Namespace beside the weights"),
        (Path("config.yaml"), "a pickle with a pathlib.PosixPath beside the weights"),
        (np.arange(3), "a pickle that asks to run code (numpy._core.multiarray._reconstruct)"),
    ],
)
def test_what_is_not_read_is_named(tmp_path: Path, nets: Networks, beside: Any, told: str) -> None:
    torch.save(released(nets) | {"args": beside}, tmp_path / "theirs.pt")
    assert told in refusal(tmp_path / "theirs.pt")


def test_an_extra_key_is_named(tmp_path: Path, nets: Networks) -> None:
    values = released(nets)
    values["generator"]["ema.decay"] = torch.zeros(1)
    torch.save(values, tmp_path / "theirs.pt")
    assert "1 not known: generator.ema.decay" in refusal(tmp_path / "theirs.pt")
    torch.save(released(nets) | {"discriminator": {"conv.weight": torch.zeros(1)}, "notes": "x"}, tmp_path / "more.pt")
    assert_same_weights(load_trained(tmp_path / "more.pt").nets, nets)


def test_released_animate(tmp_path: Path, nets: Networks, write_checkpoint: Callable[..., Path]) -> None:
    torch.save(released(nets), tmp_path / "theirs.tar")
    trained = load_trained(tmp_path / "theirs.tar", 60, released_animate=True)
    expected = Perturbation(kind="fixed", threshold=60 / 255, released_animate=True)
    assert trained.nets.spec.perturbation == expected and "shrunk to three quarters" in trained.notes[0]
    with pytest.raises(MaskanimError, match="--released-animate: one for a model trained with its own perturbation"):
        load_trained(write_checkpoint(tmp_path / "ours.pt", nets), released_animate=True)
