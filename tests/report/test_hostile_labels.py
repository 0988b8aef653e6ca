"""Labels come from files that others wrote: they are text in every format, and never markup or commands."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest
from made_rows import make_row

from eca_ablate.report import write_rows
from eca_ablate.report.publish import publish

LABELS = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\\input{/etc/passwd}",
    "a|b",
    "[x](javascript:alert(1))",
    "&lt;b&gt; \" onmouseover=alert(1) '",
)


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("<b>hostile|folder")
    rows = [
        make_row(label, seed, row=number, network=f"net-{number}", key=f"key-{number}-{seed}", device=label)
        for number, label in enumerate(LABELS)
        for seed in range(2)
    ]
    write_rows(place, rows)
    publish(place, "eca-ablate run '<script>alert(2)</script>|.yaml'")
    return place


def test_html_has_no_tag_of_theirs(folder: Path) -> None:
    tags = Tags()
    tags.feed((folder / "report.html").read_text(encoding="utf-8"))
    assert sum(tag == "script" for tag, _ in tags.found) == 1, "the page's own"
    assert not [attrs for _, attrs in tags.found if any(name.startswith("on") for name in attrs)]
    assert not [attrs for _, attrs in tags.found if (attrs.get("href") or "").startswith("javascript:")]
    assert not [tag for tag, attrs in tags.found if tag == "img" and attrs.get("src") == "x"]


def test_latex_has_no_command_of_theirs(folder: Path) -> None:
    text = (folder / "table.tex").read_text(encoding="utf-8")
    assert "etc/passwd" in text
    assert "\\input" not in text


def test_markdown_has_no_cell_tag_or_link_of_theirs(folder: Path) -> None:
    text = (folder / "table.md").read_text(encoding="utf-8")
    lines = [line for line in text.partition("\n\n")[0].splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(LABELS)
    bars = {line.replace("\\|", "").count("|") for line in lines}
    assert len(bars) == 1
    for theirs in ("<script", "<img", "[x]("):
        assert theirs not in text
