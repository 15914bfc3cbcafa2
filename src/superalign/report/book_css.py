"""Style of the book of units, on top of the house's sheet: the index, its cards on a phone, coloured tokens."""

BOOK_CSS = """
:root{--pos:#e8902a;--neg:#4f9fd6;--row:62px}
@media (prefers-color-scheme:dark){:root{--pos:#a85f0c;--neg:#2c6ea3}}
main.book{max-width:92rem}
.book h2{margin-top:2.2rem;padding-top:1rem}
.book header.top{padding:1.6rem 0 .6rem}
.book header.top h1{margin-bottom:.5rem}
button,input,select{font:inherit;color:inherit;background:var(--paper);border:1px solid var(--line);border-radius:4px;padding:.25rem .5rem}
button{cursor:pointer;background:var(--card)}
button:hover,select:hover,input:hover{border-color:var(--soft)}
:focus-visible{outline:2px solid var(--blue);outline-offset:1px}
.desk{display:grid;grid-template-columns:minmax(0,1.15fr) minmax(0,1fr);gap:1rem 2.4rem;align-items:start}
#filters{font-size:.92rem;display:grid;gap:.55rem}
.find{display:flex;gap:.5rem;align-items:center}.find input{flex:1;min-width:0}
#filters .note{margin:-.2rem 0 0}
.picks{display:flex;flex-wrap:wrap;gap:.5rem 1.2rem;align-items:center}
.picks select{max-width:12rem}
.ranges{display:grid;grid-template-columns:repeat(auto-fill,minmax(15rem,1fr));gap:.4rem 1.4rem}
.range{display:grid;grid-template-columns:5.5rem 1fr 1fr;gap:.4rem;align-items:center}
.range input{width:100%;min-width:0}
.range span{color:var(--soft);font-size:.85rem;line-height:1.2}
#reset{justify-self:start}
#plot{margin:0;font-size:.87rem}
#plot canvas{width:100%;height:15rem;display:block;touch-action:pan-y;cursor:crosshair}
#plot canvas.over{cursor:pointer}
#plot figcaption{min-height:2.7em;margin:0;max-width:none;overflow:hidden;line-height:1.35;max-height:2.7em}
.axes{display:flex;gap:1.2rem;color:var(--soft)}
.axes select{padding:.1rem .3rem}
.line{display:flex;flex-wrap:wrap;justify-content:space-between;align-items:baseline;gap:.4rem 1.5rem;margin:.9rem 0 .4rem;font-size:.92rem}
.line p{margin:0;max-width:none}
#sorter{display:flex;gap:.5rem;align-items:baseline}
#scroller{height:min(72vh,60rem);overflow:auto;border:1px solid var(--line);border-left:0;border-right:0;overscroll-behavior:auto}
#rows{table-layout:fixed;min-width:72rem;font-size:.87rem;line-height:1.3}
#rows thead th{position:sticky;top:0;background:var(--paper);z-index:1;border-bottom:0;box-shadow:0 1px 0 var(--soft);padding:.35rem .5rem .35rem 0}
#rows thead button{display:block;width:100%;border:0;background:none;padding:.05rem 0;text-align:inherit;font-weight:600;color:var(--soft);line-height:1.2}
#rows thead button:hover{color:var(--ink);text-decoration:underline}
#rows thead button::after{content:" " attr(data-way);color:var(--blue);font-size:.8em}
#rows thead th[aria-sort=ascending] button[data-way=▲],#rows thead th[aria-sort=descending] button[data-way=▼]{color:var(--ink)}
#rows tbody tr[data-place]{height:var(--row)}
#rows tbody td,#rows tbody th{padding:.3rem .5rem .3rem 0;height:var(--row);overflow:hidden;vertical-align:middle}
#rows th:first-child{padding-left:.6rem}
#rows .num{text-align:right;white-space:nowrap}
#rows th.num{white-space:normal}
#rows .unit{width:8.2rem}#rows tbody .unit a{white-space:nowrap}#rows .text{width:auto}#rows .beats{width:7.3rem;padding-left:.7rem}#rows .other{width:6rem}
#rows .num{width:4.15rem}#rows th.num:nth-child(3){width:7.3rem}#rows thead th{font-size:.71rem;overflow-wrap:normal;padding-right:.4rem}
#rows .facts{white-space:nowrap;overflow:hidden;text-overflow:ellipsis}
#rows .says{display:-webkit-box;-webkit-line-clamp:2;-webkit-box-orient:vertical;overflow:hidden}
#rows tr.weak .says,#rows tr.weak .num{color:var(--soft)}
#rows tr.weak th{box-shadow:inset 3px 0 0 var(--orange)}
#rows tbody tr[data-place]:hover,#rows tbody tr:focus-within{background:var(--card)}
#rows .chip{font-size:.78rem;padding:.08rem .5rem}
tr.gap{border:0}tr.none td{padding:1.2rem .6rem}
#help{min-height:2.9em;font-size:.87rem;margin:.4rem 0 .6rem;max-width:none}
.book .ci{display:inline-block;white-space:nowrap}
.event{font-size:.8rem;color:var(--soft)}
.num{font-variant-numeric:tabular-nums}
#unit nav{margin-top:.4rem}
.rowfacts{grid-template-columns:repeat(auto-fill,minmax(7.6rem,1fr));gap:.5rem 1rem;display:grid}
.rowfacts dt{font-size:.8rem;line-height:1.25}.rowfacts dd{font-weight:550}
.says{text-wrap:pretty}
.tokens{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:.86rem;line-height:1.75;overflow-wrap:anywhere}
.tok{--c:transparent;display:inline-block;white-space:pre-wrap;padding:0 .28em;margin:0 1px 1px 0;border-radius:2px;max-width:100%;border-bottom:2px solid transparent;line-height:1.5;
background:color-mix(in srgb,var(--c) calc(var(--a,0)*88%),transparent)}
.tok.pos{--c:var(--pos)}.tok.neg{--c:var(--neg)}
.tok.neg{border-bottom:2px dashed color-mix(in srgb,var(--ink) calc(20% + var(--a,0)*70%),transparent)}
.tok.void{text-decoration:line-through;color:var(--soft)}
.tok.peak{outline:2px solid var(--ink);font-weight:700}
.tok.here{outline:2px solid var(--blue)}
.tok.two{padding:0;display:inline-grid;vertical-align:top;margin-bottom:.35rem}
.tok.two .tok{margin:0;border-radius:0;text-align:center}
.tok.two .tok.sim{color:var(--soft);font-size:.8em}
.window{margin:.5rem 0 1rem;padding-top:.5rem;border-top:1px solid var(--line)}
.window figcaption{display:flex;justify-content:space-between;gap:1rem;margin:0 0 .2rem;max-width:none;font-size:.8rem}
.window .value{font-family:ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace;color:var(--ink);text-align:right;white-space:pre-wrap}
.legend{max-width:none;font-size:.85rem;line-height:2}
.legend .tok{font-size:.8rem;color:var(--ink)}
.book .pair{grid-template-columns:repeat(auto-fit,minmax(min(100%,26rem),1fr));gap:0 3rem}
.book .pair figure{max-width:none}
svg.histogram .pos{fill:var(--pos)}svg.histogram .neg{fill:var(--neg)}
.twolists{display:grid;grid-template-columns:repeat(auto-fit,minmax(15rem,1fr));gap:0 2rem}
.twolists h3{margin-top:.4rem;color:var(--soft);font-weight:500;font-size:.9rem}
.twolists ol,.near{list-style:none;padding:0;font-size:.9rem}
.twolists li,.near li{display:grid;grid-template-columns:minmax(4rem,1fr) 6rem 4.2rem;gap:.6rem;align-items:center}
.near{max-width:26rem}
.twolists .num,.near .num{text-align:right}
.twolists code{white-space:pre-wrap}
.stick{display:block;height:.6rem;width:calc(var(--a)*100%);min-width:1px;background:var(--pos)}
.stick.neg{background:var(--neg);outline:1px dashed var(--slate);outline-offset:-1px}
.book section .cards th:first-child{min-width:14rem}
.book .cards td.num{min-width:5rem}
@media (max-width:46rem){
:root{--row:250px}
.desk{grid-template-columns:minmax(0,1fr)}
.find{flex-wrap:wrap}.find input{flex-basis:12rem}
#scroller{height:80vh}
#rows{min-width:0;display:block}#rows tbody{display:block}
#rows thead{position:absolute;clip-path:inset(50%);height:1px;overflow:hidden}
#rows tbody tr[data-place]{display:grid;grid-template-columns:repeat(4,minmax(0,1fr));align-content:start;gap:.15rem .6rem;padding:.6rem .2rem .4rem .7rem;border-bottom:1px solid var(--line);overflow:hidden}
#rows tbody tr.weak{box-shadow:inset 3px 0 0 var(--orange)}#rows tr.weak th{box-shadow:none}
#rows tbody td,#rows tbody th,#rows tbody td.num{display:block;border:0;padding:0;height:auto;width:auto;text-align:left}
#rows tbody th.unit,#rows tbody td.beats{width:auto}#rows tbody th.unit{grid-column:1/3;grid-row:1;padding:0;font-weight:650}#rows tbody td.beats{grid-column:3/5;grid-row:1;text-align:right}
#rows tbody td.text{grid-column:1/5;height:4.1em}
#rows td[data-label]::before{content:attr(data-label);display:block;font-size:.72rem;color:var(--soft);white-space:nowrap;overflow:hidden;text-overflow:ellipsis}
#rows td.beats::before{content:none}
tr.gap{display:block}
.book section .cards th:first-child{min-width:0}
.rowfacts{grid-template-columns:repeat(auto-fill,minmax(6.2rem,1fr))}
.window figcaption{flex-wrap:wrap}
.keys{display:none}
.scores tbody tr{display:grid;grid-template-columns:repeat(3,minmax(0,1fr));gap:.3rem .8rem}.scores tbody th{grid-column:1/4}
}
"""
