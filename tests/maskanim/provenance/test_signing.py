"""Manifests: what they say, that they hold, and that nothing else is left or lost."""

from __future__ import annotations

import os
import platform
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone, tzinfo
from pathlib import Path
from threading import Barrier

import av
import pytest

from maskanim import __version__
from maskanim.errors import MaskanimError, MissingPackageError
from maskanim.models import demo_bundle
from maskanim.provenance import Claim, claim_by_default, credentials, manifest, read_provenance, sign_video, signed

pytest.importorskip("c2pa", reason="the extra provenance is not installed")


def packets(path: Path) -> list[tuple[int, int | None, bytes]]:
    """Every packet's stream, time and content."""
    with av.open(os.fspath(path)) as container:
        return [(packet.stream_index, packet.pts, bytes(packet)) for packet in container.demux()]


def test_a_signed_video_says_what_made_it(video: Path, claim: Claim) -> None:
    before, size = packets(video), video.stat().st_size
    video.chmod(0o640)
    assert sign_video(video, claim) == video
    found = read_provenance(video)
    assert found[:-1] == (
        True,
        credentials.ORGANIZATION,
        f"maskanim {__version__}",
        "trainedAlgorithmicMedia",
        claim.model,
        claim.model_sha256,
    )
    assert packets(video) == before
    assert video.stat().st_size - size < 5000  # two certificates, a signature and the claim itself
    assert stat.S_IMODE(video.stat().st_mode) == 0o640
    assert [path.name for path in video.parent.iterdir()] == ["video.mp4"]


def test_the_driving_clips_audio_makes_it_a_composite(video: Path) -> None:
    sign_video(video, Claim.of(demo_bundle(), composite=True))
    found = read_provenance(video)
    assert found.source_type == "compositeWithTrainedAlgorithmicMedia"
    assert found.model == "demo"


@pytest.mark.parametrize("suffix", [".mov", ".MP4", ".m4v"])
def test_other_formats_that_hold_manifests(video: Path, claim: Claim, suffix: str) -> None:
    other = video.with_suffix(suffix)
    with (
        av.open(os.fspath(video)) as clip,
        av.open(os.fspath(other), "w", format="mov" if suffix == ".mov" else "mp4") as copy,
    ):
        (stream,) = clip.streams.video
        target = copy.add_stream_from_template(stream)
        for packet in clip.demux(stream):
            if packet.dts is not None:
                packet.stream = target
                copy.mux(packet)
    sign_video(other, claim)
    assert read_provenance(other).model == claim.model


@pytest.mark.parametrize("place", [0.02, 0.3, 0.7, 0.999])
def test_one_changed_bit_in_the_pictures_is_detected(video: Path, claim: Claim, place: float) -> None:
    sign_video(video, claim)
    content = bytearray(video.read_bytes())
    begin = content.rfind(b"mdat") + 4
    content[begin + int(place * (len(content) - begin))] ^= 1
    video.write_bytes(content)
    with pytest.raises(MaskanimError, match=r"assertion\.bmffHash\.mismatch.*It was changed after it was signed"):
        read_provenance(video)


def test_what_is_cut_off_is_detected(video: Path, claim: Claim) -> None:
    sign_video(video, claim)
    video.write_bytes(video.read_bytes()[:-20])
    with pytest.raises(MaskanimError, match=r"video\.mp4"):
        read_provenance(video)


def test_another_claim_in_its_place_is_detected(video: Path, claim: Claim) -> None:
    sign_video(video, claim)
    video.write_bytes(video.read_bytes().replace(claim.model.encode(), b"b" + claim.model.encode()[1:]))
    with pytest.raises(MaskanimError, match=r"assertion\.hashedURI\.mismatch"):
        read_provenance(video)


def lengthen(video: Path, size: int) -> None:
    """Append so many bytes that nothing refers to, to the data of a video that ends with it."""
    content = bytearray(video.read_bytes())
    begin = content.rfind(b"mdat") - 4
    content[begin : begin + 4] = (len(content) - begin + size).to_bytes(4, "big")
    video.write_bytes(content + os.urandom(size))


def test_long_videos_are_hashed_in_pieces(video: Path, claim: Claim) -> None:
    """Beyond one piece of a mebibyte another path of the library runs."""
    lengthen(video, 3 * 2**20)
    sign_video(video, claim)
    content = bytearray(video.read_bytes())
    for position in (-1, -(2**20), -5 * 2**19, -3 * 2**20 - 1000):
        content[position] ^= 1
        video.write_bytes(content)
        with pytest.raises(MaskanimError, match=r"assertion\.bmffHash\.mismatch"):
            read_provenance(video)
        content[position] ^= 1
    video.write_bytes(content)
    assert read_provenance(video).trusted


def peak_memory(video: Path) -> int:
    """Of a process that signs, in kilobytes."""
    code = (
        "import sys; from pathlib import Path; from maskanim.provenance import Claim, sign_video\n"
        "sign_video(Path(sys.argv[1]), Claim('a model', ''))\n"
        "print(Path('/proc/self/status').read_text('utf-8'))"
    )
    run = subprocess.run([sys.executable, "-c", code, str(video)], capture_output=True, text=True, check=True)
    return int(run.stdout.split("VmHWM:")[1].split()[0])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from Linux's /proc")
