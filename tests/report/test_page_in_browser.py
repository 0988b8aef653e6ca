"""`report.html` in Chromium: it opens in silence, shows every figure, sorts, and fits a phone and the dark."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from made_rows import make_row
from playwright.sync_api import Browser, Page, sync_playwright
from searches import pairs

from eca_ablate.report import write_rows
from eca_ablate.report.about import About, write_about
from eca_ablate.report.publish import publish

PHONE, DESK = 375, 1280
EVIL = "<script>document.body.dataset.hacked=1</script><img src=x onerror=document.body.dataset.hacked=1>"
LONG = "a-label-that-has-no-place-to-break-" * 4

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        words = "needs Chromium on the PATH: apt-get install chromium, or your system's package of it"
        if os.environ.get("CI") == "true":
            pytest.fail(words)
        pytest.skip(words)
    with sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=path, timeout=120_000)
        yield found
        found.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The page of a table with labels of the worst kind, and that of a search."""
    table = tmp_path_factory.mktemp("table")
    rows = []
    heads = [("Vanilla", "none", 0), (EVIL, "se", 2016), (LONG, "eca", 27), ("SE-Var3", "se_var3", 16_128)]
    for at, (label, head, weights) in enumerate(heads):
        for seed in range(4):
            accuracy = 9.5 if at == 3 else 97 + at + 0.1 * seed * at
            speed = 900.0 - at - seed
            rows.append(
                make_row(
                    label,
                    seed,
                    row=at,
                    head=head,
                    head_weights=weights,
                    weights=272_026 + weights,
                    test_top1=min(accuracy, 100.0),
                    images_per_second=speed,
                )
            )
    rows += [make_row("Lost", seed, row=4, status="diverged", test_top1=None, head_weights=None) for seed in range(4)]
    write_rows(table, rows)
    write_about(table, About(f"Is {EVIL} a label?", "It is.", f"eca-ablate run {LONG}"))
    search = pairs().write(tmp_path_factory.mktemp("search"))
    write_rows(search, [make_row(name, seed, row=at) for at, name in enumerate(("Winner", "ECA")) for seed in range(3)])
    return {"table": publish(table).page, "search": publish(search).page}


@pytest.fixture
def opened(browser: Browser, files: dict[str, Path]) -> Iterator[Open]:
    """Open a page; at the end, it must have said nothing, asked for nothing, and run nothing that is not ours."""
    contexts, said, asked = [], [], []

    def open_page(name: str = "table", width: int = DESK, scheme: str = "light", **options: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(files[name].as_uri())
        return page

    yield open_page
    own = {path.as_uri() for path in files.values()}
    assert said == []
    assert [url for url in asked if url not in own and not url.startswith("data:")] == []
    for context in contexts:
        for page in context.pages:
            assert page.evaluate("document.body.dataset.hacked") is None
        context.close()


def column(page: Page, table: int, name: str) -> list[str]:
    """Return the texts of a column, from top to bottom."""
    script = """([table, name]) => {
        const found = document.querySelectorAll("table")[table];
        const at = [...found.tHead.rows[0].cells].findIndex((cell) => cell.textContent === name);
        return [...found.tBodies[0].rows].map((row) => row.cells[at].textContent);
    }"""
    return page.evaluate(script, [table, name])


def header(page: Page, name: str) -> Any:
    return page.locator("table").first.get_by_role("columnheader", name=name, exact=True)


@pytest.mark.parametrize("name", ["table", "search"])
def test_every_figure_is_shown(opened: Open, name: str) -> None:
    page = opened(name)
    images = page.locator("figure img")
    assert images.count() == {"table": 3, "search": 5}[name]
    for image in images.all():
        image.scroll_into_view_if_needed()
        assert image.evaluate("image => image.complete && image.naturalWidth") > 100
        box = image.bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) > 80
        assert image.get_attribute("alt")


def test_a_header_sorts_numbers_as_numbers_and_then_reverses(opened: Open) -> None:
    page = opened()
    assert header(page, "Weights").get_attribute("aria-sort") is None
    first = column(page, 0, "Method")
    page.get_by_role("button", name="Head weights").click()
    assert column(page, 0, "Head weights") == ["0", "27", "2,016", "16,128", "–"]
    assert header(page, "Head weights").get_attribute("aria-sort") == "ascending"
    page.get_by_role("button", name="Head weights").click()
    assert column(page, 0, "Head weights") == ["16,128", "2,016", "27", "0", "–"], "what is missing stays last"
    assert header(page, "Head weights").get_attribute("aria-sort") == "descending"
    page.get_by_role("button", name="Top-1 (%)").click()
    assert column(page, 0, "Top-1 (%)")[0].startswith("9.50")
    assert page.locator("[aria-sort]").count() == 1
    assert sorted(column(page, 0, "Method")) == sorted(first)


