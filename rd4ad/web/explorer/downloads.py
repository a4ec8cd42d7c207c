"""What is on the screen as a file: CSV, Parquet, Markdown and LaTeX, and the citation."""

import io
from collections.abc import Callable

import numpy as np
import pandas as pd
import plotly.graph_objects as go

BIBTEX = """@inproceedings{deng2022anomaly,
  title     = {Anomaly Detection via Reverse Distillation from One-Class Embedding},
  author    = {Deng, Hanqiu and Li, Xingyu},
  booktitle = {Proceedings of the IEEE/CVF Conference on Computer Vision and Pattern Recognition},
  pages     = {9737--9746},
  year      = {2022},
  eprint    = {2201.10703},
  archivePrefix = {arXiv}
}
"""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv(table: pd.DataFrame) -> bytes:
    """Return the table as CSV in UTF-8; text that a spreadsheet would run as a formula is quoted.

    >>> csv(pd.DataFrame({"name": ["=1+1", "tile"], "value": [-1.5, 2.0]})).decode().splitlines()
    ['name,value', "'=1+1,-1.5", 'tile,2.0']
    """
    flat = _flat(table)
    safe = flat.apply(lambda column: column.map(_quoted))
    return safe.rename(columns=_quoted).to_csv(index=False).encode()


def _quoted(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def parquet(table: pd.DataFrame) -> bytes:
    """Return the table as Parquet, metrics at full precision."""
    file = io.BytesIO()
    _flat(table).to_parquet(file, index=False)
    return file.getvalue()


def chart_csv(chart: go.Figure) -> bytes:
    """Return what a chart draws as CSV: one row a point, named by its trace."""
    parts = []
    for trace in chart.data:
        columns = {axis: getattr(trace, axis, None) for axis in ("x", "y", "z")}
        known = {axis: np.asarray(values) for axis, values in columns.items() if values is not None}
        if "z" in known:
            across, down = np.meshgrid(known["x"], known["y"])
            known = {"x": across.ravel(), "y": down.ravel(), "z": known["z"].ravel()}
        if known and trace.hoverinfo != "skip":
            parts.append(pd.DataFrame(known).assign(series=trace.name or ""))
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["series"])
    return csv(table[["series", *(name for name in table if name != "series")]])


def markdown(table: pd.DataFrame, best: pd.DataFrame, text: Callable[[float], str]) -> str:
    r"""Return the table in Markdown, the best of each row bold.

    >>> table = pd.DataFrame({"a|b": [0.5]}, index=["tile"])
    >>> print(markdown(table, table > 1, "{:.1f}".format))
    | category | a\|b |
    |---|---|
    | tile | 0.5 |

    Args:
        table: fractions by category and column.
        best: which cells are the best of their row.
        text: prints one metric.
    """
    head = ["category", *(str(name).replace("|", "\\|") for name in table.columns)]
    body = [[name, *cells] for name, cells in _printed(table, best, text, "**{}**".format)]
    lines = ["| " + " | ".join(row) + " |" for row in (head, *body)]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]])


def latex(table: pd.DataFrame, best: pd.DataFrame, text: Callable[[float], str]) -> str:
    r"""Return the table in LaTeX with booktabs' rules, the best of each row bold.

    >>> table = pd.DataFrame({"RD4AD": [0.5]}, index=["Metal_nut"])
    >>> print(latex(table, table > 1, "{:.1f}".format))
    \begin{tabular}{lr}
    \toprule
    category & RD4AD \\
    \midrule
    Metal\_nut & 0.5 \\
    \bottomrule
    \end{tabular}

    Args: as `markdown`.
    """
    rows = dict(_printed(table, best, text, r"\textbf{{{}}}".format))
    return latex_table("category", pd.DataFrame(rows, index=table.columns).T)


def latex_table(corner: str, printed: pd.DataFrame) -> str:
    """Return a table of LaTeX cells with booktabs' rules; names of rows and columns are escaped.

    Args:
        corner: above the names of the rows.
        printed: what stands in each cell.
    """
    lines = [rf"\begin{{tabular}}{{l{'r' * len(printed.columns)}}}", r"\toprule"]
    lines += [" & ".join([corner, *map(_escaped, printed.columns)]) + r" \\", r"\midrule"]
    for name, cells in zip(printed.index, printed.to_numpy(), strict=True):
        lines.append(" & ".join([_escaped(name), *cells]).replace("–", "--") + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "○": r"$\circ$", "●": r"$\bullet$", "◌": r"$\odot$", "·": r"$\cdot$",
}  # fmt: skip


def _escaped(word: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in str(word))


def _printed(
    table: pd.DataFrame,
    best: pd.DataFrame,
    text: Callable[[float], str],
    bold: Callable[[str], str],
) -> list[tuple[str, list[str]]]:
    return [
        (
            str(name),
            [
                bold(text(value)) if is_best else text(value)
                for value, is_best in zip(table.loc[name], best.loc[name], strict=True)
            ],
        )
        for name in table.index
    ]


def _flat(table: pd.DataFrame) -> pd.DataFrame:
    if table.index.name is None and table.index.dtype.kind in "iu":
        return table
    return table.rename_axis(str(table.index.name or "category")).reset_index()
