"""The style sheet of the audit's page, for light and dark, narrow and wide, screen and paper.

Decides looks alone. The page loads nothing, so that its policy forbids everything but these rules,
by their hash.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Final

from edgeserver.audit.page.markup import Markup

__all__ = ["PAGE_POLICY", "PAGE_STYLE"]

_LIGHT: Final = """--ink: #18202c; --soft: #556178; --line: #d6dce6; --ground: #f3f5f8;
  --card: #fff; --accent: #0b6b5d; --good: #17703a; --warn: #8a5300; --bad: #b3261e;
  --good-tint: #e6f4ea; --warn-tint: #fdf1de; --bad-tint: #fcebe9; --band: #9fb0c8;"""

PAGE_STYLE: Final = Markup(f"""
:root {{ color-scheme: light dark; {_LIGHT} }}
@media (prefers-color-scheme: dark) {{ :root {{ --ink: #e6e9ef; --soft: #9fabc0; --line: #303a4a;
  --ground: #10141b; --card: #181e28; --accent: #5fd0bd; --good: #6fd08c; --warn: #f0b35c;
  --bad: #ff8a80; --good-tint: #14301e; --warn-tint: #35280f; --bad-tint: #3a1b1a;
  --band: #5a6b86; }} }}
* {{ box-sizing: border-box; }}
body {{ margin: 0; padding: 2rem 1.25rem 3rem; background: var(--ground); color: var(--ink);
  font: 1rem/1.55 system-ui, sans-serif; }}
main {{ max-width: 74rem; margin: 0 auto; }}
header {{ margin: 0 0 1.5rem; }}
header p {{ margin: 0; color: var(--soft); }}
h1 {{ margin: 0; font-size: clamp(1.5rem, 4vw, 2.1rem); letter-spacing: -.02em;
  line-height: 1.25; }}
h2 {{ margin: 0; font-size: clamp(1.15rem, 3vw, 1.5rem); letter-spacing: -.01em; line-height: 1.3;
  overflow-wrap: anywhere; }}
h3 {{ margin: 1.6rem 0 .6rem; font-size: .8rem; font-weight: 600; color: var(--soft);
  text-transform: uppercase; letter-spacing: .06em; }}
p {{ margin: 0 0 .6rem; overflow-wrap: anywhere; }}
.kicker {{ margin: 0 0 .15rem; font-size: .85rem; font-weight: 600; color: var(--soft);
  overflow-wrap: anywhere; }}
.soft {{ color: var(--soft); }}
section {{ margin: 0 0 1.5rem; padding: 1.3rem 1.5rem 1.5rem; background: var(--card);
  border: 1px solid var(--line); border-top: .3rem solid var(--soft); border-radius: .6rem; }}
section.bad {{ border-top-color: var(--bad); }}
section.warn {{ border-top-color: var(--warn); }}
section.good {{ border-top-color: var(--good); }}
.bad > .headline {{ color: var(--bad); }}
.warn > .headline {{ color: var(--warn); }}
.good > .headline {{ color: var(--good); }}
.facts {{ display: flex; flex-wrap: wrap; gap: .6rem; margin: 1rem 0 0; padding: 0;
  list-style: none; }}
.facts li {{ padding: .35rem .8rem; border: 1px solid var(--line); border-radius: .5rem;
  background: var(--ground); font-size: .85rem; color: var(--soft); max-width: 100%;
  overflow-wrap: anywhere; }}
.facts b {{ display: block; color: var(--ink); font-size: 1.05rem; font-weight: 650; }}
.facts .bad {{ background: var(--bad-tint); }}
.facts .bad b {{ color: var(--bad); }}
.facts .warn {{ background: var(--warn-tint); }}
.facts .warn b {{ color: var(--warn); }}
.facts .good {{ background: var(--good-tint); }}
.facts .good b {{ color: var(--good); }}
.overview {{ display: grid; gap: .5rem; margin: 0 0 1.5rem; padding: 0; list-style: none; }}
.overview a {{ display: block; padding: .7rem 1rem; border: 1px solid var(--line);
  border-left: .35rem solid var(--soft); border-radius: .5rem; background: var(--card);
  color: var(--ink); text-decoration: none; overflow-wrap: anywhere; }}
.overview .bad a {{ border-left-color: var(--bad); }}
.overview .warn a {{ border-left-color: var(--warn); }}
.overview .good a {{ border-left-color: var(--good); }}
.overview b {{ display: block; }}
figure {{ margin: 1.4rem 0 0; }}
figcaption {{ margin: .6rem 0 0; font-size: .82rem; color: var(--soft); }}
.chart svg {{ display: block; margin: 0 auto; max-width: 100%; height: auto; }}
.chart.narrow {{ display: none; }}
.edge path {{ fill: none; stroke: var(--band); stroke-opacity: .75; }}
.edge polygon {{ fill: var(--band); }}
.edge.past path {{ stroke: var(--bad); stroke-dasharray: 9 6; }}
.edge.past polygon {{ fill: var(--bad); }}
.edge.bad path {{ stroke: var(--bad); stroke-dasharray: 9 6; }}
.edge.bad polygon {{ fill: var(--bad); }}
.edge.unsure path {{ stroke: var(--warn); stroke-dasharray: 3 4; }}
.edge.unsure polygon {{ fill: var(--warn); }}
.edge.good path {{ stroke: var(--good); }}
.edge.good polygon {{ fill: var(--good); }}
.chart text {{ fill: var(--soft); font-family: system-ui, sans-serif; }}
.chart .place text {{ text-anchor: middle; }}
.chart .title {{ fill: var(--ink); font-family: ui-monospace, monospace; font-weight: 600; }}
.chart .lane {{ font-weight: 600; paint-order: stroke; stroke: var(--card); stroke-width: 4px; }}
.chart .lane.past, .chart .lane.bad {{ fill: var(--bad); }}
.chart .lane.unsure {{ fill: var(--warn); }}
.chart .lane.good {{ fill: var(--good); }}
.place rect {{ fill: var(--ground); stroke: var(--line); stroke-width: 1.2; }}
.place.proxy rect {{ stroke: var(--good); }}
.place.app rect {{ stroke: var(--accent); stroke-width: 2; }}
.place.client rect {{ stroke: var(--accent); fill: var(--good-tint); }}
.place.unlisted rect {{ stroke: var(--warn); fill: var(--warn-tint); stroke-dasharray: 5 3; }}
.place.claim rect {{ stroke-dasharray: 5 3; }}
.place.claim .title {{ fill: var(--soft); text-decoration: line-through; }}
.scroll {{ overflow-x: auto; }}
table {{ width: 100%; border-collapse: collapse; font-size: .9rem; }}
th, td {{ padding: .38rem 1rem .38rem 0; text-align: left; vertical-align: top;
  border-top: 1px solid var(--line); overflow-wrap: break-word; min-width: 4.5rem; }}
thead th {{ border-top: 0; font-size: .8rem; font-weight: 600; color: var(--soft); }}
td.mono, code, pre {{ font: .86em/1.5 ui-monospace, monospace; }}
.scroll + p {{ margin-top: .8rem; }}
.number {{ text-align: right; font-variant-numeric: tabular-nums; }}
td.bad, b.bad {{ color: var(--bad); font-weight: 600; }}
td.warn, b.warn {{ color: var(--warn); font-weight: 600; }}
td.good, b.good {{ color: var(--good); font-weight: 600; }}
code {{ overflow-wrap: anywhere; }}
pre {{ margin: 0; padding: .6rem .8rem; background: var(--ground); border: 1px solid var(--line);
  border-radius: .4rem; white-space: pre-wrap; overflow-wrap: anywhere; }}
details {{ margin: .6rem 0 0; }}
summary {{ cursor: pointer; color: var(--soft); font-size: .92rem; }}
.finding {{ padding: .55rem .9rem; border: 1px solid var(--line); border-left: .3rem solid
  var(--accent); border-radius: .45rem; }}
.finding.error {{ border-left-color: var(--bad); }}
.finding.warning {{ border-left-color: var(--warn); }}
.finding summary {{ color: var(--ink); overflow-wrap: anywhere; }}
.finding dl {{ display: grid; grid-template-columns: 6.5rem minmax(0, 1fr); gap: .45rem 1rem;
  margin: .7rem 0 .2rem; font-size: .92rem; }}
.finding dt {{ color: var(--soft); }}
.finding dd {{ margin: 0; overflow-wrap: anywhere; }}
.tag {{ display: inline-block; margin-right: .45rem; padding: 0 .5rem; border-radius: 1rem;
  font-size: .78rem; font-weight: 650; background: var(--ground); color: var(--accent); }}
.error .tag {{ background: var(--bad-tint); color: var(--bad); }}
.warning .tag {{ background: var(--warn-tint); color: var(--warn); }}
:focus-visible {{ outline: .15rem solid var(--accent); outline-offset: .1rem; }}
@media (max-width: 44rem) {{
  body {{ padding: 1.2rem .75rem 2rem; }}
  section {{ padding: 1rem .9rem 1.1rem; }}
  .chart.wide {{ display: none; }}
  .chart.narrow {{ display: block; }}
  thead {{ display: none; }}
  tbody, tr, td {{ display: block; min-width: 0; }}
  table {{ display: block; }}
  tr {{ padding: .5rem 0; border-top: 1px solid var(--line); }}
  td {{ padding: .1rem 0; border: 0; overflow-wrap: anywhere; }}
  .number {{ text-align: left; }}
  td:empty {{ display: none; }}
  td[data-name]::before {{ content: attr(data-name) ": "; color: var(--soft);
    font: .85rem system-ui, sans-serif; }}
  .finding dl {{ grid-template-columns: minmax(0, 1fr); gap: .1rem; }}
  .finding dd {{ margin-bottom: .5rem; }}
}}
@media print {{
  :root {{ {_LIGHT} --ground: #fff; }}
  body {{ padding: 0; font-size: 10.5pt; }}
  section {{ border-radius: 0; break-inside: auto; }}
  .chart.wide {{ display: block; }}
  .chart.narrow {{ display: none; }}
  figure, .finding, tr, .facts {{ break-inside: avoid; }}
  h2, h3, summary {{ break-after: avoid; }}
  * {{ -webkit-print-color-adjust: exact; print-color-adjust: exact; }}
  details::details-content {{ content-visibility: visible; display: block; height: auto; }}
}}
""")

_HASH: Final = base64.b64encode(hashlib.sha256(PAGE_STYLE.encode()).digest()).decode()

PAGE_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'"
)
"""What the page may load: nothing, and its own rules."""
