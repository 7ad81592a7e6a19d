"""How the pages look: black on white, on screens and on A4."""

from __future__ import annotations

__all__ = ["STYLE"]

# Blue and vermilion of Okabe and Ito (medssm_monai.visualize.palette), which color-blind readers tell apart; whatever a
# color says is said in words as well.
STYLE = """
html { color: #000; background: #fff; }
body { font: 16px/1.5 system-ui, "Segoe UI", "Liberation Sans", Arial, sans-serif; margin: 0 auto; max-width: 60rem;
  padding: 1rem 1.25rem 3rem; overflow-wrap: break-word; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: .5rem 0; }
h2 { font-size: 1.25rem; margin: 2rem 0 .5rem; border-bottom: 2px solid #000; }
h3 { font-size: 1.05rem; margin: 1.25rem 0 .5rem; }
p { margin: .5rem 0; }
a { color: #0072B2; }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; padding: 0; margin: .75rem 0; }
.key { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1rem 0; padding: 0; }
.key div { border: 1px solid #767676; border-radius: 4px; padding: .5rem 1rem; }
.key dt { font-size: .875rem; }
.key dd { margin: 0; font-size: 1.5rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.key dd small { display: block; font-size: .875rem; font-weight: 400; }
.warning { border: 1px solid #D55E00; border-left-width: 8px; padding: .5rem 1rem; margin: .5rem 0; }
.note { border: 1px solid #0072B2; border-left-width: 8px; padding: .5rem 1rem; margin: .5rem 0; }
.scroll { overflow-x: auto; margin: .75rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; min-width: min(100%, 34rem); }
caption { text-align: left; font-weight: 600; padding: .25rem 0; }
th, td { border-bottom: 1px solid #767676; padding: .25rem .75rem .25rem 0; text-align: left; vertical-align: top; }
thead th { border-bottom: 2px solid #000; }
tbody th { font-weight: 400; }
.facts td { overflow-wrap: anywhere; }
.interval { white-space: nowrap; }
table.wide { font-size: .8rem; line-height: 1.35; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 1rem; }
.pairs { display: grid; grid-template-columns: repeat(auto-fit, minmax(24rem, 1fr)); gap: 1rem; }
.small { display: grid; grid-template-columns: repeat(auto-fit, minmax(10rem, 1fr)); gap: 1rem; }
figure { margin: .5rem 0; min-width: 0; overflow-wrap: anywhere; }
img { max-width: 100%; height: auto; display: block; }
figcaption { font-size: .875rem; margin-top: .25rem; }
footer { margin-top: 2.5rem; border-top: 1px solid #000; font-size: .875rem; }
@page { size: A4; margin: 15mm; }
@media print {
  body { font-size: 10pt; max-width: none; padding: 0; }
  h1 { font-size: 16pt; } h2 { font-size: 13pt; } h3 { font-size: 11pt; }
  nav { display: none; }
  a { color: #000; text-decoration: none; }
  h2, h3, caption { break-after: avoid; }
  figure, .warning, .note, tr, .key { break-inside: avoid; }
  thead { display: table-header-group; }
  .scroll { overflow: visible; }
  table.wide { font-size: 7.5pt; }
  .charts, .pairs { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .small { grid-template-columns: repeat(4, minmax(0, 1fr)); }
  img { max-height: 235mm; object-fit: contain; object-position: left top; }
}
""".strip()
