"""`mplug2.pipeline` on real files with random weights: every kind of goal, lists, pairs, files that break."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from askable import everything, ready

import mplug2
from mplug2.data.media.image import ImageError
from mplug2.data.media.video_file import VideoError
from mplug2.predict.answers import answered
from mplug2.predict.pipeline import Pipeline
from mplug2.predict.result import Result
from registry import UserError, read_spec


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A folder with files, and a spec with weights for every kind of goal."""
    with everything(tmp_path_factory.mktemp("asked")) as folder:
        yield folder


@pytest.fixture(scope="module")
def captions(made: Path) -> Pipeline:
    return ready(made, "caption", top=3)


def clip(folder: Path, number: int = 0) -> str:
    return str(folder / f"clip{number}.mp4")


def still(folder: Path, number: int = 0) -> str:
    return str(folder / f"still{number}.png")


def test_a_caption_needs_no_question_and_goes_on_from_the_prompt_of_the_data(
    made: Path, captions: Pipeline
) -> None:
    prompts: list[Any] = []
    net = captions.net
    handle = net.register_forward_pre_hook(
        lambda _, given: prompts.append(given[0]["prompt"])
    )
    found = captions(clip(made))
    handle.remove()
    assert isinstance(found, Result)
    assert found.media == (clip(made),) and found.question is None
    assert [guess.score for guess in found.guesses] == sorted(
        (guess.score for guess in found.guesses), reverse=True
    )
    assert 1 <= len(found.guesses) <= 3 and found.text == found.guesses[0].text
    (prompt,) = prompts
    assert prompt.ids[0].tolist() == captions.tokenizer.encode("a video of")


def test_a_list_is_answered_in_order_in_batches_as_each_file_alone(
    made: Path, captions: Pipeline
) -> None:
    files = [clip(made, number) for number in (2, 0, 1, 0)]
    before = torch.get_rng_state()
    stream = captions(Path(file) for file in files)
    assert not isinstance(stream, Result | list)
    found = list(stream)
    assert [result.media for result in found] == [(file,) for file in files]
    assert torch.equal(before, torch.get_rng_state())
    for file, result in zip(files, found, strict=True):
        alone = captions(file)
        assert isinstance(alone, Result)
        assert alone.text == result.text
        assert alone.score == pytest.approx(result.score, abs=1e-4)


def test_a_broken_file_is_an_error_alone_and_a_result_in_a_list(
    made: Path, captions: Pipeline
) -> None:
    broken = str(made / "broken.mp4")
    with pytest.raises(VideoError, match="broken.mp4 is not a video"):
        captions(broken)
    found = list(captions([broken, clip(made), str(made / "missing.mp4")]))  # type: ignore[arg-type]
    assert [bool(result.error) for result in found] == [True, False, True]
    assert "missing.mp4 does not exist" in str(found[2].error)
    with pytest.raises(ImageError, match="broken.png"):
        ready(made, "entailment")(image=made / "broken.png", question="it is red")


def test_a_batch_of_broken_files_does_not_reach_the_network(
    made: Path, captions: Pipeline
) -> None:
    reached: list[Any] = []
    handle = captions.net.register_forward_pre_hook(
        lambda _, given: reached.append(given)
    )
    found = list(captions([made / "broken.mp4", made / "no.mp4"]))  # type: ignore[arg-type]
    handle.remove()
    assert [result.error is None for result in found] == [False, False]
    assert not reached


def test_classes_have_their_names_and_probabilities(made: Path) -> None:
    pipe = ready(made, "entailment")
    found = pipe(image=still(made), question="It is RED!")
    assert isinstance(found, Result)
    assert {guess.text for guess in found.guesses} == {"yes", "no", "unknown"}
    assert sum(guess.score or 0 for guess in found.guesses) == pytest.approx(
        1, abs=1e-5
    )
    assert found.score == max(guess.score or 0 for guess in found.guesses)
    cleaned = pipe(image=still(made), question="it is red")
    assert isinstance(cleaned, Result)
    assert cleaned.score == pytest.approx(
        found.score
    )  # cleaned as the reader of the spec does
    assert (
        len(ready(made, "entailment", top=2)(still(made), question="red").guesses) == 2
    )  # type: ignore[union-attr]


