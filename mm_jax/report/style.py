"""The look of a report: that of the studio, light or dark, with the reader's own system fonts."""

from __future__ import annotations

__all__ = ["CSS", "SCRIPT"]

CSS = """
:root { --ink: #171a21; --soft: #565e6c; --line: #dde1e8; --wash: #f3f4f7; --paper: #fff;
  --accent: #4b45d6; --good: #12734f; --bad: #b3381b; color-scheme: light; }
@media (prefers-color-scheme: dark) { :root { --ink: #eceef3; --soft: #a4acba; --line: #2a2f3a;
  --wash: #0f1115; --paper: #181b22; --accent: #a9a5ff; --good: #6fd3a4; --bad: #ff9d85;
  color-scheme: dark; }
  figure svg { background: #fff; border-radius: 10px; } }
@media print { :root { --ink: #171a21; --soft: #565e6c; --line: #dde1e8; --wash: #fff;
  --paper: #fff; color-scheme: light; } .slide { display: none; } }
* { box-sizing: border-box; }
html { scroll-behavior: smooth; -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--wash); color: var(--ink); line-height: 1.55; font-size: 16px;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans",
  "DejaVu Sans", sans-serif; }
main, header > div, nav > div, footer { max-width: 1120px; margin: 0 auto; padding: 0 28px; }
header { background: var(--paper); padding: 52px 0 30px; }
h1 { font-size: clamp(1.75rem, 4vw, 2.5rem); line-height: 1.15; letter-spacing: -.02em;
  margin: 0 0 10px; font-weight: 680; text-wrap: balance; }
.lede { color: var(--soft); font-size: 1.08rem; margin: 0; max-width: 46em; }
nav { position: sticky; top: 0; z-index: 2;
  background: color-mix(in srgb, var(--paper) 94%, transparent);
  border-bottom: 1px solid var(--line); }
nav > div { display: flex; gap: 4px 22px; overflow-x: auto; padding-top: 10px;
  padding-bottom: 10px; }
nav a { color: var(--soft); text-decoration: none; font-size: .92rem; white-space: nowrap; }
nav a:hover, nav a:focus-visible { color: var(--accent); }
section { background: var(--paper); border: 1px solid var(--line); border-radius: 14px;
  padding: 30px 34px 34px; margin: 26px 0; scroll-margin-top: 58px; }
h2 { font-size: 1.4rem; letter-spacing: -.01em; margin: 0 0 6px; font-weight: 650; }
section > .intro { color: var(--soft); max-width: 46em; margin: 0 0 4px; }
p { margin: 14px 0 0; max-width: 46em; }
.banner { margin: 20px 0 0; padding: 12px 18px; border-radius: 10px; border-left: 6px solid;
  font-weight: 550; max-width: none; }
.banner.good { color: var(--good);
  background: color-mix(in srgb, var(--good) 12%, var(--paper)); }
.banner.bad { color: var(--bad); background: color-mix(in srgb, var(--bad) 12%, var(--paper)); }
.metrics { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px;
  margin: 26px 0 0; }
.metrics div { background: var(--wash); border-radius: 10px; padding: 14px 18px; }
.metrics dt { color: var(--soft); font-size: .84rem; }
.metrics dd { margin: 2px 0 0; font-size: 1.5rem; font-weight: 620; letter-spacing: -.01em;
  font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.metrics dd.long { font-size: 1.02rem; font-weight: 550; line-height: 1.35; margin-top: 6px; }
.metrics small { font-size: .85rem; font-weight: 400; color: var(--soft); letter-spacing: 0; }
section .metrics { margin-top: 18px; }
figure { margin: 24px 0 0; min-width: 0; }
figure img, figure video { display: block; max-width: 100%; height: auto; border-radius: 8px;
  background: var(--wash); margin: 0 auto; }
figure img.wide, figure video.wide { width: 100%; }
/* Small videos are enlarged as the slider's frames are: below that their controls hide them. */
figure video { min-width: min(280px, 100%); }
figure:has(> .slide) ~ figure:has(> .slide) { border-top: 1px solid var(--line);
  padding-top: 26px; }
figure img.crisp { image-rendering: pixelated; }
figure svg { display: block; width: 100%; height: auto; max-width: 660px; margin: 0 auto;
  font-family: inherit; }
.slide { display: grid; justify-items: center; gap: 6px; margin-bottom: 14px; }
.slide[hidden] { display: none; }
.slide canvas { max-width: 100%; max-height: 420px; border-radius: 10px; }
.slide label { display: flex; align-items: center; gap: 14px; width: min(100%, 460px);
  color: var(--soft); font-size: .9rem; }
.slide input { flex: 1; accent-color: var(--accent); height: 28px; }
.slide output { min-width: 4.5em; font-variant-numeric: tabular-nums; }
figcaption { color: var(--soft); font-size: .9rem; margin-top: 10px; max-width: 52em; }
figcaption b { color: var(--ink); font-weight: 600; margin-right: .45em; }
.columns { display: grid; gap: 0 32px; align-items: start;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, var(--least)), 1fr)); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .94rem;
  font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 9px 14px; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 2px; }
th.text, td.text { text-align: left; white-space: normal; }
thead th { color: var(--soft); font-weight: 550; font-size: .84rem; vertical-align: bottom;
  border-bottom: 2px solid var(--line); }
thead small { display: block; font-weight: 400; font-size: .78rem; }
tbody th { font-weight: 550; }
tbody tr:hover { background: var(--wash); }
td.good { color: var(--good); } td.bad { color: var(--bad); font-weight: 620; }
pre { background: var(--wash); border: 1px solid var(--line); border-radius: 8px; overflow-x: auto;
  padding: 14px 18px; margin: 18px 0 0; font-size: .86rem; line-height: 1.5;
  font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
footer { color: var(--soft); font-size: .86rem; padding-top: 6px; padding-bottom: 44px; }
@media (max-width: 640px) {
  main, header > div, nav > div, footer { padding-left: 16px; padding-right: 16px; }
  header { padding-top: 34px; } section { padding: 22px 18px 24px; margin: 16px 0; }
}
@media print { nav { display: none; } body { background: #fff; }
  section { border: 0; padding: 0; break-inside: avoid; } }
"""

SCRIPT = """
for (const slide of document.querySelectorAll(".slide")) {
  const image = slide.nextElementSibling, labels = JSON.parse(slide.dataset.frames);
  const canvas = slide.querySelector("canvas"), input = slide.querySelector("input");
  const show = () => {
    const side = image.naturalWidth / labels.length, rows = Math.round(image.naturalHeight / side);
    canvas.width = rows * side; canvas.height = side;
    canvas.style.width = Math.max(rows * side, 280) + "px";
    for (let row = 0; row < rows; row++)
      canvas.getContext("2d").drawImage(image, input.value * side, row * side, side, side,
        row * side, 0, side, side);
    slide.querySelector("output").textContent = labels[input.value];
    input.setAttribute("aria-valuetext", labels[input.value]);
  };
  input.addEventListener("input", show);
  const begin = () => { slide.hidden = false; show(); };
  image.complete ? begin() : image.addEventListener("load", begin);
}
"""
