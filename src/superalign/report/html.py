"""Building HTML that can't be broken out of: every string is escaped unless this module made it."""

from __future__ import annotations

from collections.abc import Iterable

from superalign.report.css import CSS
from superalign.report.text import clip, count, escape, figure, short
from superalign.report.views import Number

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
ISOLATION = {
    "L0": "honour system, budget unenforced",
    "L1": "other process",
    "L2": "other user of the system",
    "L3": "other host",
}


class Html(str):
    """Text that is HTML already. An f-string or `+` gives a plain `str` again, which `tag` escapes."""

    __slots__ = ()


def tag(name: str, *children: object, **attributes: object) -> Html:
    """One element; children and attribute values are escaped unless they are Html.

    A trailing underscore of an attribute is dropped and others become hyphens; None leaves the attribute out.

    >>> tag("p", "a < b", class_="x")
    '<p class="x">a &lt; b</p>'
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{written}>{together(*children)}</{name}>")


def together(*children: object) -> Html:
    """Children side by side, escaped unless they are Html.

    >>> together("<", tag("b", "x"))
    '&lt;<b>x</b>'
    """
    return Html("".join(child if isinstance(child, Html) else escape(child) for child in children))


def spaced(children: Iterable[object], between: object = " ") -> Html:
    """Children with something between them."""
    out: list[object] = []
    for child in children:
        out += [between, child] if out else [child]
    return together(*out)


def named(text: object) -> Html:
    """A name from outside, kept from turning the direction of what stands around it."""
    return tag("bdi", text)


def cite(seq: int, text: object = "") -> Html:
    """A link to an event in the list at the end; without a text, its number."""
    return tag("a", text or f"#{seq}", href=f"#e{seq}", class_="cite" if text else "cite seq")


def cites(seqs: Iterable[int]) -> Html:
    """Links to several events, in brackets; beyond eight, the first seven and the last."""
    all_of = list(dict.fromkeys(seqs))
    if not all_of:
        return Html("")
    few: list[object] = [cite(s) for s in all_of]
    if len(few) > 8:
        few = [*few[:7], f"… ({len(all_of)} in all)", few[-1]]
    return tag("span", spaced(few), class_="cites")


def value_of(number: Number | None, *, signed: bool = False) -> Html:
    """The value with its interval, linked to its event; "refused" where there is none."""
    if number is None:
        return tag("span", "not measured", class_="refused")
    if number.refused:
        return cite(number.seq, tag("span", "refused", class_="refused"))
    text = [tag("b", figure(number.value, signed=signed))]
    if number.unit != "fraction":
        text.append(together(" ", clip(number.unit, 24)))
    if number.interval:
        low, high = (figure(bound, signed=signed) for bound in number.interval)
        text.append(tag("span", f" [{low}, {high}]", class_="ci"))
    return cite(number.seq, together(*text))


def facts(number: Number) -> Html:
    """What the value rests on: n, clusters, isolation, and everything that weakens it."""
    words = [f"n {number.n:,}"]
    if number.clusters > 1 and number.clusters != number.n:
        words.append(count(number.clusters, "cluster"))
    if number.level != 0.95:
        words.append(f"{100 * number.level:.3g} % interval")
    if not number.interval and not number.refused:
        words.append("no interval")
    words.append(clip(number.isolation, 12))
    if number.in_distribution:
        words.append("in-distribution")
    if number.white_box:
        words.append("white-box")
    if number.role != "validation":
        words.append(
            f"{clip(number.role, 20)}, best of {number.tried:,}" if number.tried > 1 else clip(number.role, 20)
        )
    after = together(" · measured before: ", cites(number.earlier)) if number.earlier else Html("")
    return tag("span", " · ".join(words), after, class_="facts")


def chip(verdict: str) -> Html:
    """A verdict as a word in a box; the word, not the colour, says it."""
    look = {
        "pass": "pass", "supported": "pass", "fail": "fail", "not supported": "unsure", "cannot tell": "unsure",
        "carries it": "pass", "not shown": "unsure", "better": "pass", "worse": "fail",
    }  # fmt: skip
    sign = {"pass": "✓", "fail": "✗", "unsure": "?"}.get(look.get(verdict, ""), "·")
    return tag("span", f"{sign} ", clip(verdict, 40), class_=f"chip {look.get(verdict, 'unsure')}")


def table(caption: object, head: Iterable[object], rows: Iterable[Html], *, class_: str = "") -> Html:
    """A table with its caption, in a box of its own that scrolls where the page is narrower.

    `class_` "cards" makes each row a card on a phone; the roles keep it a table for those who listen.
    """
    header = tag("thead", tag("tr", *(h if isinstance(h, Html) and h.startswith("<th") else column(h) for h in head)))
    whole = tag("table", tag("caption", caption), header, tag("tbody", *rows, role="rowgroup"), role="table")
    return tag("div", whole, class_=f"scroll {class_}".strip(), role="group", tabindex=0)


def column(text: object, *, class_: str | None = None) -> Html:
    """The head of a column."""
    return tag("th", text, scope="col", class_=class_)


def row(head: object, *cells: Html, class_: str | None = None) -> Html:
    """A row of a table: what it is about, then its cells."""
    return tag("tr", tag("th", head, scope="row", role="rowheader"), *cells, role="row", class_=class_)


def cell(*children: object, label: str | None = None, class_: str | None = None) -> Html:
    """A cell; `label` repeats the column's head where the row is a card."""
    return tag("td", *children, role="cell", data_label=label, class_=class_)


def heading_row(text: object, columns: int) -> Html:
    """A row that names those below it."""
    return tag("tr", tag("th", text, colspan=columns, scope="colgroup"), role="row", class_="group")


def nothing(what: str) -> Html:
    """What a section says when the ledger holds nothing for it."""
    return tag("p", tag("b", "Not measured. "), f"The ledger holds {what}.", class_="nothing")


def fold(summary: object, *children: object) -> Html:
    """Details that open on a click, without a script."""
    return tag("details", tag("summary", summary), *children)


def model_name(subject: object) -> Html:
    """A model's name and the first digits of its digest, or an alias."""
    return tag("code", named(short(subject))) if subject else tag("span", "no subject", class_="refused")


def shell(title: str, body: Html) -> str:
    """The whole page: no script, no network, one file."""
    return (
        '<!doctype html>\n<html lang="en" dir="ltr"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><meta name="referrer" content="no-referrer">'
        f"<title>{escape(title)}</title><style>{CSS}</style></head>\n<body>{body}</body></html>\n"
    )