def test_several_questions_give_a_list_and_the_image_is_encoded_once(
    made: Path,
) -> None:
    pipe = ready(made, "entailment")
    seen: list[torch.Size] = []

    def note(module: Any, positional: Any, named: dict[str, Any]) -> None:
        # `requested` holds names of outputs, no values
        values = [
            *positional,
            *(value for name, value in named.items() if name != "requested"),
        ]
        seen.extend(value.shape for value in values)

    pipe.net.get_module("vision").register_forward_pre_hook(note, with_kwargs=True)
    found = pipe(still(made), question=["it is red", "it is a ring"])
    assert isinstance(found, list)
    assert [result.question for result in found] == ["it is red", "it is a ring"]
    assert seen == [torch.Size([1, 3, 32, 32])]


def test_pairs_keep_their_order_and_without_an_index_they_repeat(made: Path) -> None:
    pipe = ready(made, "pairs")
    batches: list[dict[str, Any]] = []
    pipe.net.register_forward_pre_hook(lambda _, given: batches.append(given[0]))
    first, second = still(made, 0), still(made, 1)
    one = pipe(image=(first, second), question=["both are red", "one is red"])
    assert isinstance(one, list)
    assert one[0].row()["images"] == [first, second]
    other = pipe([second, first], question="both are red")
    assert isinstance(other, Result)
    both = list(pipe([(first, second), (second, first)], question="both are red"))  # type: ignore[arg-type]
    assert [result.media for result in both] == [(first, second), (second, first)]
    repeated, turned, _ = batches
    assert repeated["left"].shape == (2, 3, 32, 32)
    assert torch.equal(repeated["left"][0], repeated["left"][1])
    assert torch.equal(repeated["left"][0], turned["right"][0])
    assert not torch.equal(repeated["left"][0], repeated["right"][0])
    assert both[0].score == pytest.approx(one[0].score, abs=1e-5)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_boxes_come_back_in_pixels_of_the_file(made: Path, number: int) -> None:
    """The network sees a square with the image in its middle; half the square is half the longer side."""
    found = ready(made, "grounding")(still(made, number), question="the ring")
    assert isinstance(found, Result)
    width, height = 64, 40 + 8 * number
    assert found.box is not None
    left, top, right, bottom = found.box
    assert (left, right) == pytest.approx((16, 48))
    # the square has 32 pixels, so half of one of them, which is one of the file's, may be lost above
    assert (top, bottom) == pytest.approx((height / 2 - 16, height / 2 + 16), abs=1.01)
    assert width == 64 and 0 <= top < bottom <= height


def test_checkpoints_are_found_in_the_run_folder(made: Path, tmp_path: Path) -> None:
    pipe = ready(made, "caption")
    assert pipe.checkpoint == made / "runs" / "caption" / "best"
    assert (
        repr(pipe)
        == f"<mplug2 pipeline caption: a video to a text; {pipe.checkpoint} on cpu>"
    )
    with pytest.raises(
        UserError, match=r"nothing.best does not exist; train one .*checkpoint=PATH"
    ):
        ready(made, "caption", f"train.output_dir={tmp_path / 'nothing'}")


@pytest.mark.parametrize(
    ("name", "call", "message"),
    [
        (
            "caption",
            {"media": "clip0.mp4", "question": "what?"},
            "reads videos alone: leave the question out",
        ),
        ("caption", {"image": "still0.png"}, "reads videos: call it with a file"),
        ("caption", {}, "reads videos: call it with a file"),
        (
            "entailment",
            {"image": "still0.png"},
            "needs a text for each image (input 'sentence')",
        ),
        ("entailment", {"image": "still0.png", "question": " "}, "at least one word"),
        (
            "entailment",
            {"image": [("a.png", "b.png")], "question": "red"},
            "takes 1 image(s) at once",
        ),
        (
            "pairs",
            {"image": "still0.png", "question": "red"},
            "takes 2 image(s) at once",
        ),
        (
            "pairs",
            {"image": [], "question": "red"},
            "takes 2 image(s) at once, but is given none",
        ),
    ],
)
def test_what_a_network_cannot_be_asked_is_said_before_anything_is_read(
    made: Path, name: str, call: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError) as caught:
        ready(made, name)(**call)
    assert message in str(caught.value)


