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
    slug = re.sub(r"[^a-z0-9]+", "-", experiment.lower()).strip("-") or "results"
    name = f" of \\texttt{{{escape_latex(experiment)}}}" if experiment else ""
    lines = [" & ".join(escape_latex(cell) for cell in line) + r" \\" for line in cells]
    return "\n".join(
        [
            r"% Needs \usepackage{booktabs}. If it is wider than your text, use table* or a landscape page.",
            r"\begin{table}",
            r"  \centering",
            f"  \\caption{{Results{name} on the test set. Mean $\\pm$ standard deviation over n seeds.}}",
            f"  \\label{{tab:{slug}}}",
            r"  \par\medskip\scriptsize",
            r"  \setlength{\tabcolsep}{2.5pt}",
            r"  \begin{tabular}{@{}lrrrrrrrrrr@{}}",
            r"    \toprule",
            r"    & & \multicolumn{2}{c}{Head weights} & & & & \multicolumn{2}{c}{Ours (\%)}"
            r" & \multicolumn{2}{c}{Paper (\%)} \\",
            r"    \cmidrule(lr){3-4} \cmidrule(lr){8-9} \cmidrule(l){10-11}",
            r"    Method & $k$ & all & block & Weights & MACs & $n$ & top-1 & top-5 & top-1 & top-5 \\",
            r"    \midrule",
            *(f"    {line}" for line in lines),
            r"    \bottomrule",
            r"  \end{tabular}",
            r"  \par\medskip\raggedright",
            *(f"  {escape_latex(note)}" for note in notes),
            r"  \par\smallskip",
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
