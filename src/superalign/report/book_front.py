"""The two pages of the book: the index, with its sections, and the shell that shows any unit."""

from __future__ import annotations

from superalign.report.book_columns import KNOWN
from superalign.report.book_css import BOOK_CSS
from superalign.report.book_script import BOOK_JS
from superalign.report.book_script_index import INDEX_JS
from superalign.report.book_script_plot import PLOT_JS
from superalign.report.book_script_test import TEST_JS
from superalign.report.book_script_unit import UNIT_JS
from superalign.report.book_view import Amount, Book, Score, Section, amount_of
from superalign.report.css import CSS
from superalign.report.front import TOY
from superalign.report.html import Html, cell, fold, named, row, table, tag, together
from superalign.report.text import clip, count, escape, figure, finite

ASSETS = {"book.js": BOOK_JS, "index.js": INDEX_JS, "plot.js": PLOT_JS, "unit.js": UNIT_JS, "test.js": TEST_JS}
POLICY = "default-src 'none'; script-src 'self' file:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""Scripts come from files beside the page only: one that is written into it, by whomever, does not run."""
SCRIPTLESS = "The index and the units need scripts, which are off. The tables below can be read without."
MAX_ROWS = 2000
"""Rows of a section's table; beyond, it says how many were left out."""
LEGEND = (
    ("The mark ✗ names the controls that a row's score does not beat: take it as no finding. ✓ beats all that were measured; "
     "? has no control to be held against."),
    "A dash is what was not measured; a filter on a column leaves such rows out.",
    "The arrow keys, Page up, Page down, Home and End walk through the rows; Enter opens one.",
)  # fmt: skip


def index_page(book: Book, rows: int) -> str:
    """The front page: facts, the index, sections."""
    missing = [head for name, (head, _) in KNOWN.items() if name != "beats" and name not in book.columns]
    parts = [
        _header(book, count(rows, "unit")),
        tag("noscript", tag("p", SCRIPTLESS, class_="alarm")),
        tag("p", id="failed", class_="alarm", hidden="", role="alert"),
        _index(missing),
        *(_section(section, number) for number, section in enumerate(book.sections)),
    ]
    return shell(f"Units of {book.title}", _body(book, parts), ("book", "plot", "index"), "index")


def unit_page(book: Book) -> str:
    """The page that shows the unit whose row stands behind `#`."""
    parts = [
        tag("noscript", tag("p", SCRIPTLESS, class_="alarm")),
        tag("p", id="failed", class_="alarm", hidden="", role="alert"),
        tag("div", tag("p", "Loading …", class_="soft"), id="unit"),
    ]
    return shell(f"A unit of {book.title}", _body(book, parts), ("book", "plot", "unit"), "unit")


def _body(book: Book, parts: list[Html]) -> Html:
    toy = tag("p", TOY, class_="toy") if book.title.startswith("family:") else Html("")
    return together(toy, tag("main", *parts, class_="book"))


def _header(book: Book, how_many: str) -> Html:
    facts = [part for name, fact in book.facts.items() for part in (tag("dt", named(name)), tag("dd", named(fact)))]
    lead = (
        f"{how_many}, each with what is said of it, how well that predicts it on text held out, and what the same score "
        "is worth: beside it stand the controls. Choose a row for the unit's page."
    )
    return tag(
        "header",
        tag("h1", "Every unit of ", named(clip(book.title, 80))),
        tag("p", lead, class_="lead"),
        fold(
            "What this rests on",
            tag("dl", tag("dt", "identity"), tag("dd", tag("code", named(book.identity))), *facts, class_="kv"),
        ),
        class_="top",
    )


def _index(missing: list[str]) -> Html:
    """Empty places that the script fills."""
    absent = f"Not measured for any unit: {', '.join(missing)}." if missing else ""
    return tag(
        "section",
        tag("h2", "The index", id="index"),
        tag("div", tag("form", id="filters", role="search", aria_label="Search and filter"), tag("figure", id="plot"), class_="desk"),
        tag("div", tag("p", "Loading …", id="status", role="status", class_="soft"), tag("div", id="sorter"), class_="line"),
        tag("div", tag("table", id="rows", role="table"), id="scroller", tabindex=0, role="group", aria_label="Units"),
        tag("p", id="help", class_="soft"),
        *(tag("p", text, class_="note") for text in LEGEND),
        tag("p", absent, class_="nothing") if absent else Html(""),
        fold("What the columns mean", tag("dl", id="columns", class_="kv")),
        aria_labelledby="index",
    )  # fmt: skip


def _section(section: Section, number: int) -> Html:
    head = [named(clip(name, 80)) for name in section.head]
    rows = [_row(list(section.head), each) for each in section.rows[:MAX_ROWS]]
    left = len(section.rows) - MAX_ROWS
    said = f"{section.paragraph} {count(left, 'further row')} left out here." if left > 0 else section.paragraph
    caption = tag("span", clip(section.title, 120), class_="vh")
    empty = tag("p", tag("b", "Not measured."), class_="nothing")
    shown = table(caption, head, rows, class_="cards") if rows else empty
    parts = (tag("h2", named(clip(section.title, 120)), id=f"section-{number}"), tag("p", said), shown)
    return tag("section", *parts, aria_labelledby=f"section-{number}")


def _row(head: list[str], cells: object) -> Html:
    first, *rest = list(cells)  # type: ignore[call-overload]
    labels = [clip(name, 80) for name in head[1:]] + [""] * len(rest)
    return row(_cell(first), *(cell(_cell(each), label=label) for each, label in zip(rest, labels, strict=False)))


def _cell(value: str | Score) -> Html:
    return named(clip(value, 400)) if isinstance(value, str) else amount(amount_of(value))


def amount(number: Amount) -> Html:
    """A number with its interval and its event, or that there is none."""
    value, low, high = (
        None if each is None else finite(float(each)) for each in (number.value, number.low, number.high)
    )
    if value is None:
        return tag("span", "not measured", class_="refused")
    parts: list[object] = [tag("b", figure(value))]
    if low is not None and high is not None:
        parts.append(tag("span", f" [{figure(low)}, {figure(high)}]", class_="ci"))
    if number.event is not None:
        parts.append(tag("span", f" #{number.event}", class_="event", title="event of the ledger"))
    return tag("span", *parts, class_="num")


def shell(title: str, body: Html, scripts: tuple[str, ...], kind: str) -> str:
    """A page with its style inside and its scripts beside it; nothing from any network."""
    sources = "".join(f'<script src="assets/{name}.js" defer></script>' for name in scripts)
    return (
        f'<!doctype html>\n<html lang="en" dir="ltr" data-page="{kind}"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><meta name="referrer" content="no-referrer">'
        f"<title>{escape(title)}</title><style>{CSS}{BOOK_CSS}</style>{sources}</head>\n<body>{body}</body></html>\n"
    )
