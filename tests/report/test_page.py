"""`report.html` as a file: what it says, that it needs nothing else, and that texts from outside stay texts."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from made_rows import make_row
from searches import Made, pairs

from eca_ablate.config import RunConfig
from eca_ablate.report import RowsWarning, load, write_rows
from eca_ablate.report.about import About, load_about, write_about
from eca_ablate.report.comparison_table import compare_table
from eca_ablate.report.page.parts import make_table, number
from eca_ablate.report.page.verdict import verdict
from eca_ablate.report.publish import publish

RESULTS = Path(__file__).parents[2] / "results"
EVIL = "<script>document.title='run'</script>"


def page_of(folder: Path, rows: list[dict] | None = None) -> str:
    if rows is not None:
        write_rows(folder, rows)
    return publish(folder).page.read_text()


class Outline(HTMLParser):
    """Collects tags, their attributes and what text stands in each kind of tag."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, "tags are nested"

    def handle_data(self, data):
        if self.open:
            self.texts.setdefault(self.open[-1], []).append(data)


def arm(label: str, values: list[float], at: int = 1, **changes) -> list[dict]:
    return [make_row(label, seed, row=at, test_top1=value, **changes) for seed, value in enumerate(values)]


def said(tmp_path: Path, *rows: list[dict]) -> list[str]:
    write_rows(tmp_path, [row for group in rows for row in group])
    return verdict(compare_table(load(tmp_path)))


VANILLA = arm("Vanilla", [90.0, 91.0, 90.5, 90.2, 90.9], 0, head="none")


def test_the_page_is_one_file_that_asks_for_nothing_else(tmp_path, table2):
    text = page_of(tmp_path, table2)
    outline = Outline(text)
    assert outline.open == []
    for tag, attributes in outline.tags:
        assert tag not in ("iframe", "object", "embed", "base", "form")
        for name in ("src", "href", "srcset", "action"):
            address = attributes.get(name)
            assert address is None or address.startswith(("data:", "#")), (tag, address)
        assert not [name for name in attributes if name.startswith("on") or name == "style"]
    assert not re.search(r"@import|url\(", text)
    assert "http" not in "".join("".join(texts) for texts in outline.texts.values())


def test_only_our_own_style_and_script_are_allowed_to_act(tmp_path, table2):
    text = page_of(tmp_path, table2)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy
    for tag, kind in (("style", "style-src"), ("script", "script-src")):
        (inside,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{kind} 'sha256-{digest}'" in policy


def test_texts_from_outside_stay_texts(tmp_path):
    write_about(tmp_path, About(question=f"Is {EVIL} safe?", expected=f'"{EVIL}', command=f"run '{EVIL}'"))
    text = page_of(
        tmp_path,
        arm(EVIL, [90, 91, 92], 0, head=EVIL, device=EVIL, experiment=EVIL, formula=EVIL, code_version=EVIL)
        + arm('"><img src=x onerror=alert(1)>', [90, 91, 92], 1, recipe=json.dumps({"lr": EVIL})),
    )
    assert EVIL not in text
    assert "<img src=x" not in text
    outline = Outline(text)
    assert [tag for tag, _ in outline.tags].count("script") == 1
    assert f"Is {EVIL} safe?" in "".join(outline.texts["h1"])
    assert EVIL in "".join(outline.texts["th"])


def test_everything_that_the_tables_say_is_on_the_page(tmp_path, table2):
    write_about(tmp_path, About("Does it hold?", "No.", "eca-ablate run experiments/table2_digits.yaml"))
    outline = Outline(page_of(tmp_path, table2))
    words = " ".join(" ".join(texts) for texts in outline.texts.values())
    for fact in (
        "Does it hold?",
        "Expected beforehand: No.",
        "ECA (adaptive) = ECA (k=3) †",
        "272,026",
        "97.78 ± 0.28",
        "same network",
        "Kendall's τ",
        "ResNet-50 on ImageNet",
        "torch 2.11.0",
        "Intel Xeon, fp32, 1 thread a run",
        "4aeeaad",
        "eca-ablate run experiments/table2_digits.yaml",
        "ECA (k=3) = ECA (adaptive): 3 runs",
        "30 runs",
    ):
        assert fact in words, fact
    assert words.count("Resolved configurations") == 1
    assert len(outline.texts["pre"]) == 10, "one for each network"
    assert len([tag for tag, _ in outline.tags if tag == "img"]) == 3


def test_the_same_rows_give_the_same_page(tmp_path, table2):
    assert page_of(tmp_path, table2) == page_of(tmp_path)


@pytest.mark.parametrize("name", ["quickstart", "gamma_b_digits"])
def test_a_configuration_on_the_page_gives_the_name_of_its_run(tmp_path, name):
    shutil.copytree(RESULTS / name, tmp_path / name)
    for text in Outline(page_of(tmp_path / name)).texts["pre"]:
        facts = json.loads(text)
        for seed, key in facts.pop("runs").items():
            data = {**facts["data"], "root": None}
            assert RunConfig.from_dict({**facts, "data": data, "seed": int(seed)}).key() == key


def test_verdict_names_what_is_better_and_what_is_worse(tmp_path):
    first, second = said(
        tmp_path,
        VANILLA,
        arm("SE", [92.0, 93.1, 92.4, 92.3, 92.8], 1),
        arm("Bad", [88.1, 89.0, 88.4, 88.3, 88.8], 2),
        arm("So", [90.3, 90.4, 91.0, 90.0, 90.8], 3),
    )
    assert first == (
        "On the test set, over 5 seeds, SE (+2.00 points) is better than Vanilla, "
        "and Bad (−2.00 points) is worse than Vanilla."
    )
    assert second.startswith("So cannot be told apart from it: the interval allows differences of up to ")
    assert re.search(r"up to [\d.]+ points, and a difference of 0.72 points.*would take [\d,]+ seeds\.$", second)


def test_verdict_where_nothing_or_everything_is_told(tmp_path):
    so = arm("So", [90.3, 90.4, 91.0, 90.0, 90.8], 1)
    assert said(tmp_path, VANILLA, so)[0] == "On the test set, over 5 seeds, So cannot be told apart from Vanilla."
    se = arm("SE", [92.0, 93.1, 92.4, 92.3, 92.8], 1)
    assert said(tmp_path, VANILLA, se)[1] == "No tested row is left undecided."


def test_verdict_without_a_test_or_a_second_row(tmp_path):
    few = arm("SE", [92.0, 93.1], 1)
    assert said(tmp_path, VANILLA, few) == [
        "How the other rows compare with Vanilla cannot be told.",
        "A test needs 3 seeds that both have, and there are 2.",
    ]
    assert said(tmp_path, VANILLA) == ["There is only one row so far, and nothing to compare it with."]
    other = json.dumps([{"row": 1, "label": "again", "head": "se"}])
    same = arm("SE", [92.0, 93.0, 92.5], 0, shared_with=other)
    assert said(tmp_path, same) == ["All rows are the same network, so there is nothing to compare."]
    lost = arm("SE", [92.0] * 5, 1, status="diverged")
    assert said(tmp_path, VANILLA, [{**row, "test_top1": None} for row in lost])[1].endswith("there are none.")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1,084,586", 1_084_586),
        ("10.2 M", 10.2e6),
        ("97.49 ± 0.74", 97.49),
        ("−5.98 to +8.58", -5.98),
        ("+1.30", 1.3),
        ("<0.0001", 0.0001),
        ("0", 0),
        ("–", None),
        ("2C²/16", None),
        ("3-3-5", None),
        ("", None),
        ("4 M of it", None),
    ],
)
def test_what_a_cell_is_sorted_by(text, value):
    assert number(text) == (None if value is None else pytest.approx(value))