def test_a_header_sorts_by_the_keyboard_and_texts_as_texts(opened: Open) -> None:
    page = opened("search")
    before = column(page, 2, "Rank")
    button = page.locator("table").nth(2).get_by_role("button", name="k", exact=True)
    button.focus()
    page.keyboard.press("Enter")
    sizes = column(page, 2, "k")
    assert sizes[0] == "1-1-1"
    assert sizes[-1] == "9-11-11", "9 comes before 11"
    page.keyboard.press("Space")
    assert column(page, 2, "k") == sizes[::-1]
    assert column(page, 2, "Rank") != before


@pytest.mark.parametrize("name", ["table", "search"])
@pytest.mark.parametrize("width", [320, PHONE, 768, DESK])
def test_the_page_never_goes_sideways(opened: Open, name: str, width: int) -> None:
    page = opened(name, width)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert page.evaluate("document.scrollingElement.scrollWidth") <= width
    if width <= PHONE:
        boxes = page.locator(".box")
        assert boxes.first.evaluate("box => box.scrollWidth > box.clientWidth"), "a table scrolls in its own box"
        assert all(box.get_attribute("tabindex") == "0" for box in boxes.all()), "by the keyboard too"
        names = page.locator("tbody th").all()
        assert max(cell.bounding_box()["width"] for cell in names) < 0.6 * width


# The contrast of a text with what lies behind it, by WCAG 2.
CONTRAST = """() => {
    const light = (colour) => {
        const parts = colour.match(/[\\d.]+/g).slice(0, 3).map((part) => {
            const share = part / 255;
            return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
    };
    const behind = (element) => {
        for (let at = element; at; at = at.parentElement) {
            const colour = getComputedStyle(at).backgroundColor;
            if (!/, 0\\)$/.test(colour)) return colour;
        }
        return "rgb(255, 255, 255)";
    };
    const found = [];
    for (const element of document.querySelectorAll("body *")) {
        const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
        if (!own || element.tagName === "SCRIPT") continue;
        const pair = [light(getComputedStyle(element).color), light(behind(element))].sort((a, b) => b - a);
        found.push([(pair[0] + 0.05) / (pair[1] + 0.05), element.tagName + ": " + element.textContent.slice(0, 40)]);
    }
    return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_can_be_read(opened: Open, scheme: str) -> None:
    page = opened("search", scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")
    found = page.evaluate(CONTRAST)
    assert len(found) > 200
    assert [pair for pair in found if pair[0] < 4.5] == []


def test_figures_lie_on_a_light_card_in_the_dark(opened: Open) -> None:
    page = opened(scheme="dark")
    for card in page.locator(".card").all():
        colour = card.evaluate("card => getComputedStyle(card).backgroundColor")
        assert min(int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(",")) > 200


def test_a_label_is_shown_as_it_is_written(opened: Open) -> None:
    page = opened()
    assert EVIL in column(page, 0, "Method")
    assert page.locator("h1").text_content() == f"Is {EVIL} a label?"
    assert page.locator("td img, th img, h1 img").count() == 0


def test_a_script_that_got_in_would_not_run(browser: Browser, files: dict[str, Path], tmp_path: Path) -> None:
    changed = tmp_path / "changed.html"
    changed.write_text(files["table"].read_text().replace("<main>", f"<main><b>{EVIL}</b>"))
    page = browser.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.goto(changed.as_uri())
    assert page.locator("main > b > script").count() == 1
    assert page.evaluate("document.body.dataset.hacked") is None
    assert any("Content Security Policy" in text for text in said)
    page.close()


def test_without_scripts_everything_is_there_but_the_buttons(opened: Open) -> None:
    page = opened(java_script_enabled=False)
    assert page.get_by_role("columnheader", name="Head weights").is_visible()
    assert page.get_by_role("button").count() == 0


def test_printing_keeps_dark_colours_off_the_paper(opened: Open) -> None:
    page = opened(scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert min(pair[0] for pair in page.evaluate(CONTRAST)) >= 4.5
