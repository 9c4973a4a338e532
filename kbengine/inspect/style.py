"""How the page of `kbengine inspect --html` looks: light or dark as the reader's system is."""

from __future__ import annotations

STYLE = """
:root {
  color-scheme: light dark;
  --ground: #f6f7f9; --sheet: #ffffff; --ink: #1d2430; --faint: #5c6675; --rule: #dfe3e9;
  --link: #1f5fbf; --good: #1b7f4b; --bad: #b3261e; --unsure: #8a6100; --bar: #7aa7e0;
  --line: #7d8898; --end: #e9edf3; --end-edge: #7d8898; --state: #f3e3fb; --state-edge: #9a4fc4;
  --other: #ffe7cf; --other-edge: #cf6a00; --unknown: #eceef1; --unknown-edge: #8a93a0;
  --part0: #d9e8fc; --part0-edge: #2f6fc9; --part1: #d8f3e0; --part1-edge: #23894f;
  --part2: #fdf3c7; --part2-edge: #a78100; --part3: #d5f2f5; --part3-edge: #118391;
  --part4: #fbdfe8; --part4-edge: #bf3b6c; --part5: #e2e2fb; --part5-edge: #5753c6;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #12151a; --sheet: #1a1f27; --ink: #e4e8ee; --faint: #98a3b3; --rule: #2f3743;
    --link: #82b1f5; --good: #5fcf95; --bad: #ff8f86; --unsure: #e0b450; --bar: #3f6ca8;
    --line: #8792a3; --end: #2a313c; --end-edge: #8792a3; --state: #3a2547; --state-edge: #c68ae8;
    --other: #47301a; --other-edge: #f0953f; --unknown: #2b3038; --unknown-edge: #8a93a0;
    --part0: #1d3557; --part0-edge: #6ea8f7; --part1: #173d29; --part1-edge: #5fcf95;
    --part2: #403714; --part2-edge: #d9b93a; --part3: #123c42; --part3-edge: #55c6d3;
    --part4: #472434; --part4-edge: #ef86ad; --part5: #2c2b57; --part5-edge: #9b98f5;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 1.5rem clamp(0.75rem, 3vw, 2.5rem); max-width: 90rem;
  background: var(--ground); color: var(--ink); font: 15px/1.5 system-ui, sans-serif;
}
h1 { margin: 0; font-size: 1.7rem; overflow-wrap: anywhere; }
h2 { margin: 0 0 0.6rem; font-size: 1.15rem; overflow-wrap: anywhere; }
p { margin: 0.3rem 0; overflow-wrap: anywhere; }
a { color: var(--link); }
.faint { color: var(--faint); }
.verdicts { list-style: none; margin: 0.8rem 0; padding: 0; }
.verdicts li { padding-left: 1.6em; text-indent: -1.6em; overflow-wrap: anywhere; }
.verdicts li::before { display: inline-block; width: 1.6em; text-indent: 0; font-weight: bold; }
.verdicts .good::before { content: "✓"; }
.verdicts .bad::before { content: "✗"; }
.verdicts .unsure::before { content: "?"; }
.good { color: var(--good); }
.bad { color: var(--bad); }
.unsure { color: var(--unsure); }
.facts { display: flex; flex-wrap: wrap; gap: 0.75rem; margin: 1rem 0; }
.facts div, section {
  background: var(--sheet); border: 1px solid var(--rule); border-radius: 8px;
}
.facts div { padding: 0.5rem 0.9rem; }
.facts dt { color: var(--faint); font-size: 0.85rem; }
.facts dd { margin: 0; font-size: 1.15rem; font-variant-numeric: tabular-nums; }
nav { display: flex; flex-wrap: wrap; gap: 0.2rem 1rem; margin: 1rem 0; }
section { margin: 1rem 0; padding: 0.9rem 1.1rem; }
.columns { columns: 2 28rem; column-gap: 1rem; }
.columns section { break-inside: avoid; margin: 0 0 1rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.9rem; font-variant-numeric: tabular-nums; }
th { color: var(--faint); font-weight: 600; text-align: left; white-space: nowrap; }
th, td { padding: 0.2rem 1rem 0.2rem 0; vertical-align: top; }
tbody tr { border-top: 1px solid var(--rule); }
td { overflow-wrap: break-word; max-width: 42rem; }
.number { text-align: right; white-space: nowrap; }
.share { min-width: 15rem; white-space: nowrap; }
.percent { display: inline-block; width: 4.2em; padding-right: 0.7em; text-align: right; }
.bar {
  display: inline-block; height: 0.75em; min-width: 1px;
  background: var(--bar); border-radius: 2px; print-color-adjust: exact;
}
details { margin-top: 0.8rem; }
summary { cursor: pointer; color: var(--link); }
pre { overflow-x: auto; font-size: 0.85rem; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 0.3rem 1.2rem; padding: 0; }
.legend svg { vertical-align: -3px; margin-right: 0.4em; }
.picture { overflow: auto; }
.picture > svg { display: block; margin: 0.5rem auto; }
svg text { font: 11px ui-monospace, Menlo, Consolas, monospace; fill: var(--faint); }
svg text { text-anchor: middle; }
svg .name { font-weight: 700; fill: var(--ink); }
svg rect { stroke-width: 1.3; print-color-adjust: exact; }
.end rect { fill: var(--end); stroke: var(--end-edge); }
.state rect { fill: var(--state); stroke: var(--state-edge); }
.other rect { fill: var(--other); stroke: var(--other-edge); stroke-dasharray: 5 3; }
.unknown rect { fill: var(--unknown); stroke: var(--unknown-edge); }
.part0 rect { fill: var(--part0); stroke: var(--part0-edge); }
.part1 rect { fill: var(--part1); stroke: var(--part1-edge); }
.part2 rect { fill: var(--part2); stroke: var(--part2-edge); }
.part3 rect { fill: var(--part3); stroke: var(--part3-edge); }
.part4 rect { fill: var(--part4); stroke: var(--part4-edge); }
.part5 rect { fill: var(--part5); stroke: var(--part5-edge); }
.edge path { fill: none; stroke: var(--line); stroke-width: 1.3; }
.edge .wide { stroke: transparent; stroke-width: 11; }
.edge:hover .line { stroke: var(--link); stroke-width: 3; }
@media print {
  body { background: none; max-width: none; padding: 0; font-size: 11px; }
  nav { display: none; }
  section { border: none; padding: 0; }
  .columns { columns: auto; }
  .scroll, .picture, pre { overflow: visible; }
  pre { white-space: pre-wrap; overflow-wrap: anywhere; }
  tr { break-inside: avoid; }
  h2 { break-after: avoid; }
  .picture > svg { max-width: 100%; height: auto; }
}
"""