def test_a_column_is_one_of_numbers_if_all_that_is_there_is():
    table = make_table("", ("a", "b", "c"), [["x", "1", "1"], ["y", "–", "3-3"]], ("a",), "a")
    assert [column.kind for column in table.columns] == ["text", "number", "text"]
    assert [line[1].value for line in table.lines] == [1, None]
    assert [column.kind for column in make_table("", ("a",), [], (), "a").columns] == ["text"]


def test_a_search_shows_its_networks_and_its_figures(tmp_path):
    made = pairs()
    made.write(tmp_path)
    rows = arm("Winner: ECA 5-5-7", [94, 95, 96], 0, head="eca") + arm("Vanilla", [94, 94.5, 96], 1, head="none")
    outline = Outline(page_of(tmp_path, rows))
    headings = [text for text in outline.texts["h2"] if text.strip()]
    assert headings == ["Results", "Compared with Vanilla", "Figures", "The search", "Where it comes from"]
    assert "γ and b" in outline.texts["b"]
    assert len(outline.texts["pre"]) == 2 + 14


def test_a_search_without_a_winner_has_a_page_too(tmp_path):
    made = Made(3)
    made.add({"gamma": 2, "b": 1}, "3-3-5")
    made.write(tmp_path)
    published = publish(tmp_path)
    assert [table.name for table in published.tables] == ["networks.md"]
    assert "runs.csv" in published.missing
    assert "There is no row yet that could be compared." in published.page.read_text()


def test_what_the_folder_is_about_is_read_back(tmp_path):
    about = About("Why?", "Because.", "eca-ablate run x.yaml", {"threads": 1})
    write_about(tmp_path, about)
    assert load_about(tmp_path) == about
    assert load_about(tmp_path / "nowhere") == About()
    (tmp_path / "experiment.json").write_text('{"question": 3, "expected": "Yes.", "shared": []}')
    assert load_about(tmp_path) == About(expected="Yes.")
    (tmp_path / "experiment.json").write_text("{")
    with pytest.warns(RowsWarning, match="experiment.json: it is no JSON; the report goes without it"):
        assert load_about(tmp_path) == About()


def test_rows_with_the_least_columns_have_a_page(tmp_path):
    columns = ["label", "key", "network", "seed", "status", "test_top1", "val_top1"]
    frame = pd.DataFrame([make_row("A", seed)[name] for name in columns] for seed in range(3))
    frame.columns = columns
    frame.to_csv(tmp_path / "runs.csv", index=False)
    with pytest.warns(RowsWarning, match="missing; .*left empty"):
        text = page_of(tmp_path)
    assert "94.00" in text
