# SPDX-License-Identifier: Apache-2.0
"""How a report looks: light and dark, wide and narrow, and on paper. Pure."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256

CSS = """
:root { color-scheme: light dark; --text: #1c2430; --soft: #4c5868; --back: #ffffff; --panel: #f3f5f8;
  --rule: #c9d1db; --link: #0b57a4; --line: #ffffff; --mark: #b00020;
  --f0: #1f6fb2; --f1: #b45f06; --f2: #2e7d5b; --f3: #7c4d9e; --f4: #6b7280; --f5: #a8456b; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6eaf0; --soft: #b0bac7; --back: #12161c; --panel: #1c222b; --rule: #465160; --link: #8cc2ff;
    --line: #12161c; --mark: #ff8a93;
    --f0: #6bb1ee; --f1: #e9a04f; --f2: #6cc79a; --f3: #c39ae2; --f4: #a3adba; --f5: #ec8fb2; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; padding: 0 1rem 3rem; max-width: 68rem; background: var(--back); color: var(--text);
  font: 1rem/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 1.5rem 0 .25rem; }
h2 { font-size: 1.3rem; margin: 2.5rem 0 .5rem; padding-top: .75rem; border-top: 1px solid var(--rule); }
h3 { font-size: 1.05rem; margin: 1.5rem 0 .5rem; }
p { max-width: 46rem; margin: .5rem 0; }
a { color: var(--link); }
a:focus-visible, summary:focus-visible, .scroll:focus-visible, pre:focus-visible { outline: 3px solid var(--link);
  outline-offset: 2px; }
.skip { position: absolute; left: -999rem; }
.skip:focus { position: static; }
.soft { color: var(--soft); }
nav ul, .legend, .numbers { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; padding: 0; margin: .75rem 0;
  list-style: none; }
nav a { display: inline-block; padding: .25rem 0; }
.numbers { gap: .75rem; }
.numbers div { flex: 1 1 8.5rem; background: var(--panel); border: 1px solid var(--rule); border-radius: .4rem;
  padding: .5rem .75rem; }
.numbers dt { color: var(--soft); font-size: .9rem; }
.numbers dd { margin: 0; font-size: 1.4rem; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; margin: .75rem 0; }
table { border-collapse: collapse; width: 100%; font-size: .93rem; overflow-wrap: normal; }
caption { text-align: left; color: var(--soft); padding-bottom: .35rem; }
th, td { text-align: left; vertical-align: top; padding: .35rem .75rem .35rem 0; border-bottom: 1px solid var(--rule); }
th[scope=row] { font-weight: 600; min-width: 9rem; max-width: 22rem; overflow-wrap: anywhere; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.when { white-space: nowrap; }
td bdi, td { min-width: 4.5rem; }
.long { display: block; min-width: 15rem; }
.share { display: block; width: 100%; min-width: 8rem; margin-top: .25rem; }
.time { display: block; width: 100%; height: auto; max-width: 56.25rem; }
.time text { font-size: 12px; fill: var(--soft); font-family: inherit; }
.wide { display: none; }
@media (min-width: 40rem) { .wide { display: block; } .narrow { display: none; } }
.time line { stroke: var(--soft); }
.time .grid { stroke: var(--rule); }
.bar { stroke: var(--back); stroke-width: .5px; }
.mark { stroke: var(--mark); stroke-width: 3px; }
.patterns { position: absolute; }
.line { stroke: var(--line); stroke-width: 1px; stroke-opacity: .75; fill: none; }
.fill0 { fill: var(--f0); } .fill1 { fill: var(--f1); } .fill2 { fill: var(--f2); }
.fill3 { fill: var(--f3); } .fill4 { fill: var(--f4); } .fill5 { fill: var(--f5); }
.legend li { display: flex; align-items: center; gap: .4rem; }
details { border-bottom: 1px solid var(--rule); }
summary { cursor: pointer; padding: .5rem 0; }
summary h3 { display: inline; font-size: 1rem; font-weight: 600; margin: 0; }
pre { background: var(--panel); border: 1px solid var(--rule); border-radius: .4rem; padding: .75rem; margin: .5rem 0;
  overflow-x: auto; font: .82rem/1.4 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; }
@media (max-width: 39.99rem) {
  table, caption, tbody, tr, td, th[scope=row] { display: block; max-width: none; }
  thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  tr { padding: .5rem 0; border-bottom: 1px solid var(--rule); }
  td, th[scope=row] { border: 0; padding: .1rem 0; }
  td.number { display: inline-block; min-width: 0; margin-right: 1.25rem; text-align: left; }
  td::before { content: attr(data-label) ": "; color: var(--soft); font-weight: normal; }
  td:empty { display: none; } }
@media print { nav, .skip { display: none; } .scroll { overflow: visible; } }
@media (forced-colors: active) { .bar { stroke: CanvasText; } }
"""


def policy() -> str:
    """Return the content security policy: the page loads nothing and runs nothing; this style sheet is all it has."""
    digest = b64encode(sha256(CSS.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
