/** @file The look that the HTML report and the page share: type, colours, tables, figures. */

/**
 * Colours of data are Okabe and Ito's, which colour-blind people can tell apart (Okabe & Ito 2008, "Color Universal
 * Design"); every series has a shape or a word of its own beside its colour.
 */
export const REPORT_STYLE: string = `
:root {
  color-scheme: light dark;
  --serif: "Charter", "Bitstream Charter", "Iowan Old Style", "Palatino Linotype", "Source Serif 4", Georgia, serif;
  --sans: ui-sans-serif, system-ui, "Segoe UI", "Helvetica Neue", "Open Sans", sans-serif;
  --mono: ui-monospace, "SF Mono", "Cascadia Mono", "DejaVu Sans Mono", Menlo, Consolas, monospace;
  --paper: #fdfdfb;
  --raised: #f5f4ef;
  --ink: #1b1b19;
  --soft: #5c5b55;
  --line: #d9d7ce;
  --strong-line: #8b897f;
  --training: #0072b2;
  --deploy: #b34a00;
  --good: #00694e;
  --bad: #a8322d;
  --unsure: #7a5b00;
  --training-wash: #e3eff6;
  --deploy-wash: #faece1;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #161614;
    --raised: #20201d;
    --ink: #ecebe4;
    --soft: #a5a399;
    --line: #3a3934;
    --strong-line: #78766c;
    --training: #64b5ea;
    --deploy: #f0914b;
    --good: #3cc79b;
    --bad: #ff8a80;
    --unsure: #e0b64a;
    --training-wash: #16303f;
    --deploy-wash: #3a2414;
  }
}
*, *::before, *::after { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0;
  background: var(--paper);
  color: var(--ink);
  font: 1rem/1.5 var(--serif);
  font-variant-numeric: lining-nums tabular-nums;
}
main { max-width: 60rem; margin: 0 auto; padding: 0 1.25rem 4rem; }
h1, h2, h3 { font-weight: 600; line-height: 1.25; text-wrap: balance; }
h1 { font-size: 1.75rem; margin: 2.5rem 0 .25rem; }
h2 { font-size: 1.25rem; margin: 3rem 0 .75rem; padding-top: .75rem; border-top: 1px solid var(--ink); }
h3 { font-size: 1rem; margin: 1.75rem 0 .5rem; }
p { margin: .5rem 0; max-width: 42rem; }
a { color: var(--training); text-underline-offset: .15em; }
code, .key { font: .86em/1.4 var(--mono); overflow-wrap: anywhere; }
.soft { color: var(--soft); }
.lead { font-size: 1.0625rem; }
.number { font-family: var(--sans); text-align: right; white-space: nowrap; }
ul.plain { list-style: none; margin: .5rem 0; padding: 0; }
ul.plain > li { margin: .25rem 0; max-width: 42rem; }

table { border-collapse: collapse; font: .875rem/1.4 var(--sans); width: 100%; }
caption, figcaption {
  text-align: left; color: var(--soft); font: .875rem/1.45 var(--serif); max-width: 46rem; margin-top: .5rem;
}
caption { caption-side: bottom; padding-top: .5rem; }
figcaption b, caption b { color: var(--ink); font-weight: 600; }
th { text-align: left; font-weight: 500; color: var(--soft); vertical-align: bottom; }
th, td { padding: .3rem .75rem .3rem 0; border-bottom: 1px solid var(--line); }
th:last-child, td:last-child { padding-right: 0; }
thead th { border-bottom: 1px solid var(--strong-line); }
tbody th { font-weight: 400; color: var(--ink); }
th.number { font-weight: 500; }
dl.facts { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.5rem; margin: 1rem 0; font: .9375rem/1.5 var(--serif); }
dl.facts dt { color: var(--soft); }
dl.facts dd { margin: 0; overflow-wrap: anywhere; }
figure { margin: 1.25rem 0; }
.scroll { overflow-x: auto; }
svg text { font-family: var(--sans); fill: var(--ink); }
svg .faint { fill: var(--soft); }
svg .grid { stroke: var(--line); stroke-width: 1; }
svg .axis { stroke: var(--strong-line); stroke-width: 1; }
.stroke-training { stroke: var(--training); fill: none; }
.stroke-deploy { stroke: var(--deploy); fill: none; stroke-dasharray: 5 3; }
.fill-training { fill: var(--training); }
.fill-deploy { fill: var(--deploy); }
svg text.fill-training { fill: var(--training); }
svg text.fill-deploy { fill: var(--deploy); }
svg .heat { fill: var(--ink); }
svg .heat.absent { stroke: var(--line); }

.verdict { border-left: .375rem solid var(--tone); padding: .25rem 0 .25rem 1rem; margin: 1.25rem 0; }
.verdict .word { font: 600 .8125rem/1.4 var(--mono); color: var(--tone); letter-spacing: .02em; }
.verdict .headline { font-size: 1.375rem; line-height: 1.3; margin: .125rem 0 .375rem; font-weight: 600; max-width: none; }
.verdict p { margin: .25rem 0; }
.tone-good { --tone: var(--good); }
.tone-bad { --tone: var(--bad); }
.tone-unsure { --tone: var(--unsure); }

table.omega td, table.omega th { border-bottom: 0; padding-top: .1rem; padding-bottom: .1rem; }
table.omega thead th { border-bottom: 1px solid var(--strong-line); }
table.omega .name { width: 32%; max-width: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; font: .8125rem/1.5 var(--mono); }
table.omega .track { padding: 0 .75rem 0 0; width: 42%; }
.lane { position: relative; display: block; height: 1.25rem; }
.lane i { position: absolute; display: block; }
.lane .rule { top: 0; bottom: 0; width: 1px; background: var(--line); }
.lane .bar { left: 0; top: .3rem; height: .65rem; background: var(--tone); }
.lane .limit { top: -.05rem; bottom: -.05rem; width: 2px; background: var(--ink); }
.lane .tick { font: .75rem/1.25rem var(--sans); transform: translateX(-50%); color: var(--soft); font-style: normal; white-space: nowrap; }
.lane .tick:first-child { transform: none; }
.lane .tick:last-child { transform: translateX(-100%); }
.status { color: var(--tone); font-family: var(--sans); white-space: nowrap; }
.finding { border-left: 2px solid var(--tone, var(--bad)); padding-left: 1rem; margin: 1rem 0; }
.finding h3 { margin-top: 0; }

@media (max-width: 40rem) {
  main { padding: 0 1rem 3rem; }
  h1 { font-size: 1.5rem; }
  table { font-size: .8125rem; }
  dl.facts { grid-template-columns: 1fr; gap: 0; }
  dl.facts dd { margin-bottom: .5rem; }
  table.omega .optional { display: none; }
  .lane .tick:nth-child(even) { display: none; }
  table.omega .name { width: 38%; }
  .scroll thead .number { white-space: normal; }
  .scroll table { font-size: .75rem; }
  .scroll th, .scroll td { padding-right: .35rem; }
}
@media print {
  :root { --paper: #fff; --raised: #fff; --ink: #000; --soft: #444; --line: #ccc; --strong-line: #777;
    --training: #0072b2; --deploy: #b34a00; --good: #00694e; --bad: #a8322d; --unsure: #7a5b00; }
  body { font-size: 10.5pt; }
  main { max-width: none; padding: 0; }
  figure, tr, .verdict, .finding { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
  thead { display: table-header-group; }
  .lane .bar, .lane .rule, .lane .limit { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  .scroll { overflow: visible; }
}
`;
