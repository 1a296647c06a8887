"""The page's one style sheet, for light and dark, narrow and wide.

Decides looks alone; the page loads nothing, so that its security policy can forbid everything.
"""

from __future__ import annotations

import base64
import hashlib

__all__ = ["STYLE", "STYLE_HASH"]

STYLE = """
:root { color-scheme: light dark; --ink: #1c2330; --soft: #57637a; --line: #d5dbe5;
  --ground: #f4f6f9; --card: #fff; --accent: #0b6b5d; --good: #17703a; --warn: #8a5300;
  --bad: #b3261e; --tint: #e7f3f0; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --soft: #9aa5b8; --line: #2f3847;
  --ground: #11151c; --card: #191f29; --accent: #5fd0bd; --good: #6fd08c; --warn: #f0b35c;
  --bad: #ff8a80; --tint: #16302c; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 2.5rem 1.25rem; background: var(--ground); color: var(--ink);
  font: 1rem/1.55 system-ui, sans-serif; }
main { max-width: 60rem; margin: 0 auto; }
h1 { margin: 0; font-size: 1rem; font-weight: 600; color: var(--accent); }
.client { margin: .25rem 0 0; font-size: clamp(1.6rem, 6vw, 2.6rem); font-weight: 650;
  letter-spacing: -.02em; line-height: 1.2; overflow-wrap: anywhere; }
.lead { margin: .25rem 0 2rem; color: var(--soft); }
section { margin: 0 0 1.25rem; padding: 1.1rem 1.25rem; background: var(--card);
  border: 1px solid var(--line); border-radius: .6rem; }
h2 { margin: 0 0 .75rem; font-size: .8rem; font-weight: 600; color: var(--soft);
  text-transform: uppercase; letter-spacing: .06em; }
h3 { margin: 0 0 .75rem; font-size: 1rem; overflow-wrap: anywhere; }
p { margin: 0 0 .75rem; }
p:last-child { margin-bottom: 0; }
a { color: var(--accent); }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr));
  gap: 0 1.25rem; }
table { width: 100%; border-collapse: collapse; table-layout: fixed; }
th, td { padding: .3rem .75rem .3rem 0; text-align: left; vertical-align: top;
  border-top: 1px solid var(--line); }
tr:first-child > * { border-top: 0; }
th { width: 10rem; font-weight: 500; color: var(--soft);
  overflow-wrap: anywhere; }
td, code, textarea, input, select { font: .875rem/1.5 ui-monospace, monospace; }
td, code { overflow-wrap: anywhere; }
.chain { display: flex; flex-wrap: wrap; gap: .75rem 2rem; margin: 0 0 .75rem; padding: 0;
  list-style: none; }
.chain li { position: relative; flex: 1 1 10.5rem; max-width: 12.7rem;
  padding: .6rem .75rem; background: var(--ground);
  border: 1px solid var(--line); border-left: .3rem solid var(--soft); border-radius: .4rem;
  overflow-wrap: anywhere; }
.chain li:not(:last-child)::after { content: "\\2192"; position: absolute; right: -1.6rem;
  top: .5rem; color: var(--soft); }
.chain b { display: block; font: 600 .95rem/1.4 ui-monospace, monospace; }
.chain span { display: block; font-size: .8rem; color: var(--soft); }
.chain .verdict { font-weight: 600; color: inherit; }
.chain .ignored { border-style: dashed; }
.chain .ignored b { color: var(--soft); text-decoration: line-through; }
.chain .client-hop { border-left-color: var(--accent); background: var(--tint); }
.chain .client-hop .verdict { color: var(--accent); }
.chain .trusted { border-left-color: var(--good); }
.chain .trusted .verdict { color: var(--good); }
.chain .unusable { border-left-color: var(--bad); }
.chain .unusable .verdict { color: var(--bad); }
.findings { margin: 0 0 .75rem; padding: 0; list-style: none; }
.findings li { padding: .5rem 0 .5rem .75rem; border-left: .3rem solid var(--warn);
  margin-bottom: .5rem; overflow-wrap: anywhere; }
.findings .info { border-color: var(--accent); }
.findings .error { border-color: var(--bad); }
.findings b { font-family: ui-monospace, monospace; font-size: .9rem; }
.findings span { display: block; color: var(--soft); font-size: .9rem; }
form { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 17rem), 1fr));
  gap: .75rem 1.25rem; }
label { display: block; font-size: .85rem; color: var(--soft); }
label.wide { grid-column: 1 / -1; }
input, select, textarea { display: block; width: 100%; margin-top: .2rem; padding: .45rem .6rem;
  color: var(--ink); background: var(--ground); border: 1px solid var(--soft);
  border-radius: .35rem; }
input, select { height: 2.4rem; text-overflow: ellipsis; }
button { justify-self: start; padding: .5rem 1.2rem; font: 600 .95rem system-ui, sans-serif;
  color: var(--card); background: var(--accent); border: 0; border-radius: .35rem; }
:focus-visible { outline: .15rem solid var(--accent); outline-offset: .1rem; }
.list { margin: 0 0 .75rem; padding: 0 0 0 1.1rem; }
.wrong { color: var(--bad); overflow-wrap: anywhere; }
[aria-invalid] { border: .15rem solid var(--bad); }
@media (max-width: 34rem) {
  body { padding: 1.5rem .75rem; }
  section { padding: .9rem; }
  .chain { flex-direction: column; gap: 1.6rem; }
  .chain li { flex: none; max-width: none; }
  .chain li:not(:last-child)::after { content: "\\2193"; right: auto; left: 1rem; top: auto;
    bottom: -1.6rem; }
  th { width: 6.5rem; }
}
"""

STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
"""What a security policy calls it."""
