"""The result table in LaTeX: text that is safe under pdflatex, and the `table` environment."""

from __future__ import annotations

import re
import unicodedata

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "_": r"\_",
    "&": r"\&",
    "%": r"\%",
    "#": r"\#",
    "$": r"\$",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"$<$",
    ">": r"$>$",
    "|": r"$|$",
    '"': "''",
    "`": r"\`{}",
    "[": "{[}",  # after a row's end it would be read as an option of that end, and so would *
    "*": "{*}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "−": r"$-$",
    "²": r"\textsuperscript{2}",
    "³": r"\textsuperscript{3}",
    "†": r"$\dagger$",
    "≤": r"$\le$",
    "≥": r"$\ge$",
    "α": r"$\alpha$",
    "β": r"$\beta$",
    "γ": r"$\gamma$",
    "δ": r"$\delta$",
    "ε": r"$\varepsilon$",
    "λ": r"$\lambda$",
    "μ": r"$\mu$",
    "µ": r"$\mu$",
    "σ": r"$\sigma$",
    "τ": r"$\tau$",
    "ψ": r"$\psi$",
    "ω": r"$\omega$",
    "–": "--",
    "—": "---",
    "…": r"\ldots{}",
}


def escape_latex(text: str) -> str:
    """Make any text show as written under pdflatex; a letter it has no font for becomes its code point."""
    parts = re.split("(?<=-)(?=-)", text)  # hyphens in a row would become a dash
    return "{}".join("".join(_letter(char) for char in part) for part in parts)


def latex_table(cells: list[list[str]], experiment: str, notes: list[str], facts: list[str]) -> str:
    """Return the environment with its caption, rules and notes.

    Args:
        cells: plain text under the columns of the Markdown table.
        experiment: its name, for caption and label.
        notes: how to read it.
        facts: where it comes from.
    """
    lines = [
        r"  \begin{tabular}{@{}lrrrrrrrrrr@{}}",
        r"    \toprule",
        r"    & & \multicolumn{2}{c}{Head weights} & & & & \multicolumn{2}{c}{Ours (\%)}"
        r" & \multicolumn{2}{c}{Paper (\%)} \\",
        r"    \cmidrule(lr){3-4} \cmidrule(lr){8-9} \cmidrule(l){10-11}",
        r"    Method & $k$ & all & block & Weights & MACs & $n$ & top-1 & top-5 & top-1 & top-5 \\",
        *_body(cells),
    ]
    caption = f"Results{_of(experiment)} on the test set. Mean $\\pm$ standard deviation over n seeds."
    return _environment(caption, _slug(experiment), lines, notes, facts)


def latex_comparison(cells: list[list[str]], baseline: str, experiment: str, wanted: str, notes: list[str]) -> str:
    """Return the environment of the comparisons with a baseline.

    Args:
        cells: plain text under the columns of the Markdown table.
        baseline: the label that all others are compared with.
        experiment: its name, for caption and label.
        wanted: heading of the seeds needed.
        notes: how to read it.
    """
    lines = [
        r"  \begin{tabular}{@{}lrrrrrrrrl@{}}",
        r"    \toprule",
        r"    Method & $n$ & Difference & Interval & $p$ & Holm & flip & $r$ & "
        + escape_latex(wanted)
        + r" & Verdict \\",
        *_body(cells),
    ]
    caption = f"Differences{_of(experiment)} to {escape_latex(baseline)}, paired by seed."
    return _environment(caption, f"{_slug(experiment)}-compared", lines, notes, [])


def _body(cells: list[list[str]]) -> list[str]:
    rows = [" & ".join(escape_latex(cell) for cell in line) + r" \\" for line in cells]
    return [r"    \midrule", *(f"    {row}" for row in rows), r"    \bottomrule", r"  \end{tabular}"]


def _of(experiment: str) -> str:
    return f" of \\texttt{{{escape_latex(experiment)}}}" if experiment else ""


def _slug(experiment: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", experiment.lower()).strip("-") or "results"


def _environment(caption: str, slug: str, table: list[str], notes: list[str], facts: list[str]) -> str:
    return "\n".join(
        [
            r"% Needs \usepackage{booktabs}. If it is wider than your text, use table* or a landscape page.",
            r"\begin{table}",
            r"  \centering",
            f"  \\caption{{{caption}}}",
            f"  \\label{{tab:{slug}}}",
            r"  \par\medskip\scriptsize",
            r"  \setlength{\tabcolsep}{2.5pt}",
            *table,
            r"  \par\medskip\raggedright",
            *(f"  {escape_latex(note)}" for note in notes),
            *([r"  \par\smallskip"] if facts else []),
            *(f"  {escape_latex(fact)}." for fact in facts),
            r"\end{table}",
            "",
        ]
    )


def _letter(char: str) -> str:
    if char in _SPECIAL:
        return _SPECIAL[char]
    if not char.isprintable():
        return " "
    if char.isascii() or ("\u00c0" <= char <= "\u017e" and char not in "×÷ĸŉſ"):
        return char
    plain = unicodedata.normalize("NFKD", char)
    if plain.isascii():
        return "".join(_SPECIAL.get(part, part) for part in plain)
    return f"{{[}}U+{ord(char):04X}]"
