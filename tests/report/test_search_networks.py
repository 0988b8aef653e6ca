"""The table of a search: every distinct network once, ranked on validation by the runs that are done."""

from __future__ import annotations

import csv
import json
import re
import statistics
import subprocess
import sys

import pytest
from searches import BS, FOUR, GAMMAS, THREE, Made, each_stage, fixed_sizes, heads, pairs
from searches import sizes as by_rule

from eca_ablate.errors import UserError
from eca_ablate.report import RowsWarning, load, load_facts, load_points, rank_networks, write_rows, write_search
from eca_ablate.report.command import show_report

NASTY = "<script>alert(1)</script> | a_b & 100% #1 $x$ {y} \\frac ~z\n**bold** [a](http://x) `c` \x1b[31m 中"


@pytest.fixture
def ranked(tmp_path):
    def run(made: Made):
        made.write(tmp_path)
        return rank_networks(load_points(tmp_path), load(tmp_path, "search_runs.csv"), load_facts(tmp_path))

    return run


def _csv(folder) -> list[dict[str, str]]:
    with (folder / "networks.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _table(folder) -> list[list[str]]:
    lines = [line for line in (folder / "networks.md").read_text().splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


@pytest.mark.parametrize(("channels", "count"), [(THREE, 14), (FOUR, 23)])
def test_221_pairs_are_few_networks_and_each_pair_is_in_the_file(tmp_path, channels, count):
    pairs(channels).write(tmp_path)
    assert write_search(tmp_path) == tmp_path / "networks.md"
    lines = _csv(tmp_path)
    assert len(lines) == len(_table(tmp_path)) == count
    found = {(p["gamma"], p["b"]): line["kernel_sizes"] for line in lines for p in json.loads(line["params"])}
    assert found == {(gamma, b): by_rule(channels, gamma, b) for gamma in GAMMAS for b in BS}
    assert sum(int(line["points"]) for line in lines) == 221


def test_networks_are_ranked_by_the_mean_over_their_runs(ranked):
    made = pairs()
    found = ranked(made)
    values = {run["network"]: [] for run in made.runs}
    for run in made.runs:
        values[run["network"]].append(run["val_top1"])
    assert [one.rank for one in found] == list(range(1, 15))
    assert [one.mean for one in found] == sorted((statistics.mean(v) for v in values.values()), reverse=True)
    for one in found:
        assert one.std == pytest.approx(statistics.stdev(values[one.network]), rel=1e-12)
        assert one.n == 3


def test_a_loss_is_ranked_from_below(ranked, tmp_path):
    made = Made(2, metric="val_loss", direction="minimize")
    for label, loss in (("a", 0.5), ("b", 0.25), ("c", 0.75)):
        made.add({"kernel_size": 3}, label=label, values=[90.0, 90.0], network=label)
        made.points[-1]["value"] = loss
        for run in made.runs[-2:]:
            run["val_loss"] = loss
    assert [one.label for one in ranked(made)] == ["b", "a", "c"]
    write_search(tmp_path)
    assert _table(tmp_path)[0][6] == "0.2500 ± 0.0000"


def test_equal_means_share_a_rank_in_the_order_of_their_points(ranked):
    made = Made(1)
    for label, value in (("a", 90.0), ("b", 91.0), ("c", 91.0), ("d", 89.0)):
        made.add({"kernel_size": 3}, label=label, values=[value], network=label)
    assert [(one.label, one.rank) for one in ranked(made)] == [("b", 1), ("c", 1), ("a", 3), ("d", 4)]


def test_pruned_runs_enter_no_mean(ranked):
    made = Made(3)
    made.add({"kernel_size": 3}, "3-3-3", values=[90.0, 91.0, 92.0])
    made.add({"kernel_size": 5}, "5-5-5", values=[99.0, 99.0, 99.0], state="pruned")
    made.runs.append({**made.runs[-1], "key": "stopped", "seed": 1, "status": "pruned", "val_top1": 10.0})
    good, pruned = ranked(made)
    assert (good.rank, good.mean, good.n) == (1, 91.0, 3)
    assert (pruned.rank, pruned.mean, pruned.seeds) == (None, 99.0, (0,))
    assert pruned.shown is None, "and no figure draws it"


def test_what_diverged_is_never_the_best(ranked):
    made = Made(3)
    made.add({"kernel_size": 3}, "3-3-3", values=[99.9, 99.9, 0.0], state="diverged")
    made.add({"kernel_size": 5}, "5-5-5", values=[90.0, 90.5, 91.0])
    best, lost = ranked(made)
    assert (best.kernel_sizes, best.rank) == ("5-5-5", 1)
    assert (lost.state, lost.rank, lost.n) == ("diverged", None, 2)


def test_order_of_those_without_a_rank(ranked):
    states = {"1-1-1": "waiting", "3-3-3": "diverged", "5-5-5": "pruned"}
    found = ranked(pairs(states=states))
    assert [one.state for one in found[-4:]] == ["complete", "pruned", "diverged", "waiting"]
    assert [one.rank for one in found] == [*range(1, 12), None, None, None]


def test_runs_count_where_points_state_another_value(ranked):
    made = Made(2)
    made.add({"kernel_size": 3}, "3-3-3", values=[90.0, 92.0])
    made.points[0]["value"] = 95.0
    with pytest.warns(RowsWarning, match="states 95 .* give 91; the runs count"):
        assert ranked(made)[0].mean == 91.0


def test_points_alone_make_a_table(tmp_path):
    fixed_sizes().write(tmp_path)
    (tmp_path / "search_runs.csv").unlink()
    write_search(tmp_path)
    assert _table(tmp_path)[0][5] == "0"
    assert "Runs: none is finished yet" in (tmp_path / "networks.md").read_text()


def test_two_networks_of_one_label_stay_two(ranked, tmp_path):
    made = Made(2)
    for at in range(2):
        made.add({"recipe.lr": 0.1 + at * 1e-9}, label="SE, lr=0.1", values=[90.0 + at, 91.0 + at], network=f"n{at}")
    assert [one.mean for one in ranked(made)] == [91.5, 90.5]


@pytest.mark.parametrize(
    ("made", "column"),
    [
        (
            pairs(),
            {"ECA 7-7-7": "(1.25, 2.5), (1.5, 4)", "ECA 9-11-11": "(1, 4)", "ECA 3-3-3": "(1.25, −2.5) … 53 pairs"},
        ),
        (fixed_sizes(), {"ECA 5-5-5-5": "k=5", "ECA 3-5-5-5": "adaptive"}),
        (each_stage(), {"ECA 5-5-7": "k 5-5-7"}),
        (heads(6), {"se reduction=4, lr=0.064442": "lr=0.06444, reduction=4"}),
    ],
)
def test_points_are_named_in_the_width_of_a_column(tmp_path, made, column):
    made.write(tmp_path)
    write_search(tmp_path)
    shown = {line[1]: line[3] for line in _table(tmp_path)}
    assert column.items() <= shown.items()


def test_notes_say_what_the_first_row_is_worth(tmp_path):
    pairs(states={"1-1-1": "diverged"}).write(tmp_path)
    text = write_search(tmp_path).read_text()
    assert "the winner's test accuracy is in table.md, from seeds that no choice has seen (seeds 3, 4, 5)." in text
    assert "The best of 13 networks is partly the luckiest" in text
    assert "ECA 5-5-7 and ECA 5-5-5 differ by 0.05 points, less than the spread over their seeds" in text
    assert "Diverged, and therefore without a rank: 1" in text
    assert "In 42 of 221 points the rule's t lies between −1 and 1" in text
    assert "sampler all; pruner none; val_top1 to maximize; 221 points, 14 distinct networks" in text
    assert "(42 runs in all)" in text


def test_a_clear_best_is_not_talked_down(tmp_path):
    made = Made(2)
    made.add({"kernel_size": 3}, "3-3-3", values=[90.0, 90.1])
    made.add({"kernel_size": 5}, "5-5-5", values=[95.0, 95.1])
    made.write(tmp_path)
    assert "differ by" not in write_search(tmp_path).read_text()


def test_one_run_each_has_no_spread(tmp_path):
    fixed_sizes(seeds=1).write(tmp_path)
    text = write_search(tmp_path).read_text()
    assert "with one run each no spread is known" in text
    assert "±" not in text


def test_searched_recipe_is_one_recipe(tmp_path):
    made = heads(8)
    for at, run in enumerate(made.runs):
        run["recipe"] = json.dumps({**json.loads(run["recipe"]), "lr": at / 100})
    made.write(tmp_path)
    text = write_search(tmp_path).read_text()
    assert "learning rate (searched)" in text
    assert "different ones" not in text


def test_labels_from_outside_cannot_break_the_table(tmp_path):
    made = Made(1)
    made.add({"kernel_size": NASTY, NASTY: 1}, NASTY, label=NASTY, values=[90.0])
    made.facts["sampler"] = made.facts["head"] = NASTY
    made.write(tmp_path)
    text = write_search(tmp_path).read_text()
    assert len(_table(tmp_path)[0]) == 8
    assert "<" not in text
    assert "\x1b" not in text
    assert _csv(tmp_path)[0]["label"] == NASTY


def test_folder_without_a_search_has_no_table_of_networks(tmp_path, row):
    write_rows(tmp_path, [row()])
    assert write_search(tmp_path) is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs.csv"]


def test_search_without_a_point_is_said(tmp_path):
    Made().write(tmp_path)
    assert "No point has been proposed yet." in write_search(tmp_path).read_text()
    assert not (tmp_path / "figures").exists()


def test_report_prints_winner_and_networks(tmp_path, capsys, row):
    fixed_sizes().write(tmp_path)
    assert show_report(str(tmp_path)) == 0
    early = capsys.readouterr()
    assert "| Rank |" in early.out
    assert "no table of the winner yet" in early.err
    write_rows(tmp_path, [row()])
    assert show_report(str(tmp_path)) == 0
    late = capsys.readouterr()
    assert late.out.index("| Method") < late.out.index("| Rank |")
    assert late.err == f"{tmp_path / 'report.html'} shows it all\n"


def test_report_of_nothing_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"runs\.csv"):
        show_report(str(tmp_path))


def test_searches_are_reported_without_torch_and_optuna(tmp_path):
    fixed_sizes().write(tmp_path)
    code = (
        "import sys; from eca_ablate.report import write_search; "
        "assert 'matplotlib' not in sys.modules; "
        f"write_search({str(tmp_path)!r}); "
        "assert not {'torch', 'lightning', 'optuna', 'matplotlib.pyplot'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (tmp_path / "figures" / "kernel_size.svg").exists()
