"""The one style sheet: system fonts, tabular numbers, colours that colour-blind readers can tell apart."""

CSS = """
:root{color-scheme:light dark;--paper:#fdfdfc;--card:#f4f4f1;--ink:#1b1f24;--soft:#59626d;--line:#dcdcd6;
--blue:#0b5fa5;--bluish:#a9cbe8;--orange:#a8470a;--orangish:#f3c79f;--teal:#00695a;--red:#a52a14;--slate:#46505c;
--mark:#fde3c2;--unsure:#e8eaee;--good:#d9efe9;--bad:#f9dfd8}
@media (prefers-color-scheme:dark){:root{--paper:#14171b;--card:#1c2026;--ink:#e7e9ec;--soft:#a0a9b4;--line:#323942;
--blue:#74b6f2;--bluish:#28527a;--orange:#f2a765;--orangish:#70431c;--teal:#5fcdb4;--red:#ff937a;--slate:#c3cbd5;
--mark:#5a3a17;--unsure:#2b323b;--good:#123d35;--bad:#4d2118}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;scroll-padding-top:1rem}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,
"Noto Sans",sans-serif;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
main{max-width:68rem;margin:0 auto;padding:0 1.25rem 5rem}
header.top{padding:2.5rem 0 1rem}
h1,h2,h3{line-height:1.2;letter-spacing:-.012em;text-wrap:balance}
h1{font-size:2.1rem;margin:.4rem 0 1rem;font-weight:680}
h2{font-size:1.5rem;margin:3.4rem 0 .8rem;padding-top:1.2rem;border-top:1px solid var(--line);font-weight:650}
h3{font-size:1.08rem;margin:2.4rem 0 .5rem;font-weight:650}
p,ul,ol,dl{max-width:44rem;margin:.5rem 0 .9rem}
.lead{font-size:1.13rem;line-height:1.6}
.toy{display:block;max-width:none;margin:0;padding:.55rem 1.25rem;background:var(--ink);color:var(--paper);
font-size:.9rem;text-align:center}
.soft,.facts,caption,summary,figcaption{color:var(--soft)}
.facts{display:block;font-size:.78rem;line-height:1.4;font-weight:400}
.note{display:block;font-size:.82rem;line-height:1.4;color:var(--soft);font-weight:400}
code,pre,.mono{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:.88em}
a{color:var(--blue)}
a.cite{color:inherit;text-decoration:underline dotted var(--soft);text-underline-offset:.2em;white-space:nowrap}
a.cite:hover,a.cite:focus{color:var(--blue);text-decoration-style:solid}
a.seq{font-size:.8rem;color:var(--soft)}
.cites{font-size:.8rem}
.ci{color:var(--soft);font-size:.9em}
.refused{color:var(--soft);font-style:italic}
nav{margin:1.6rem 0 0;font-size:.92rem;line-height:2}
nav a{text-decoration:none;margin-right:1.1rem;white-space:nowrap}
nav a:hover{text-decoration:underline}
.chip{display:inline-block;padding:.1rem .6rem;border-radius:1rem;font-weight:650;font-size:.9rem;white-space:nowrap}
.chip.pass{background:var(--good);color:var(--teal)}
.chip.fail{background:var(--bad);color:var(--red)}
.chip.unsure{background:var(--unsure);color:var(--slate)}
.alarm{border-left:.25rem solid var(--red);background:var(--bad);padding:.5rem .9rem}
.nothing{border-left:.25rem solid var(--line);padding:.3rem .9rem;color:var(--soft)}
.loud{background:var(--card);border-left:.25rem solid var(--orange);padding:.9rem 1.3rem .9rem 2.2rem;max-width:none;margin:1rem 0}
.loud li{margin:.45rem 0;max-width:50rem}
.scroll{overflow-x:auto;margin:1rem 0 1.6rem}
table{border-collapse:collapse;width:100%;font-size:.93rem}
caption{text-align:left;font-size:.87rem;padding:0 0 .5rem;caption-side:top}
th,td{overflow-wrap:break-word;text-align:left;vertical-align:top;padding:.5rem .9rem .5rem 0;border-bottom:1px solid var(--line)}
td:last-child,th:last-child{padding-right:0}
thead th{font-size:.8rem;font-weight:600;color:var(--soft);vertical-align:bottom;border-bottom-color:var(--soft)}
tbody th{font-weight:500}
tr.group th{padding-top:1.3rem;font-weight:650;border-bottom-color:var(--soft)}
tr.in th{padding-left:1rem}
.strips th:first-child{width:33%}.strips.power th:first-child{width:18%}
.strips td.plot,.strips th.plot{width:39%;min-width:15rem;padding-top:.2rem;padding-bottom:.2rem;vertical-align:middle}
.strips.power td.plot,.strips.power th.plot{width:25%;min-width:13rem}
.strips th.plot{vertical-align:bottom}
.strips td.num,.strips th[scope=row]{vertical-align:middle}
.big td,.big th{padding-top:.8rem;padding-bottom:.8rem}
.big tbody th{font-weight:650;min-width:11rem;width:21%}.big td:nth-child(4){min-width:8rem}
.big td:nth-child(5),.big td:nth-child(6){min-width:7.5rem}
.why{margin:0;padding:0;list-style:none;font-size:.87rem;min-width:14rem}
.kv{display:grid;grid-template-columns:minmax(8rem,max-content) 1fr;gap:.25rem 1.4rem;font-size:.9rem;max-width:none}
.kv dt{color:var(--soft)}.kv dd{margin:0}
svg{display:block;width:100%;height:auto;overflow:visible}
svg text{font:12px system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif;fill:var(--soft)}
svg text.strong{fill:var(--ink);font-weight:600}
svg.dots text.strong{paint-order:stroke;stroke:var(--paper);stroke-width:5px;stroke-linejoin:round}
.power svg.strip text{font-size:14px}
svg .grid{stroke:var(--line);stroke-width:1}
svg .base{stroke:var(--soft);stroke-width:1}
svg .need{stroke:var(--orange);stroke-width:1.5;stroke-dasharray:4 3}
svg text.need{stroke:none;fill:var(--orange)}
svg .bar{fill:var(--bluish)}svg .bar.alarm2{fill:var(--orangish)}
svg .whisker{stroke:var(--ink);stroke-width:1.5;fill:none}
svg .dot{fill:var(--blue);stroke:var(--paper);stroke-width:1.5}svg .dot.alarm2{fill:var(--orange)}
svg .void{fill:none;stroke:var(--soft);stroke-dasharray:3 3}
svg .curve{fill:none;stroke:var(--blue);stroke-width:2.5;stroke-linejoin:round}
svg .chance{stroke:var(--soft);stroke-dasharray:2 4}
svg .organism{fill:var(--orange);stroke:var(--paper)}svg .twin{fill:var(--paper);stroke:var(--blue);stroke-width:2}
svg .subject{fill:var(--ink);stroke:var(--paper)}svg .other{fill:var(--soft);stroke:var(--paper)}
svg .box{fill:var(--card);stroke:var(--soft)}svg .box.signal{fill:var(--paper);stroke-dasharray:none}
svg .box.quarantined{stroke:var(--orange);stroke-dasharray:5 3}svg .box.it{stroke:var(--ink);stroke-width:2.5}
svg .edge{fill:none;stroke:var(--soft);stroke-width:1.6}
svg .edge.fit{stroke:var(--orange)}svg .edge.select{stroke:var(--orange);stroke-dasharray:7 4}
svg .edge.read{stroke-dasharray:2 4}svg .edge.measured{stroke:var(--blue);stroke-dasharray:2 4;stroke-width:2}
figure{margin:1rem 0 1.6rem}
figcaption{font-size:.87rem;margin-top:.5rem;max-width:44rem}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,19rem),1fr));gap:2rem;align-items:start}
.pair figure{max-width:26rem}
.wide svg{min-width:46rem}
.pair.broad{grid-template-columns:repeat(auto-fit,minmax(min(100%,26rem),1fr))}.pair .strip-plot{max-width:44rem}
details{margin:.6rem 0}
summary{cursor:pointer;font-size:.9rem;padding:.25rem 0}
summary:hover{color:var(--ink)}
.specimen{border-top:1px solid var(--line);padding-top:1.1rem;margin-top:1.8rem}
.specimen h3{margin-top:0}
pre{background:var(--card);padding:.9rem 1rem;overflow-x:auto;line-height:1.5;margin:.7rem 0;tab-size:4;
overflow-wrap:normal;unicode-bidi:bidi-override;direction:ltr;max-height:32rem}
mark{color:inherit;background:none;border-radius:2px}
mark.place{background:var(--mark);border-bottom:2px solid var(--orange);padding-bottom:2px}
mark.pointed{outline:1.5px dashed var(--blue);outline-offset:0}
.sides{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,26rem),1fr));gap:0 1.6rem;align-items:start}
.sides figure{margin:.2rem 0;min-width:0}.sides pre{margin:.3rem 0 .7rem}.sides figcaption{font-size:.85rem;color:var(--soft)}
.vh,.strips:not(.power) caption{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap;user-select:none}
.events{font-size:.8rem}.events td,.events th{padding:.2rem .8rem .2rem 0;font-weight:400}
.events tr:target{background:var(--mark)}
@media (max-width:46rem){
header.top{padding-top:1.5rem}h1{font-size:1.65rem}h2{margin-top:3rem;font-size:1.3rem}
svg.dots text{font-size:18px}svg.roc text{font-size:13px}svg.strip text{font-size:13px}
.cards table,.cards tbody{display:block}.cards thead{position:absolute;clip-path:inset(50%);height:1px;overflow:hidden}
.cards caption{display:block}
.cards tr{display:block;padding:.7rem 0;border-bottom:1px solid var(--line)}
.cards th,.cards td{display:block;border:0;padding:.12rem 0;width:auto;min-width:0}
.cards tr.group{padding:1.1rem 0 .2rem;border-bottom-color:var(--soft)}.cards tr.group th{padding:0}
.cards tr.in th{padding-left:0}
.cards.strips tbody td.plot{width:100%;min-width:0;padding:.2rem 0}.cards.cards th:first-child{width:auto}
.cards.strips thead{position:static;display:block;clip-path:none;height:auto;overflow:visible}
.cards.strips thead tr{padding:0}.cards.strips thead th{display:none}
.cards.strips thead th.plot{display:block;width:100%;min-width:0}
.cards td[data-label]::before{content:attr(data-label);display:block;font-size:.78rem;color:var(--soft);font-weight:400}
.cards.big tr{padding:1rem 0}.cards .why{min-width:0}
.cards.big td{padding:.35rem 0}.cards.big tbody th{padding:0 0 .2rem;font-size:1.05rem}
.loud{padding-left:1.7rem}.kv{grid-template-columns:1fr;gap:0}.kv dd{margin-bottom:.5rem}
}
@media print{
:root{--paper:#fff;--card:#f6f6f4}body{font-size:10.5pt}main{max-width:none;padding:0}nav{display:none}
.toy{background:none;color:#000;border:1px solid #000}h2{break-after:avoid}h3,caption{break-after:avoid}
tr,figure,.specimen{break-inside:avoid}.scroll,pre{overflow:visible;max-height:none}.wide svg{min-width:0}
details::details-content{content-visibility:visible;display:block;height:auto}a{color:inherit;text-decoration:none}
}
"""
