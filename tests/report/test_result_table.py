"""The table says what the rows say: means, spreads, who is the same network, and what is missing."""

from __future__ import annotations

import csv
import io
import math
import re
import shutil
import statistics
import subprocess

import pytest

from eca_ablate.config import TABLE2
from eca_ablate.errors import UserError
from eca_ablate.report import load, render_csv, render_latex, render_markdown, summarise, write_rows, write_tables
from eca_ablate.report.comparison_table import compare_table
from eca_ablate.report.latex import escape_latex
from eca_ablate.report.paper import PRINTED, printed
from eca_ablate.report.table import body, escape_markdown

NASTY = "<script>alert(1)</script> | a_b & 100% #1 $x$ {y} ~z ^w \\end{tabular}\n**bold** [a](http://x) `c` \x1b[31m 中"


@pytest.fixture
def tabulate(tmp_path):
    def run(rows):
        write_rows(tmp_path, rows)
        loaded = load(tmp_path)
        return summarise(loaded), loaded

    return run


def _table(markdown: str) -> list[list[str]]:
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_means_and_spreads_by_hand(tabulate, row):
    top1 = [90.0, 91.0, 95.0]  # mean 92; squares of deviations 4 + 1 + 9 = 14; 14 / 2 = 7
    summary, _ = tabulate([row(seed=seed, test_top1=value, seconds=seed) for seed, value in enumerate(top1)])
    line = summary.iloc[0]
    assert line["n"] == 3
    assert line["test_top1_mean"] == 92.0
    assert line["test_top1_std"] == pytest.approx(math.sqrt(7), rel=1e-12)
    assert line["test_top1_std"] == pytest.approx(statistics.stdev(top1), rel=1e-12)
    assert line["val_top1_std"] == 0.0
    assert line["seconds_mean"] == 1.0
    assert line["seeds"] == "0, 1, 2"
    assert body(summary)[0][7] == "92.00 ± 2.65"


def test_one_run_has_no_spread(tabulate, row):
    summary, rows = tabulate([row()])
    assert math.isnan(summary["test_top1_std"][0])
    text = render_markdown(summary, rows)
    assert _table(text)[2][7] == "94.00"
    assert "One run only, so no spread is known: SE." in text


def test_diverged_runs_are_counted_and_left_out(tabulate, row):
    summary, rows = tabulate(
        [
            row(seed=0, test_top1=90.0),
            row(seed=1, test_top1=92.0),
            row(seed=2, status="diverged", test_top1=10.0, val_top1=None),
            row("Lost", 0, row=1, status="diverged", test_top1=None),
        ]
    )
    assert list(summary["n"]) == [2, 0]
    assert list(summary["diverged"]) == [1, 1]
    assert summary["test_top1_mean"][0] == 91.0
    text = render_markdown(summary, rows)
    assert "SE 1 of 3 (seed 2); Lost 1 of 1 (seed 0)." in text
    assert _table(text)[3][6:9] == ["0", "–", "–"]


def test_missing_seeds_are_named(tabulate, row):
    summary, rows = tabulate([row("A", 0), row("A", 1), row("A", 2), row("B", 1, row=1)])
    assert "Incomplete: B lacks seeds 0, 2." in render_markdown(summary, rows)


def test_same_network_is_no_comparison(tabulate, table2):
    summary, rows = tabulate(table2)
    assert list(summary["same_as"]) == [""] * 10 + ["ECA (k=3)"]
    assert list(summary["label"]) == [spec["label"] for spec in TABLE2]
    text = render_markdown(summary, rows)
    assert _table(text)[-1][0] == "ECA (adaptive) = ECA (k=3) †"
    assert "† same network: ECA (adaptive) = ECA (k=3)." in text
    assert "(30 runs in all)" in text, "a shared run counts once"
    assert _table(text)[-1][1] == "3"


def test_two_networks_under_one_label_are_not_averaged(tabulate, row):
    with pytest.raises(UserError, match="a label stands for one network"):
        tabulate([row(seed=0), row(seed=1, network="other")])


