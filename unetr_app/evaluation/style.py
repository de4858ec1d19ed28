"""Style: the look of the evaluation report, light, dark and on paper."""

STYLE = """
:root { color-scheme: light dark; --page: #ffffff; --ink: #1b1f24; --soft: #59636e;
  --line: #d1d9e0; --shade: #f4f6f8; --dot: #0072b2; --box: #56b4e955; --mean: #d55e00;
  --failed: #a40e26; }
@media screen and (prefers-color-scheme: dark) { :root { --page: #12161b; --ink: #e6e9ed;
  --soft: #9aa4af; --line: #39424d; --shade: #1b2128; --dot: #56b4e9; --box: #0072b266;
  --mean: #e69f00; --failed: #ff8b94; } }
body { margin: 0 auto; padding: 1.5rem; max-width: 72rem; background: var(--page);
  color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0; } h2 { font-size: 1.25rem; margin: 2.2rem 0 .5rem;
  border-bottom: 1px solid var(--line); } h3 { font-size: 1rem; margin: 1.2rem 0 .2rem; }
p { margin: .4rem 0; } .notice { font-weight: 600; } footer, small { color: var(--soft); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: top; } thead th { background: var(--shade); vertical-align: bottom; }
tbody th { font-weight: 600; } .number { text-align: right; }
td.number { white-space: nowrap; }
.failed { color: var(--failed); font-weight: 600; }
svg { display: block; width: 100%; height: auto; font-size: 12px; } svg text { fill: var(--ink); }
svg .small { fill: var(--soft); font-size: 11px; }
svg .strong { font-weight: 600; font-size: 13px; }
.axis { stroke: var(--soft); } .grid { stroke: var(--line); stroke-width: .6; }
.box { fill: var(--box); stroke: var(--dot); } .median { stroke: var(--ink); stroke-width: 2; }
.dot { fill: var(--dot); fill-opacity: .55; } .mean { fill: var(--mean); stroke: var(--page); }
.bias { stroke: var(--mean); stroke-width: 1.6; }
.limit { stroke: var(--mean); stroke-dasharray: 6 4; }
.panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(20rem, 1fr)); gap: 1rem; }
figure { margin: 1rem 0; } figure img { width: 100%; height: auto; display: block; }
figcaption { font-weight: 600; margin-bottom: .2rem; } dt { font-weight: 600; margin-top: .6rem; }
dd { margin: 0 0 0 1.2rem; }
@media print { body { max-width: none; padding: 0; font-size: 11px; } .wide { overflow: visible; }
  table { font-size: 8.5px; } th, td { padding: .15rem .3rem; }
  thead { display: table-header-group; }
  tr, figure, svg { break-inside: avoid; } h2 { break-after: avoid; }
  .box, .dot, .mean, thead th, img { print-color-adjust: exact;
    -webkit-print-color-adjust: exact; } }
"""