def test_a_goal_that_says_nothing_to_a_person_is_refused_with_what_it_gives(
    made: Path,
) -> None:
    with pytest.raises(
        UserError,
        match=r"goal 'embed' must give one of .*sequences \(a text\), but gives seen: tokens Q",
    ):
        ready(made, "pairs", "eval.goal=embed")
    with pytest.raises(
        UserError, match="answers nothing: search a folder with `mplug2 index build`"
    ):
        answered(
            mplug2.compose("configs_image/retrieval_shapes_tiny.yaml", initial=False),
            "predict",
        )


def test_a_spec_without_a_reader_or_a_vocabulary_is_refused(made: Path) -> None:
    with pytest.raises(UserError, match="data.task must name a task to predict with"):
        ready(made, "caption", "data=")
    with pytest.raises(UserError, match="eval.goal|no goal 'later'"):
        ready(made, "caption", "eval.goal=later")


def test_pictures_are_small_and_only_there_when_asked_for(
    made: Path, captions: Pipeline
) -> None:
    (plain,) = next(captions.stream([(clip(made),)]))
    assert [(look.width, look.height, look.pictures) for look in plain.looks] == [
        (64, 48, ())
    ]
    (shown,) = next(captions.stream([(clip(made),)], pictures=4))
    (look,) = shown.looks
    assert len(look.pictures) == 3  # the network sees three frames
    assert all(
        picture.startswith(b"\xff\xd8") and len(picture) < 20_000
        for picture in look.pictures
    )


def test_importing_the_name_imports_no_torch() -> None:
    code = "import sys, mplug2; assert 'pipeline' in dir(mplug2); assert 'torch' not in sys.modules"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_reading_process_that_dies_is_told_with_the_files_near_it(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(path: Path, *_: Any, **__: Any) -> None:
        os._exit(9)

    monkeypatch.setattr("mplug2.data.media.folder.read_frames", killed)
    stream = ready(made, "caption", "data.workers=1")(
        clip(made, number) for number in range(3)
    )
    with pytest.raises(
        UserError, match="after 0 files, near .*clip0.mp4, .*data.workers=0"
    ):
        list(stream)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("question", "said"),
    [
        (5, "a question must be a text, but is 5"),
        (["red", 5], "a question must be a text, but is 5"),
        ("?!", r"must have at least one word, but is '\?!'"),
        ("caf\udce9", r"must be valid text \(UTF-8\), but is 'caf.udce9'"),
        ("", "must have at least one word"),
    ],
)
def test_what_is_no_question_is_refused(made: Path, question: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        ready(made, "entailment")(still(made), question=question)


def test_top_and_device_are_judged(made: Path) -> None:
    for top in (0, -1):
        with pytest.raises(
            UserError, match=f"top must be an integer of at least 1, but is {top}"
        ):
            ready(made, "entailment", top=top)
    for device in ("nope", "cpu:x", "meta:-3"):
        with pytest.raises(
            UserError,
            match=f"device must be one that PyTorch has here, but is '{device}'",
        ):
            ready(made, "entailment", device=device)


def test_a_question_longer_than_the_network_reads_is_refused_or_cut(made: Path) -> None:
    long = "red " * 40
    with pytest.raises(
        UserError,
        match=r"'sentence' must be at most 32 tokens long.*data.sentence_tokens=32",
    ):
        ready(made, "entailment")(still(made), question=long)
    pipe = ready(made, "entailment", "data.sentence_tokens=32")
    assert isinstance(pipe(still(made), question=long), Result)


@pytest.mark.parametrize(
    "name", ["configs_image/vqa", "configs_image/entailment", "configs_image/pairs"]
)
def test_shipped_specs_cut_what_their_networks_cannot_read(name: str) -> None:
    spec = read_spec(Path(__file__).resolve().parents[2] / f"{name}_shapes_tiny.yaml")
    limit = spec.data.get("question_tokens") or spec.data.get("sentence_tokens")
    assert limit == spec.modules["text_embedding"].arguments["max_positions"]