def test_memory_does_not_grow_with_the_video(video: Path, claim: Claim) -> None:
    before = peak_memory(video)
    lengthen(video, 96 * 2**20)
    assert peak_memory(video) - before < 32_000  # the library turns to the disk at 16 MB


def test_what_does_not_verify_is_not_kept(video: Path, claim: Claim, monkeypatch: pytest.MonkeyPatch) -> None:
    """As c2pa 0.91 signs some videos whose data is in several boxes."""

    def refuse(path: Path) -> None:
        assert path != video and path.stat().st_size > video.stat().st_size
        raise MaskanimError(str(path), "a hash that does not match", "one that does")

    monkeypatch.setattr(manifest, "read_provenance", refuse)
    before = video.read_bytes()
    with pytest.raises(MaskanimError, match=r"^signing video\.mp4: a hash that does not match"):
        sign_video(video, claim)
    assert video.read_bytes() == before and len(list(video.parent.iterdir())) == 1


def test_encoding_again_strips_the_manifest(video: Path, claim: Claim, tmp_path: Path) -> None:
    sign_video(video, claim)
    again = tmp_path / "again.mp4"
    with av.open(os.fspath(video)) as clip, av.open(os.fspath(again), "w") as copy:
        stream = copy.add_stream("libx264", rate=25)
        stream.width, stream.height = clip.streams.video[0].width, clip.streams.video[0].height
        for frame in clip.decode(video=0):
            frame.pts = None
            copy.mux(stream.encode(frame))
        copy.mux(stream.encode(None))
    with pytest.raises(MaskanimError, match="no C2PA manifest in it"):
        read_provenance(again)