def test_missing_top5_of_one_seed_gives_no_mean_over_the_rest(tabulate, row):
    summary, _ = tabulate([row(seed=0), row(seed=1, test_top5=None)])
    assert math.isnan(summary["test_top5_mean"][0])
    assert body(summary)[0][8] == "–"


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (999, "999"),
        (1000, "1.00 k"),
        (9_994_000, "9.99 M"),
        (9_996_000, "10.0 M"),
        (40_812_345, "40.8 M"),
        (99_960_000, "100 M"),
        (999_400_000, "999 M"),
        (999_600_000, "1.00 G"),
        (4_089_184_256, "4.09 G"),
    ],
)
def test_macs_have_three_digits(tabulate, row, count, shown):
    summary, _ = tabulate([row(macs=count)])
    assert body(summary)[0][5] == shown


def test_kernel_sizes_of_one_size_are_written_once(tabulate, row):
    summary, _ = tabulate([row("a", kernel_sizes="3-5-5-7"), row("b", kernel_sizes="3-3-3", row=1), row("c", row=2)])
    assert [line[1] for line in body(summary)] == ["3-5-5-7", "3", "–"]


def test_raw_markdown_is_aligned(tabulate, table2, row):
    summary, rows = tabulate([*table2, row("Größe", row=11)])
    lines = [line for line in render_markdown(summary, rows).splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 12
    assert len({len(line) for line in lines}) == 1
    assert "272,026" in lines[2]
    assert all(re.fullmatch(r":?-+:?", cell) for cell in _table("\n".join(lines))[1])


def test_csv_has_plain_numbers(tabulate, table2):
    summary, _ = tabulate(table2)
    lines = list(csv.DictReader(io.StringIO(render_csv(summary))))
    assert lines[0]["weights"] == "272026"
    assert lines[0]["macs"] == "40812345"
    assert lines[10]["label"] == "ECA (adaptive)"
    assert lines[10]["same_as"] == "ECA (k=3)"
    assert float(lines[3]["test_top1_mean"]) == summary["test_top1_mean"][3]


def test_footer_names_where_rows_come_from(tabulate, table2):
    summary, rows = tabulate(table2)
    text = render_markdown(summary, rows, command="eca-ablate run experiments/table2_digits.yaml")
    for fact in (
        "- Experiment: table2_digits",
        "1,293 train / 144 validation / 360 test images; one test image is 0.28 points",
        "resnet20, cifar stem, width 1",
        "30 epochs, SGD, batch 128, learning rate 0.1, cosine, momentum 0.9 (Nesterov), weight decay 0.0005",
        "Intel Xeon, fp32, 1 thread a run",
        "torch 2.11.0",
        "- Code: 4aeeaad, semantics 1",
        "- Command: eca-ablate run experiments/table2_digits.yaml",
        "ResNet-50 on ImageNet, single runs",
        "92.25 in Table 2 and as 92.52 in Table 3",
    ):
        assert fact in text, fact


def test_footer_lists_every_machine_and_version(tabulate, row):
    summary, rows = tabulate([row(seed=0), row(seed=1, device="NVIDIA H100", torch="2.12.0"), row(seed=2)])
    text = render_markdown(summary, rows)
    assert "- Hardware: 2 different ones: Intel Xeon, fp32, 1 thread a run (2 runs); NVIDIA H100" in text
    assert "torch 2.12.0" in text
    assert "- Backbone: resnet20" in text


@pytest.mark.parametrize(
    ("head", "options", "top1", "top5"),
    [
        ("none", {}, 75.20, 92.52),
        ("se", {}, 76.71, 93.38),
        ("se", {"reduction": 16}, 76.71, 93.38),
        ("se_gc", {"groups": 16}, 76.95, 93.47),
        ("se_gc", {"group_channels": 16}, 76.98, 93.31),
        ("se_gc", {"group_channels": 8}, 76.96, 93.38),
        ("eca_ns", {"kernel_size": 3}, 77.35, 93.61),
        ("eca", {"kernel_size": 3}, 77.43, 93.65),
        ("eca", {"kernel_size": [3, 3, 3, 3]}, 77.43, 93.65),
        ("eca", {}, 77.48, 93.68),
        ("eca", {"gamma": 2.0, "b": 1, "rounding": "code"}, 77.48, 93.68),
        ("eca", {"kernel_size": "released_resnet50"}, 77.42, 93.62),
        ("eca", {"kernel_size": [3, 5, 5, 7]}, 77.42, 93.62),
    ],
)
def test_paper_figures_are_found_by_what_the_head_is(head, options, top1, top5):
    theirs = printed(head, options)
    assert theirs is not None
    assert (theirs.top1, theirs.top5) == (top1, top5)


@pytest.mark.parametrize(
    ("head", "options"),
    [
        ("se", {"reduction": 8}),
        ("se_gc", {"groups": 8}),
        ("eca", {"kernel_size": 5}),
        ("eca", {"gamma": 1, "b": 1}),
        ("eca", {"rounding": "nearest"}),
        ("eca", {"kernel_size": "released_resnet18"}),
        ("eca", "[]"),
        ("cbam", {}),
    ],
)
def test_other_heads_have_no_paper_figures(head, options):
    assert printed(head, options) is None


def test_every_row_of_table2_has_paper_figures():
    found = []
    for spec in TABLE2:
        options = {name: value for name, value in spec.items() if name not in ("name", "label")}
        found.append(printed(spec["name"], options))
    assert None not in found
    assert len({id(theirs) for theirs in found}) == len(TABLE2) == len(PRINTED) - 1


def test_labels_cannot_break_markdown(tabulate, row):
    summary, rows = tabulate([row(NASTY, key="a", network="n"), row("SE", row=1)])
    text = render_markdown(summary, rows)
    lines = _table(text)
    assert len(lines) == 4
    assert {len(line) for line in lines} == {11}
    assert "<" not in text
    assert "\x1b" not in text
    assert "\\[a\\](http" in text
    assert "\\*\\*bold\\*\\*" in text


def test_ordinary_labels_are_left_as_they_are():
    assert escape_markdown("se_var1 (k=3)") == "se_var1 (k=3)"
    assert escape_markdown("_private_") == "\\_private\\_"


def test_latex_escapes_what_is_special():
    assert escape_latex("a_b & 1% #2 $ {x}") == r"a\_b \& 1\% \#2 \$ \{x\}"
    assert escape_latex("\\~^") == r"\textbackslash{}\textasciitilde{}\textasciicircum{}"
    assert escape_latex("2C²/r ± γ") == r"2C\textsuperscript{2}/r $\pm$ $\gamma$"
    assert escape_latex("SE-GC1 a---b") == "SE-GC1 a-{}-{}-b"
    assert escape_latex("[x]*") == "{[}x]{*}"
    assert escape_latex("中\n") == "{[}U+4E2D] "


def test_latex_table_has_a_line_a_row(tabulate, table2):
    summary, rows = tabulate(table2)
    text = render_latex(summary, rows)
    assert text.startswith("% Needs \\usepackage{booktabs}.")
    inside = text[text.index("\\midrule") : text.index("\\bottomrule")]
    assert inside.count("\\\\") == 11
    assert r"2C\textsuperscript{2}/r" in inside
    assert r"98.68 $\pm$ 0.28" in inside
    assert "ECA (adaptive) $\\dagger$" in inside


def test_latex_compiles(tmp_path, tabulate, table2, row):
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed: the LaTeX table is written, but not compiled")
    further = [row(NASTY, key="a", network="n", row=11), row("[x] é ż ¿ “q” «a» ±×·−²³†≤≥αβγδελμσψω–—…", row=12)]
    summary, rows = tabulate([*table2, *further])
    (tmp_path / "table.tex").write_text(
        render_latex(summary, rows, compare_table(rows), "eca-ablate run x.yaml"), encoding="utf-8"
    )
    document = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\\input{table}\\end{document}\n"
    (tmp_path / "doc.tex").write_text(document)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "doc.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]


def test_tables_are_written_beside_their_rows(tmp_path, table2):
    write_rows(tmp_path, table2)
    path = write_tables(tmp_path)
    assert path == tmp_path / "table.md"
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert set(before) == {"runs.csv", "table.md", "table.csv", "table.tex", "comparison.csv"}
    write_tables(tmp_path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
