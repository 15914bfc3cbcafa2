"""The book of units in a browser: quick with 50,000 units, few rows in the document, texts of strangers stay texts.

The rows are synthetic: a fixture that measures the pages, and no network.
"""

import html
import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from superalign.report.book import Book, Said, UnitPage, Window, write_book

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((found for name in NAMES if (found := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on this machine: the pages are not tested in a browser"
)

ROWS, SITES = 50_000, 25
WORDS = ("return", "yield", "import", "def", "self", "(", "None", "for")
HOSTILE = (
    "</script><script>document.documentElement.dataset.hacked=1</script>",
    "<img src=x onerror=document.documentElement.dataset.hacked=2>",
    "\u2028');document.documentElement.dataset.hacked=3//",
    "javascript:document.documentElement.dataset.hacked=4",
)
EMPTY = (
    "No explanation was made", "No held-out window was simulated", "No histogram was kept",
    "No causal effect was measured", "No concept was searched for", "No correlations with other units",
)  # fmt: skip
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--window-size=1300,1000", "--dump-dom",
)  # fmt: skip


def selftested(page, tmp_path):
    """What the page's test of itself wrote: in real time, as the document is given once all scripts ran."""
    dom = dumped(page, tmp_path)
    found = re.search(r'<pre id="selftest">(.*?)</pre>', dom, re.S)
    assert found, text_of(dom)[:2000]
    told = json.loads(html.unescape(found[1]))
    assert not told["wrong"]
    return told["steps"], told["checks"]


def dumped(page, tmp_path, *, virtual=None):
    """The document of an address after its scripts ran; `virtual` is a budget of virtual milliseconds."""
    more = [f"--virtual-time-budget={virtual}"] if virtual else []
    command = [CHROMIUM, *FLAGS, *more, f"--user-data-dir={tmp_path / 'profile'}", f"file://{page}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def text_of(dom):
    """Words of a document as a reader sees them, without style."""
    return html.unescape(re.sub(r"<[^>]+>", "", re.sub(r"<style>.*?</style>", "", dom, flags=re.S)))


def synthetic(rows):
    rng = np.random.default_rng(6)
    words = rng.integers(len(WORDS), size=rows)
    r, unigram = rng.uniform(-0.1, 0.9, rows), rng.uniform(0.0, 0.8, rows)
    missing = rng.random(rows) < 0.05

    def unit(row):
        tokens = [WORDS[(words[row] + i) % len(WORDS)] for i in range(8)]
        window = Window(tokens=tokens, values=[1.0, 0.5, -0.25, 0, 0, 0, 0, 0], at=0, document="fixture.py")
        return UnitPage(row=row, windows={"top": [window]}, tokens=[(tokens[0], 1.0), ("x", -1.0)])

    columns = {
        "site": [f"neurons {row * SITES // rows}" for row in range(rows)],
        "unit": [row % (rows // SITES) for row in range(rows)],
        "text": [f"fires on {WORDS[w]}, sometimes" for w in words],
        "family": ["unigram" if row % 3 else "trigram" for row in range(rows)],
        "r": np.where(missing, np.nan, r),
        "r low": np.where(missing, np.nan, r - 0.05),
        "r high": np.where(missing, np.nan, r + 0.05),
        "gain": np.where(missing, np.nan, r - unigram),
        "unigram": unigram,
        "shuffled": rng.normal(0, 0.02, rows),
        "untrained": rng.uniform(0, 0.4, rows),
        "bits": rng.integers(8, 4000, rows),
        "effect": rng.normal(0, 0.1, rows),
        "ablation": rng.uniform(-0.2, 1, rows),
        "q": rng.random(rows),
        **{name: rng.normal(size=rows) for name in ("mean", "sd", "highest", "lowest")},
    }
    title = "fixture: synthetic rows"
    return Book(title=title, identity="fixture", facts={"rows": "synthetic"}, columns=columns, units=unit)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    return write_book(synthetic(ROWS), tmp_path_factory.mktemp("large") / "book")


def test_fifty_thousand_units_answer_within_a_second(large, tmp_path):
    steps, checks = selftested(f"{large}/index.html#selftest", tmp_path)
    assert len(steps) >= 10
    assert min(steps.values()) > 0, "a clock that stands still measures nothing"
    assert max(steps.values()) < 1000, steps
    assert 0 < checks["ready"] < 10_000, "milliseconds from the address to the first rows"
    assert 10 < checks["most"] < 200, "rows in the document at once"
    assert checks["all"] == ROWS
    assert all(checks[name] for name in ("byR", "byGain", "foundRight"))
    expected = sum("return" in text for text in synthetic(ROWS).columns["text"])
    assert checks["found"] == checks["tokens"] == expected
    assert checks["onePart"] == 1
    assert checks["leastR"] >= 0.5
    assert 0 < checks["beats"] < ROWS
    assert checks["lastSeen"] == ROWS - 1
    assert (checks["home"], checks["down"], checks["end"]) == (0, 2, ROWS - 1), "the keyboard walks through all rows"
    assert re.fullmatch(r"unit\.html#\d+&x=layer&y=gain&sort=-gain", checks["link"])
    assert checks["box"] == ["layer", "gain"]
    assert re.match(r"neurons \d+ · \d+: gain [+−\d.]+, block \d+\. fires on", checks["tip"])
    assert 0 < checks["boxRows"] < ROWS
    assert checks["kept"], "what is asked survives the address"


def test_previous_and_next_keep_to_what_the_index_shows(large, tmp_path):
    columns = synthetic(ROWS).columns
    asked = "find=yield&within=token&site=neurons+3&sort=-r"
    rows = [row for row in range(ROWS) if columns["site"][row] == "neurons 3" and "yield" in columns["text"][row]]
    ranked = sorted(rows, key=lambda row: (np.isnan(columns["r"][row]), -columns["r"][row]))
    dom = dumped(f"{large}/unit.html#{ranked[4]}&{asked}", tmp_path, virtual=8000)
    links = dict(re.findall(r'<a id="(\w+)"[^>]*href="([^"]*)"', dom))
    amp = asked.replace("&", "&amp;")
    assert links["previous"] == f"#{ranked[3]}&amp;{amp}"
    assert links["next"] == f"#{ranked[5]}&amp;{amp}"
    assert links["back"] == f"index.html#{amp}&amp;row={ranked[4]}"
    assert f"5 of {len(rows)}" in text_of(dom)


def test_a_unit_without_measurements_says_so_everywhere(large, tmp_path):
    dom = dumped(f"{large}/unit.html#49999", tmp_path, virtual=4000)
    words = text_of(dom)
    for said in EMPTY:
        assert f"Not measured. {said}" in words
    assert words.count("neurons 24 · 1999") >= 1
    assert dom.count('class="tok pos peak"') == 1
    assert 'class="tok neg"' in dom


@pytest.mark.parametrize("row", ["50000", "-1", "x"])
def test_a_unit_that_is_not_there_is_one_sentence(large, tmp_path, row):
    dom = dumped(f"{large}/unit.html#{row}", tmp_path, virtual=4000)
    assert f"there is no unit {row}; rows go from 0 to 49999" in text_of(dom)


def hostile(row):
    text = HOSTILE[row]
    window = Window(tokens=["a", text], values=[0.0, 1.0], at=1, document=text)
    return UnitPage(
        row=row,
        windows={"top": [window], text: [window]},
        said=[Said(family=text, text=text, r=(0.5, 0.4, 0.6), note=text)],
        simulated=[(["a", text], [0.0, 1.0], [0.0, -0.5])],
        histogram=([-1.0, 0.0, 1.0], [3, 4]),
        causal=[(text, 0.25, 0.1, 0.4, text)],
        neighbours=[(0, 0.5)],
        concepts=[(text, 1.5, 0.75, 0.01)],
        tokens=[(text, 2.0), (text, -1.0)],
    )


def test_a_window_tells_its_values_to_keyboard_and_pointer(tmp_path):
    tokens = ["a", "b", "c"]
    window = Window(tokens=tokens, values=[0.5, -2.0, float("nan")], at=1, document="x.py")
    page = UnitPage(row=0, windows={"low": [window]}, simulated=[(tokens, [0.25, 0.5, -1.0], [0.0, 1.0, 0.5])])
    columns = {"site": ["neurons 0"], "unit": [0]}
    book = Book(title="one", identity="one", facts={}, columns=columns, units=lambda row: page)
    _, checks = selftested(f"{write_book(book, tmp_path / 'book')}/unit.html#0&selftest", tmp_path)
    assert checks == {
        "peak": "b  −2",
        "end": "c  not a number",
        "left": "b  −2",
        "after": "b  −2",
        "both": "a  real 0.250, simulated 0.000",
    }


@pytest.fixture(scope="module")
def strange(tmp_path_factory):
    n = len(HOSTILE)
    columns = {name: list(HOSTILE) for name in ("site", "text", "family", "word of others")}
    book = Book(
        title=HOSTILE[0], identity=HOSTILE[1], facts={HOSTILE[0]: HOSTILE[1]},
        columns={**columns, "unit": range(n), "r": [0.5] * n}, units=hostile, about={"r": HOSTILE[0]},
    )  # fmt: skip
    return write_book(book, tmp_path_factory.mktemp("strange") / "book")


@pytest.mark.parametrize("row", range(len(HOSTILE)))
def test_what_strangers_write_stays_text_on_a_unit(strange, tmp_path, row):
    dom = dumped(f"{strange}/unit.html#{row}&find=x", tmp_path, virtual=4000)
    assert "data-hacked" not in dom.split("<body", 1)[0]
    assert "<img" not in dom
    assert len(re.findall(r"<script", dom)) == 3
    text = HOSTILE[row].replace("\u2028", "⟨U+2028⟩")
    words = text_of(dom)
    assert words.count(text) >= 10
    assert "can't be shown" not in words


def test_what_strangers_write_stays_text_on_the_index(strange, tmp_path):
    dom = dumped(f"{strange}/index.html#find={HOSTILE[1].split()[0]}", tmp_path, virtual=4000)
    assert "data-hacked" not in dom.split("<body", 1)[0]
    assert "<img" not in dom
    assert "1 of 4 units" in text_of(dom)
    whole = text_of(dumped(f"{strange}/index.html", tmp_path, virtual=4000))
    assert all(whole.count(text.replace("\u2028", "⟨U+2028⟩")) >= 3 for text in HOSTILE)


def test_an_empty_book_opens(tmp_path):
    book = Book(title="none", identity="none", facts={}, columns={"site": [], "unit": []}, units=hostile)
    folder = write_book(book, tmp_path / "book")
    words = text_of(dumped(f"{folder}/index.html", tmp_path, virtual=4000))
    assert "0 of 0 units" in words
    assert "No unit is like that" in words
    assert "can't be shown" not in words
