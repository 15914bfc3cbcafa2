"""The page around the sections: one file, no script, no network, light and dark, wide and narrow."""

from __future__ import annotations

from superalign.report.escape import esc

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
STYLE = """
:root{color-scheme:light dark;--bg:#fcfcfa;--ink:#1d2327;--soft:#5c666d;--line:#d9dcd8;--card:#fff;--blue:#0b66a8;
--orange:#b8560b;--green:#1b7a4c;--purple:#7a4aa0;--red:#b3261e;--mark:#ffe2a8;--point:#cfe3f7}
@media(prefers-color-scheme:dark){:root{--bg:#14181b;--ink:#e6e9ea;--soft:#9aa5ab;--line:#333b40;--card:#1b2125;
--blue:#6db7ee;--orange:#f0a35e;--green:#66c797;--purple:#c39be6;--red:#f28b82;--mark:#6b4a08;--point:#1f4a6d}}
*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.55 system-ui,sans-serif}
main{max-width:1060px;margin:0 auto;padding:28px 22px 80px}h1{font-size:30px;line-height:1.2;margin:0 0 6px}
h2{font-size:22px;margin:52px 0 8px;padding-top:14px;border-top:1px solid var(--line)}h3{font-size:17px;margin:28px 0 4px}
p{max-width:74ch}a{color:var(--blue);text-decoration-thickness:1px;text-underline-offset:2px}small,.iv,.soft{color:var(--soft)}
.toy{border-left:4px solid var(--orange);padding:6px 14px;background:var(--card)}.none{color:var(--soft);font-style:italic}
.scroll{overflow-x:auto;margin:14px 0}table{border-collapse:collapse;width:100%;font-size:14.5px;font-variant-numeric:tabular-nums}
caption{text-align:left;color:var(--soft);padding:4px 0 8px}th{text-align:left;font-weight:600;border-bottom:2px solid var(--line)}
th,td{padding:6px 14px 6px 0;vertical-align:top}td{border-bottom:1px solid var(--line)}td:first-child{min-width:130px}
.badge{display:inline-block;padding:1px 10px;border-radius:99px;border:1.5px solid currentColor;font-weight:600;white-space:nowrap}
.pass,.supported{color:var(--green)}.fail{color:var(--red)}.cannot-tell,.not-supported{color:var(--orange)}
svg{display:block;width:100%;height:auto;margin:10px 0}svg.square{max-width:400px;display:inline-block;width:48%;min-width:260px}
svg text{fill:var(--ink);font:12.5px system-ui,sans-serif}.label,.value{text-anchor:end}svg .tick{fill:var(--soft);text-anchor:middle}
svg .label{text-anchor:end}svg .value{text-anchor:end;font-variant-numeric:tabular-nums}svg .refused{fill:var(--orange);font-weight:600}
.grid{stroke:var(--line);fill:none}.frame{stroke:var(--soft);fill:none}.curve{stroke:var(--blue);stroke-width:2.5;fill:none}
.whisker{stroke-width:3;opacity:.55}.c1{fill:var(--blue);stroke:var(--blue)}.c2{fill:var(--soft);stroke:var(--soft)}
.c3{fill:var(--orange);stroke:var(--orange)}.c4{fill:var(--purple);stroke:var(--purple)}.cut{stroke:var(--red);stroke-dasharray:5 4}
.node{fill:var(--card);stroke:var(--soft)}.node.model{stroke:var(--blue);stroke-width:2}.node.signal{stroke:var(--green);stroke-width:2}
.node.quarantined{stroke:var(--red);stroke-dasharray:5 3}svg .in{font-size:11px}.edge{fill:none;stroke:var(--soft);opacity:.6}
.edge.select{stroke:var(--orange);stroke-dasharray:4 3;opacity:1}.key span{margin-right:18px}.key b{font-size:20px;line-height:0}
pre{background:var(--card);border:1px solid var(--line);border-radius:6px;padding:12px 14px;overflow-x:auto;font:13px/1.5 ui-monospace,monospace}
mark{background:var(--mark);color:inherit;outline:1.5px solid var(--orange)}mark.pointed{background:var(--point);outline-color:var(--blue)}mark.altered.pointed{outline:3px double var(--orange)}
article{margin:26px 0}details{margin-top:12px}summary{cursor:pointer;color:var(--blue)}.ev td{font:12.5px ui-monospace,monospace}
:target{background:var(--mark)}@media(max-width:640px){.scroll table{min-width:660px}main{padding:18px 14px 60px}h1{font-size:25px}svg.square{width:100%}
figure svg:not(.square){min-width:620px}}figure{margin:12px 0;overflow-x:auto}@media print{details{display:none}}
"""


def page(title: str, body: str) -> str:
    """A whole HTML document."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{esc(title)}</title><style>{STYLE}</style></head><body><main>{body}</main></body></html>"
    )
