"""Style sheet and script of the page."""

STYLE = """
:root { color-scheme: light; --ink: #222; --soft: #667; --line: #dde; --accent: #1f6f8b; }
* { box-sizing: border-box; }
body { margin: 0; font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: #f6f7f9; }
header { background: #fff; border-bottom: 1px solid var(--line); padding: 20px 5vw; }
h1 { margin: 0 0 12px; font-size: 24px; } h2 { margin: 0 0 10px; font-size: 18px; }
dl { display: flex; flex-wrap: wrap; gap: 10px 34px; margin: 0; }
dt { color: var(--soft); font-size: 12.5px; } dd { margin: 0; font-size: 17px; font-weight: 600; }
main { padding: 18px 5vw; display: grid; gap: 18px; grid-template-columns: minmax(0, 1fr); }
section { background: #fff; border: 1px solid var(--line); border-radius: 8px; padding: 16px 20px; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13.5px; }
th, td { padding: 3px 12px 3px 0; text-align: right; border-bottom: 1px solid #eef; white-space: nowrap; }
th:first-child { text-align: left; font-weight: 500; } thead th { color: var(--soft); font-weight: 500; }
.maps td, .maps th { border: 0; padding: 3px; text-align: center; font-weight: 400; font-size: 12px; }
.wide { overflow-x: auto; }
.pair { display: flex; flex-wrap: wrap; gap: 20px; align-items: flex-start; }
figure { margin: 0; max-width: 300px; } figcaption, p { color: var(--soft); font-size: 13px; max-width: 75ch; }
img { image-rendering: pixelated; display: block; border: 1px solid var(--line); }
.pair svg { flex: 1 1 420px; min-width: 0; }
svg { width: 560px; max-width: 100%; height: auto; font: 11.5px system-ui, sans-serif; }
svg text { fill: var(--soft); } svg .title { fill: var(--ink); }
svg .grid { stroke: #e8e8f0; } svg .stock { stroke: #999; stroke-dasharray: 5 4; }
svg polyline { fill: none; stroke-width: 2; }
select { font: inherit; padding: 2px 6px; }
footer { padding: 8px 5vw 24px; color: var(--soft); font-size: 12.5px; }
@media print { section { break-inside: avoid; } .panel[hidden] { display: block; } select { display: none; } }
"""

SCRIPT = """
const choice = document.getElementById('layer');
if (choice) choice.addEventListener('change', () => {
  document.querySelectorAll('.panel').forEach(panel => { panel.hidden = panel.id !== 'panel' + choice.value; });
});
"""
