"""README and docs: links lead somewhere, no page is too long, and the README's spec and message are real."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

import mplug2
import registry
from mplug2.cli.app import app

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not {".venv", ".cache", "runs"} & set(path.parts)
)
MAX_LINES = 350
MAX_REFERENCE_LINES = 650  # of the pages that `tools/reference.py` writes: a reader looks entries up there
MESSAGE = re.compile(
    r"```\n(configs_video/my_task\.yaml:3:12: .*?)```", flags=re.DOTALL
)


def slug(heading: str) -> str:
    """Return the anchor that GitHub gives to a heading."""
    words = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return words.replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists():
            broken.append(link)
        elif anchor:
            headings = re.findall(
                r"^#+ (.*)$", target.read_text(encoding="utf-8"), flags=re.MULTILINE
            )
            if anchor not in [slug(heading) for heading in headings]:
                broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_are_short(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    limit = (
        MAX_REFERENCE_LINES
        if "tools/reference.py`: edit the code" in text
        else MAX_LINES
    )
    assert len(text.splitlines()) <= limit


def test_every_guide_is_in_the_table_of_contents() -> None:
    contents = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    missing = [
        page.name
        for page in (ROOT / "docs").glob("*.md")
        if f"({page.name})" not in contents
    ]
    assert [name for name in missing if name != "README.md"] == []


def test_the_spec_of_the_readme_is_right_and_so_are_its_types(tmp_path: Path) -> None:
    body = re.findall(r"```yaml\n(.*?)```", README, flags=re.DOTALL)[0]
    path = tmp_path / "readme.yaml"
    path.write_text(body, encoding="utf-8")
    report = registry.check(registry.read_spec(path))
    assert [problem.message for problem in report.problems] == []
    # Only streams whose comment is a single type: `both` has two named parts.
    comments = re.findall(
        r"^  (\w+): .*?# ([a-z]\w*(?: [\w+]+)*)",
        body.partition("\nflow:")[2],
        flags=re.MULTILINE,
    )
    assert len(comments) == 11
    for stream, written in comments:
        kind, *axes = written.split(" ")
        solved = report.types[stream]
        assert (stream, kind) == (stream, solved.kind)
        assert (stream, len(axes)) == (stream, len(solved.axes))
        for axis, size in zip(axes, solved.axes, strict=True):
            if isinstance(size, int):
                assert (stream, axis) == (stream, str(size))


def test_the_message_of_the_readme_is_real(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    match = MESSAGE.search(README)
    assert match
    folder = tmp_path / "configs_video"
    folder.mkdir()
    base = ROOT / "configs_video" / "VideoQA_msrvtt_large.yaml"
    (folder / "my_task.yaml").write_text(
        f"extends: {base}\nmodules:\n  fusion: {{strid: 3}}\n"
    )
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(
        app, ["check", "configs_video/my_task.yaml", "--stages", "1-3"]
    )
    assert done.exit_code == 2
    assert done.output.startswith(match.group(1))


NOT_FUNCTIONS = {"Network", "Batch", "Spec"}  # described where functions return them


def test_every_public_name_is_in_the_page_on_python() -> None:
    page = (ROOT / "docs" / "python_functions.md").read_text(encoding="utf-8")
    missing = [name for name in mplug2._PUBLIC if f"`{name}" not in page]
    assert set(missing) <= NOT_FUNCTIONS


def test_an_example_on_python_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs" / "python_functions.md").read_text(encoding="utf-8")
    monkeypatch.chdir(ROOT)
    exec(re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)[0], {})
    assert capsys.readouterr().out.startswith("[] tokens V ")
