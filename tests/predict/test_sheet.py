"""Contact sheets: complete or absent, self-contained, harmless whatever files are called, bounded."""

from __future__ import annotations

from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from mplug2.predict import sheet as sheets
from mplug2.predict.result import Look, Prediction, Result
from mplug2.predict.sheet import Sheet
from registry import UserError

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=y>.mp4"


def look(pictures: int = 1, colour: tuple[int, int, int] = (200, 30, 30)) -> Look:
    file = BytesIO()
    Image.new("RGB", (64, 48), colour).save(file, "JPEG")
    return Look(640, 480, (file.getvalue(),) * pictures)


def said(name: str = "clip.mp4", **more: object) -> Result:
    guesses = (Prediction("a red square", -0.5), Prediction("a ring", -2.0))
    given: dict = {"guesses": guesses, "looks": (look(4),)}
    return Result((name,), "video", **{**given, **more})


class Page(HTMLParser):
    """The tags, their attributes and the words of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(
        self, tag: str, attributes: list[tuple[str, str | None]]
    ) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data: str) -> None:
        self.words.append(data.strip())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_html_holds_pictures_and_words_and_nothing_that_runs_or_is_fetched(
    tmp_path: Path,
) -> None:
    path = tmp_path / "sheet.html"
    with Sheet(path, EVIL) as sheet:
        sheet.add(
            [
                said(
                    EVIL,
                    question=EVIL,
                    guesses=(Prediction(EVIL, -1.0), Prediction(EVIL, -2.0)),
                )
            ]
        )
        sheet.add(
            [said("bad.mp4", guesses=(), error=f"{EVIL} is not a video", looks=())]
        )
    page = Page(path.read_text(encoding="utf-8"))
    assert not page.all("script")
    pictures = page.all("img")
    assert len(pictures) == 4
    assert all(
        (one["src"] or "").startswith("data:image/jpeg;base64,") for one in pictures
    )
    assert not [
        name
        for _, attributes in page.tags
        for name in attributes
        if name.startswith("on")
    ]
    assert page.words.count(EVIL) >= 3
    assert {"cannot be read", "2 files \N{MIDDLE DOT} 1 could not be read"} <= set(
        page.words
    )
    assert (
        page.all("meta")[1]["content"]
        == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    )


def test_boxes_lie_on_the_picture_in_parts_of_it(tmp_path: Path) -> None:
    path = tmp_path / "sheet.html"
    with Sheet(path, "boxes") as sheet:
        sheet.add(
            [
                said(
                    guesses=(Prediction("", box=(64.0, 48.0, 320.0, 240.0)),),
                    looks=(look(),),
                )
            ]
        )
    (box,) = [
        one for one in Page(path.read_text()).all("div") if one.get("class") == "box"
    ]
    assert box["style"] == "left: 10.00%; top: 10.00%; width: 40.00%; height: 40.00%"


def test_png_shows_cards_side_by_side_with_boxes_on_pictures(tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    with Sheet(path, "heading " * 100) as sheet:
        for number in range(5):
            sheet.add([said(f"{number}" * 300, question="what is it? " * 90)])
        sheet.add(
            [
                said(
                    guesses=(Prediction("", box=(64.0, 48.0, 320.0, 240.0)),),
                    looks=(look(),),
                )
            ]
        )
        sheet.add([said(guesses=(), error="no video\x00 at all", looks=())])
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    assert picture.width == 4 * 320 + 3 * 20 + 2 * 32
    colours = {colour for _, colour in picture.getcolors(1 << 24) or []}  # type: ignore[misc]
    assert any(
        abs(colour[0] - 229) < 12 and abs(colour[1] - 72) < 12 for colour in colours
    )  # type: ignore[index]


@pytest.mark.parametrize("suffix", [".html", ".png"])
def test_past_its_bound_a_sheet_says_what_it_leaves_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.setitem(sheets.MOST, suffix, 2)
    with Sheet(tmp_path / f"sheet{suffix}", "many") as sheet:
        for number in range(5):
            sheet.add([said(f"{number}.mp4")])
        assert sheet._notes() == ["5 files", "the first 2 are shown"]
    if suffix == ".html":
        assert (tmp_path / "sheet.html").read_text().count("<article") == 2


@pytest.mark.parametrize("suffix", [".html", ".png"])
def test_an_empty_sheet_is_a_sheet_and_an_interrupted_one_is_none(
    tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"sheet{suffix}"
    with Sheet(path, "none"):
        pass
    before = path.read_bytes()

    def interrupted() -> None:
        with Sheet(path, "never") as sheet:
            sheet.add([said()])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    "name", ["sheet.pdf", "sheet", "no/such/folder/sheet.html", "."]
)
def test_where_no_sheet_can_be_is_said_at_once(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="contact sheet"):
        Sheet(tmp_path / name, "x")


def test_a_tall_picture_or_many_questions_make_no_endless_card(tmp_path: Path) -> None:
    file = BytesIO()
    Image.new("RGB", (1, 384)).save(file, "JPEG")
    tall = Look(4, 30000, (file.getvalue(),))
    with Sheet(tmp_path / "tall.png", "h") as page:
        page.add(
            [
                said(looks=(tall,), question=f"what is {number}?")
                for number in range(500)
            ]
        )
    with Image.open(tmp_path / "tall.png") as picture:
        assert picture.height < 1800


@pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="this system has no full device"
)
@pytest.mark.parametrize("suffix", [".html", ".png"])
def test_a_full_disk_is_a_message_and_leaves_no_sheet(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Path.open
    monkeypatch.setattr(
        Path, "open", lambda path, mode: opened(Path("/dev/full"), mode)
    )

    def fill() -> None:
        with Sheet(tmp_path / f"full{suffix}", "h") as page:
            for _ in range(20):
                page.add([said()])

    with pytest.raises(
        UserError, match=rf"full\{suffix} cannot be written \(No space left on device\)"
    ):
        fill()
    assert not list(tmp_path.iterdir())