def test_elsewhere_it_is_valid_but_its_signer_is_unknown(
    video: Path, claim: Claim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_video(video, claim)
    monkeypatch.setenv("MASKANIM_HOME", str(tmp_path / "elsewhere"))
    assert not read_provenance(video).trusted
    assert not (tmp_path / "elsewhere").exists()  # reading makes no key
    other = video.with_name("other.mp4")
    sign_video(video, claim, other)
    assert read_provenance(other).trusted and not read_provenance(video).trusted


def test_nothing_personal_is_in_the_file(video: Path, claim: Claim) -> None:
    before = video.read_bytes()
    sign_video(video, claim)
    content = video.read_bytes()
    for word in (platform.node(), str(video.parent), video.name, str(Path.home())):
        assert content.count(word.encode()) == before.count(word.encode()), word


def test_the_key_is_made_once_and_is_the_users_alone(video: Path, claim: Claim, installation: Path) -> None:
    sign_video(video, claim)
    key, chain = installation / "provenance/key.pem", installation / "provenance/chain.pem"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert sorted(path.name for path in installation.rglob("*")) == ["chain.pem", "key.pem", "provenance"]
    first = key.read_bytes(), chain.read_bytes()
    sign_video(video, claim)
    assert (key.read_bytes(), chain.read_bytes()) == first


def test_who_begins_at_the_same_time_gets_the_same_key(installation: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both, generate = Barrier(2), credentials._generate

    def together() -> tuple[bytes, bytes]:
        both.wait(10)
        return generate()

    monkeypatch.setattr(credentials, "_generate", together)
    with ThreadPoolExecutor(2) as threads:
        one, other = threads.map(lambda _: credentials.load_credentials(), range(2))
    assert one == other == credentials.find_credentials()


def test_without_the_package_a_line_says_so_and_a_wish_is_refused(
    video: Path, claim: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "c2pa", None)
    told: list[str] = []
    assert claim_by_default(claim, video, None, told.append) is None
    assert told == [
        "note: the video will not be marked as synthetic: the package c2pa is not installed. "
        "Install it with: pip install 'maskanim[provenance]'"
    ]
    assert claim_by_default(claim, video, False, told.append) is None
    assert len(told) == 1
    with pytest.raises(MissingPackageError, match=r"maskanim\[provenance\]"):
        claim_by_default(claim, video, True, told.append)
    with pytest.raises(MissingPackageError), signed(video, claim):
        pytest.fail("work began")
    with pytest.raises(MissingPackageError):
        read_provenance(video)


def test_by_default_there_is_a_claim(video: Path, claim: Claim) -> None:
    assert (
        claim_by_default(claim, video, None, pytest.fail) == claim_by_default(claim, video, True, pytest.fail) == claim
    )
    assert claim_by_default(claim, video, False, pytest.fail) is None


def test_by_default_a_format_without_manifests_is_told_and_a_wish_is_refused(video: Path, claim: Claim) -> None:
    told: list[str] = []
    assert claim_by_default(claim, video.with_suffix(".webm"), None, told.append) is None
    assert told == [
        "note: the video will not be marked as synthetic: a .webm has no place for a C2PA manifest. Write an mp4"
    ]
    with pytest.raises(MaskanimError, match="has no place for a C2PA manifest"):
        claim_by_default(claim, video.with_suffix(".webm"), True, told.append)


def test_by_default_a_key_that_does_not_sign_is_refused(video: Path, claim: Claim, installation: Path) -> None:
    installation.write_bytes(b"a file")
    with pytest.raises(MaskanimError, match="none can be made"):
        claim_by_default(claim, video, None, pytest.fail)


def test_what_is_written_appears_signed_or_not_at_all(video: Path, claim: Claim, tiny_clip: Path) -> None:
    older = video.read_bytes()
    with pytest.raises(ZeroDivisionError), signed(video, claim) as place:
        place.write_bytes(b"half a video")
        raise ZeroDivisionError
    assert video.read_bytes() == older and len(list(video.parent.iterdir())) == 1
    with signed(video, claim) as place:
        assert place.parent == video.parent
        place.write_bytes(tiny_clip.read_bytes())
    assert read_provenance(video).model == claim.model and len(list(video.parent.iterdir())) == 1


def test_what_fails_names_the_video_and_no_file_of_ours(video: Path, claim: Claim) -> None:
    with pytest.raises(MaskanimError) as full, signed(video, claim) as place:
        raise MaskanimError(str(place), "writing it failed", "room")
    assert str(full.value) == f"{video}: writing it failed; expected room."
    with pytest.raises(MaskanimError, match=r"^signing video\.mp4: "), signed(video, claim) as place:
        place.write_bytes(b"no video")


def test_without_a_claim_it_is_written_as_it_is(video: Path) -> None:
    with signed(video, None) as place:
        assert place == video
    with pytest.raises(MaskanimError, match="no C2PA manifest in it"):
        read_provenance(video)


def test_a_broken_video_stays_as_it_is(video: Path, claim: Claim) -> None:
    video.write_bytes(b"no video" * 100)
    with pytest.raises(MaskanimError, match=r"^signing video\.mp4: "):
        sign_video(video, claim)
    assert video.read_bytes() == b"no video" * 100 and len(list(video.parent.iterdir())) == 1


@pytest.mark.parametrize("name", ["video.webm", "video.mkv", "video"])
def test_a_format_without_manifests_is_refused_before_work(video: Path, claim: Claim, name: str) -> None:
    with pytest.raises(MaskanimError, match="one of m4v, mov, mp4"), signed(video.with_name(name), claim):
        pytest.fail("work began")
    assert len(list(video.parent.iterdir())) == 1


@pytest.mark.parametrize("file", ["key.pem", "chain.pem"])
@pytest.mark.parametrize("damage", [b"", b"nonsense", None])
def test_a_damaged_key_is_refused_before_work(
    video: Path, claim: Claim, installation: Path, file: str, damage: bytes | None
) -> None:
    credentials.load_credentials()
    path = installation / "provenance" / file
    path.unlink() if damage is None else path.write_bytes(damage)
    with pytest.raises(MaskanimError, match="Remove that folder, and a new key is made"), signed(video, claim):
        pytest.fail("work began")


def test_a_key_that_does_not_fit_its_certificate_is_refused_before_work(
    video: Path, claim: Claim, installation: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    credentials.load_credentials()
    monkeypatch.setenv("MASKANIM_HOME", str(tmp_path / "elsewhere"))
    other = credentials.load_credentials()
    monkeypatch.setenv("MASKANIM_HOME", str(installation))
    (installation / "provenance/key.pem").write_bytes(other.key)
    with pytest.raises(MaskanimError, match="Remove that folder, and a new key is made"), signed(video, claim):
        pytest.fail("work began")


def test_a_folder_that_cannot_be_written_is_refused_before_work(video: Path, claim: Claim, installation: Path) -> None:
    installation.write_bytes(b"a file")
    with pytest.raises(MaskanimError, match="none can be made"), signed(video, claim):
        pytest.fail("work began")


def test_a_clock_behind_an_older_key_is_refused_before_work(
    video: Path, claim: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys used to be valid from the day before they were made."""
    with monkeypatch.context() as later:
        later.setattr(credentials, "BEGINNING", datetime.now(timezone.utc) + timedelta(days=30))
        with pytest.raises(MaskanimError, match=r"^the clock: \d{4}-.*Set it; or use --no-provenance"):
            credentials.load_credentials()
    with (
        pytest.raises(
            MaskanimError, match=r"^the clock: .*, when the signing key in .* did not exist; expected \d{4}-"
        ),
        signed(video, claim),
    ):
        pytest.fail("work began")
    with pytest.raises(MaskanimError, match=r"^the clock: "):
        claim_by_default(claim, video, None, pytest.fail)
    assert [path.name for path in video.parent.iterdir()] == ["video.mp4"]


@pytest.mark.parametrize("year", [1970, 2020])
def test_a_new_key_holds_on_a_clock_that_is_far_behind(
    installation: Path, monkeypatch: pytest.MonkeyPatch, year: int
) -> None:
    class Behind(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return datetime(year, 1, 1, 0, 5, tzinfo=tz)

    monkeypatch.setattr(credentials, "datetime", Behind)
    assert credentials.load_credentials() == credentials.find_credentials()
