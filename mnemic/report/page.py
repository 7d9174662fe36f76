"""The page around the figures: one HTML file that asks nobody for anything.

Its policy forbids every request and every script. Texts of the corpus come in through `mnemic.report.escape` alone.
What is long is folded into ``details``, which browsers open without a script; printing opens nothing by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mnemic.report.escape import escaped

_STYLE = """
:root{color-scheme:light dark;--ink:#1c2126;--quiet:#5d6872;--paper:#fff;--soft:#f3f5f7;--rule:#d8dee4;--a:#2f6f9f;
--b:#b4552d;--c:#4b7f52;--d:#7a5ea8}
@media(prefers-color-scheme:dark){:root{--ink:#e3e7ea;--quiet:#98a3ad;--paper:#14181c;--soft:#1d2328;--rule:#343c44;
--a:#6db1e0;--b:#e08a5f;--c:#84bd8c;--d:#b39ae0}}
@media print{:root{--ink:#000;--quiet:#444;--paper:#fff;--soft:#fff;--rule:#bbb}nav{display:none}
section{break-inside:avoid}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:62rem;padding:1.5rem 1.25rem 4rem;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,sans-serif}
h1{font-size:1.5rem;margin:0 0 .2rem}h2{font-size:1.15rem;margin:2.4rem 0 .3rem;padding-top:.6rem;
border-top:1px solid var(--rule)}h3{font-size:1rem;margin:1.4rem 0 .2rem}
p{margin:.3rem 0 .7rem;max-width:46rem}.quiet{color:var(--quiet)}
nav{display:flex;flex-wrap:wrap;gap:.15rem 1rem;margin:.8rem 0}nav a{color:var(--a);text-decoration:none}
svg{display:block;width:100%;height:auto;max-width:48rem;margin:.5rem 0;font:12px system-ui,sans-serif}
svg text{fill:var(--ink)}svg .end{text-anchor:end}svg .middle{text-anchor:middle}svg .quiet{fill:var(--quiet)}
.number{font-variant-numeric:tabular-nums}.bar{fill:var(--a)}.axis{stroke:var(--quiet)}.grid{stroke:var(--rule)}
.cut{stroke:var(--b);stroke-dasharray:4 3}.stem{stroke:var(--a);opacity:.5}
.edge{stroke:var(--quiet);fill:none;opacity:.55}
.box{fill:var(--soft);stroke:var(--rule)}polyline{fill:none;stroke-width:1.8}
.line0{stroke:var(--a)}.line1{stroke:var(--b)}.line2{stroke:var(--c)}.line3{stroke:var(--d)}
.dot0{fill:var(--a)}.dot1{fill:var(--b)}.dot2{fill:var(--c)}.dot3{fill:var(--d)}
table{border-collapse:collapse;margin:.4rem 0 .8rem;font-size:.9rem;max-width:100%}
th,td{padding:.18rem .9rem .18rem 0;text-align:left;vertical-align:top;border-bottom:1px solid var(--rule);
overflow-wrap:anywhere}th{color:var(--quiet);font-weight:600;overflow-wrap:normal}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
details{margin:.3rem 0}details+p{margin-top:1.3rem}
summary{cursor:pointer;color:var(--a)}details details{margin-left:1.2rem}
pre{margin:.2rem 0;padding:.5rem .7rem;background:var(--soft);border:1px solid var(--rule);border-radius:4px;
white-space:pre-wrap;overflow-wrap:anywhere;font:13px/1.45 ui-monospace,monospace}
.pair{display:grid;grid-template-columns:1fr 1fr;gap:.8rem;margin:.3rem 0 1rem}
@media(max-width:40rem){.pair{grid-template-columns:1fr}}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1rem;margin:.6rem 0}dt{color:var(--quiet)}dd{margin:0;
overflow-wrap:anywhere}
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


@dataclass(frozen=True)
class ReportPart:
    """A section of the page: its ``title``, and its HTML, whose texts are escaped already."""

    title: str
    html: str

    @property
    def anchor(self) -> str:
        return self.title.lower().replace(" ", "-")


def page(title: str, facts: Sequence[tuple[str, str]], parts: Iterable[ReportPart]) -> str:
    """The whole page. ``facts`` are (name, value) at its head."""
    shown = [part for part in parts if part.html]
    head = "".join(f"<dt>{escaped(name)}</dt><dd>{escaped(value, 400)}</dd>" for name, value in facts)
    links = "".join(f'<a href="#{escaped(part.anchor)}">{escaped(part.title)}</a>' for part in shown)
    body = "".join(
        f'<section id="{escaped(part.anchor)}"><h2>{escaped(part.title)}</h2>{part.html}</section>' for part in shown
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="referrer" content="no-referrer">'
        f"<title>{escaped(title)}</title><style>{_STYLE}</style></head><body>"
        f"<h1>{escaped(title)}</h1><dl>{head}</dl><nav>{links}</nav>{body}</body></html>\n"
    )


def paragraph(text: str, quiet: bool = False) -> str:
    return f'<p class="quiet">{escaped(text, 1000)}</p>' if quiet else f"<p>{escaped(text, 1000)}</p>"


def table(heads: Sequence[str], rows: Iterable[Sequence[object]], fold: str = "") -> str:
    """A table; numbers stand on the right. With ``fold`` it is folded behind these words."""
    rows = [tuple(row) for row in rows]
    if not rows:
        return ""
    right = [all(isinstance(row[column], int | float | _Number) for row in rows) for column in range(len(heads))]
    head = "".join(f"<th{_right(one)}>{escaped(name)}</th>" for name, one in zip(heads, right, strict=True))
    body = "".join(
        "<tr>"
        + "".join(f"<td{_right(one)}>{_cell(value)}</td>" for value, one in zip(row, right, strict=True))
        + "</tr>"
        for row in rows
    )
    html = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return folded(fold, html) if fold else html


def folded(words: str, html: str, opened: bool = False) -> str:
    return f"<details{' open' if opened else ''}><summary>{escaped(words)}</summary>{html}</details>" if html else ""


class _Number(str):
    """A number that is in words already."""


def in_words(words: str) -> str:
    """``words`` as a number of a table, such as "12 %"."""
    return _Number(words)


def _right(right: bool) -> str:
    return ' class="n"' if right else ""


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.3g}" if isinstance(value, float) else escaped(value, 300)
