"""Decoding is exact on odd files, upright, bounded, and says in one sentence why a file cannot be read."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from mplug2.data.checking import check_files
from mplug2.data.media import video
from mplug2.data.media.frames import frame_indices
from mplug2.data.media.video import read_frames
from mplug2.data.media.video_file import Limits, VideoError, scan_video
from mplug2.data.shapes.write import encode

UNSOUND = "videos/decord/corrupted.mp4"  # 50 packets, of which one is broken


def facts(shared: Path) -> dict[str, dict]:
    known = json.loads((shared / "data/videos/facts.json").read_text())
    return {
        name: fact
        for name, fact in known.items()
        if fact["video"] and (shared / "data" / name).is_file()
    }


def ramp(frames: int, height: int = 32, width: int = 48) -> np.ndarray:
    """Frames whose number can be read off their brightness."""
    levels = (np.arange(frames) * 200 // max(frames - 1, 1) + 20).astype(np.uint8)
    return np.broadcast_to(
        levels[:, None, None, None], (frames, height, width, 3)
    ).copy()


def level(frame: np.ndarray) -> float:
    return float(frame.mean())


# Every fifth file is read quickly, and all of them in a slow test.
every_file = pytest.mark.parametrize(
    "stride", [5, pytest.param(1, marks=pytest.mark.slow)]
)


@every_file
def test_every_odd_file_has_its_true_number_of_frames(
    shared: Path, stride: int
) -> None:
    known = facts(shared)
    assert len(known) > 40
    for name in {UNSOUND, *sorted(known)[::stride]}:
        fact = known[name]
        best = max(fact["video"], key=lambda stream: stream["width"])
        clip = read_frames(
            shared / "data" / name, lambda total: frame_indices(total, 4)
        )
        assert clip.total == best["frames_decoded"], name
        height, width = best["height"], best["width"]
        upright = (width, height) if best["rotation"] % 180 else (height, width)
        assert clip.frames.shape == (4, *upright, 3), name
        assert (clip.errors > 0) == (name == UNSOUND), name


def test_frames_equal_the_reference_decoder(shared: Path) -> None:
    folder = shared / "data/videos/torchcodec"
    clip = read_frames(folder / "nasa_13013.mp4", lambda _: [0, 35, 389])
    for frame, number in zip(clip.frames, (0, 35, 389), strict=True):
        saved = torch.load(
            folder / f"nasa_13013.mp4.stream3.frame{number:06d}.pt", weights_only=True
        )
        assert np.array_equal(
            frame.ravel(), saved.contiguous().numpy().ravel()
        ) or np.array_equal(frame, saved.permute(1, 2, 0).numpy())


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_rotated_videos_stand_upright_as_another_player_shows_them(
    shared: Path, degrees: int
) -> None:
    decord = pytest.importorskip("decord")
    path = shared / f"data/videos/decord/video_{degrees}.mov"
    ours = read_frames(path, lambda _: [0]).frames[0]
    assert ours.shape == ((568, 320, 3) if degrees % 180 else (320, 568, 3))
    assert np.array_equal(ours, decord.VideoReader(str(path))[0].asnumpy())


def test_display_rotation_is_applied_counter_clockwise(shared: Path) -> None:
    for name in ("video_90.mov", "video_180.mov", "video_270.mov"):
        path = shared / "data/videos/decord" / name
        with av.open(str(path)) as container:
            frame = next(container.decode(video=0))
            turned = np.rot90(
                frame.to_ndarray(format="rgb24"),
                {-90: 3, -180: 2, 90: 1}[frame.rotation],
            )
        assert np.array_equal(read_frames(path, lambda _: [0]).frames[0], turned), name


def test_chosen_frames_are_those_of_the_whole_video(tmp_path: Path) -> None:
    path = tmp_path / "ramp.mp4"
    encode(path, ramp(40))
    everything = read_frames(path, range).frames
    assert np.allclose(
        [level(f) for f in everything], [level(f) for f in ramp(40)], atol=3
    )
    some = read_frames(path, lambda total: [0, 7, 7, total - 1])
    assert some.indices == [0, 7, 7, 39]
    assert some.total == 40
    assert np.array_equal(some.frames, everything[[0, 7, 7, 39]])
    assert np.array_equal(
        read_frames(path, lambda _: [3, 9], threads=1).frames, everything[[3, 9]]
    )


def test_a_file_that_breaks_off_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    whole = tmp_path / "whole.mkv"  # a container without an index at its end
    with av.open(str(whole), "w") as container:
        stream = container.add_stream(
            "libx264", rate=Fraction(25), options={"crf": "10", "bf": "0"}
        )
        stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv420p"
        rng = np.random.default_rng(0)
        for _ in range(50):
            picture = rng.integers(0, 255, (32, 48, 3), dtype=np.uint8)
            container.mux(
                stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24"))
            )
        container.mux(stream.encode())
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    asked: list[int] = []

    def choose(total: int) -> list[int]:
        asked.append(total)
        return frame_indices(total, 4)

    clip = read_frames(cut, choose)
    assert 10 < clip.total < 40
    assert clip.indices == frame_indices(clip.total, 4)
    assert asked[-1] == clip.total
    assert np.array_equal(clip.frames, read_frames(whole, range).frames[clip.indices])


@pytest.mark.parametrize("suffix", ["gif", "avi", "webm"])
def test_other_containers(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"clip.{suffix}"
    codec, fmt = {
        "gif": ("gif", "rgb8"),
        "avi": ("mpeg4", "yuv420p"),
        "webm": ("libvpx-vp9", "yuv420p"),
    }[suffix]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(10))
        stream.height, stream.width, stream.pix_fmt = 32, 48, fmt
        for picture in ramp(7):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(
                format=fmt
            )
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    clip = read_frames(path, range)
    assert clip.total == 7
    assert np.all(np.diff([level(frame) for frame in clip.frames]) > 5)


def sound_only(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        stream.layout = "mono"
        for _ in range(4):
            frame = av.AudioFrame.from_ndarray(
                np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono"
            )
            frame.sample_rate = 16000
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def test_what_is_no_video_is_refused_in_one_sentence(tmp_path: Path) -> None:
    good = tmp_path / "good.mp4"
    encode(good, ramp(6))
    sound_only(tmp_path / "sound.mp4")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("this is no video\n" * 60)
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(4000))
    (tmp_path / "cut.mp4").write_bytes(good.read_bytes()[:-600])
    (tmp_path / "head.mp4").write_bytes(good.read_bytes()[:40])
    said = {
        "none.mp4": "does not exist",
        "empty.mp4": r"is empty \(0 bytes\)",
        "sound.mp4": r"holds no video stream \(only audio\)",
        "text.mp4": "is not a video that can be read",
        "noise.mp4": "is not a video that can be read",
        "cut.mp4": "holds no video stream",
        "head.mp4": "is not a video that can be read|holds no video stream",
    }
    for name, message in said.items():
        with pytest.raises(VideoError, match=message) as caught:
            read_frames(tmp_path / name, range)
        assert "\n" not in str(caught.value)
        assert name in str(caught.value)


def stream(path: Path, width: int, height: int, **metadata: str) -> None:
    with av.open(str(path), "w") as container:
        container.metadata.update(metadata)
        track = container.add_stream("mpeg4", rate=Fraction(25))
        track.height, track.width, track.pix_fmt = height, width, "yuv420p"
        for picture in ramp(8, height, width):
            container.mux(
                track.encode(av.VideoFrame.from_ndarray(picture, format="rgb24"))
            )
        container.mux(track.encode())


@pytest.mark.parametrize("argument", ["known", "gone"])
def test_titles_in_any_encoding_do_no_harm(
    tmp_path: Path, argument: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream(tmp_path / "a.avi", 64, 48, title="CAFE")
    if argument == "known":
        content = (tmp_path / "a.avi").read_bytes()
        assert b"CAFE" in content
        (tmp_path / "a.avi").write_bytes(content.replace(b"CAFE", b"CAF\xe9"))
    else:
        known = av.open
        monkeypatch.setattr(av, "open", lambda file, container_options: known(file))
    assert read_frames(tmp_path / "a.avi", range).total == 8


def test_an_unknown_codec_is_named(tmp_path: Path) -> None:
    stream(tmp_path / "a.avi", 64, 48)
    content = (tmp_path / "a.avi").read_bytes()
    assert b"FMP4" in content
    (tmp_path / "a.avi").write_bytes(content.replace(b"FMP4", b"ZZZ9"))
    with pytest.raises(
        VideoError, match=r"a\.avi is encoded by a codec that is not known here"
    ):
        read_frames(tmp_path / "a.avi", range)


def test_a_picture_that_changes_its_size_is_refused_whatever_is_chosen(
    tmp_path: Path,
) -> None:
    stream(tmp_path / "small.ts", 64, 48)
    stream(tmp_path / "large.ts", 128, 96)
    both = tmp_path / "both.mp4"
    both.write_bytes(
        (tmp_path / "small.ts").read_bytes() + (tmp_path / "large.ts").read_bytes()
    )
    said = "changes its frame size from 64x48 to 128x96 pixels in frame 8"
    for choose in (range, lambda _: [0], lambda total: [total - 1]):
        with pytest.raises(VideoError, match=said):
            read_frames(both, choose)
    assert [
        said in finding.reason for finding in check_files(["both"], [both]).bad
    ] == [True]


def test_the_limit_holds_for_what_is_decoded_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream(tmp_path / "a.avi", 64, 48)
    monkeypatch.setattr(
        video, "scan_video", lambda *_: video.Scan(8, 1, 1, False)
    )  # a header that lies
    with pytest.raises(
        VideoError, match="frames of 64x48 pixels; at most 1000 are read"
    ):
        read_frames(tmp_path / "a.avi", range, limits=Limits(pixels=1000))


PLAYLIST = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("hls.m3u8", PLAYLIST),
        ("hls.mp4", PLAYLIST),
        ("concat.mp4", "ffconcat version 1.0\nfile other.ts\n"),
        (
            "sdp.mp4",
            "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\n",
        ),
    ],
)
def test_lists_that_name_other_files_are_no_videos(
    tmp_path: Path, name: str, content: str
) -> None:
    stream(tmp_path / "other.ts", 64, 48)
    (tmp_path / name).write_text(content.format(tmp_path / "other.ts"))
    with pytest.raises(VideoError, match=rf"{name} is not a video that can be read"):
        read_frames(tmp_path / name, range)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (Limits(bytes=100), "at most 100 are read"),
        (Limits(frames=10), "more than 10 frames"),
        (Limits(pixels=1000), "frames of 48x32 pixels"),
        (Limits(seconds=0), "took more than 0 s"),
    ],
)
def test_limits(tmp_path: Path, limits: Limits, message: str) -> None:
    path = tmp_path / "ramp.mp4"
    encode(path, ramp(20))
    with pytest.raises(VideoError, match=message):
        read_frames(path, lambda _: [0], limits=limits)


@every_file
def test_decord_reads_only_what_it_is_known_to_read_right(
    shared: Path, stride: int
) -> None:
    pytest.importorskip("decord")
    names = sorted(facts(shared))[::stride]
    plain = [name for name in names if scan_video(shared / "data" / name).plain]
    assert len(plain) > 25 / stride
    assert not any(
        name.endswith((".gif", ".avi", ".webm", ".mkv", ".mpg")) for name in plain
    )
    for name in names:
        path = shared / "data" / name
        reference = read_frames(path, lambda total: frame_indices(total, 3))
        other = read_frames(
            path, lambda total: frame_indices(total, 3), decoder="decord"
        )
        assert (other.total, other.indices) == (reference.total, reference.indices), (
            name
        )
        assert np.abs(other.frames.astype(int) - reference.frames).mean() < 2, name


def test_checking_names_every_file_that_cannot_be_decoded(tmp_path: Path) -> None:
    encode(tmp_path / "good.mp4", ramp(6))
    (tmp_path / "bad.mp4").write_bytes(b"nothing")
    files = [tmp_path / "good.mp4", tmp_path / "bad.mp4", tmp_path / "gone.mp4"]
    checked = check_files(["good", "bad", "gone"], files, workers=1)
    assert checked.files == 3
    assert [finding.video_id for finding in checked.bad] == ["bad", "gone"]


def test_checking_reports_damage(shared: Path) -> None:
    checked = check_files(["c"], [shared / "data" / UNSOUND])
    assert [f.usable for f in checked.findings] == [True]
    assert not checked.bad
    assert "1 broken packets, 49 frames decode" in checked.findings[0].reason


def test_frames_that_unfold_to_too_much_memory_are_refused_or_reduced(
    tmp_path: Path,
) -> None:
    path = tmp_path / "one.mp4"
    encode(path, ramp(1))
    limits = Limits(kept_bytes=15 * 32 * 48 * 3)
    with pytest.raises(
        VideoError,
        match=r"16 frames of 48x32 pixels need 73728 bytes, but at most 69120",
    ):
        read_frames(path, lambda _: [0] * 16, limits=limits)
    clip = read_frames(
        path, lambda _: [0] * 16, limits=limits, shrink=lambda frame: frame[::4, ::4]
    )
    assert clip.frames.shape == (16, 8, 12, 3)
