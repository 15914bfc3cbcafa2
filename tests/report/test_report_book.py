"""The book of units as files: nothing breaks out, marks follow from the controls, whole or not at all, same bytes."""

import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from superalign.evidence import SuperalignError
from superalign.report.book import Amount, Book, Said, Section, UnitPage, Window, write_book
from superalign.report.book_columns import NO_CONTROL, NO_SCORE, mark_of, marks, packed_columns, rounded
from superalign.report.book_front import ASSETS, POLICY
from superalign.report.book_shards import Words, found_by, script, thousandths, unit_data

HOSTILE = (
    "</script><script>document.documentElement.dataset.hacked=1</script>",
    "<img src=x onerror=document.documentElement.dataset.hacked=2>",
    "\u2028');document.documentElement.dataset.hacked=3//",
    "<!--<script>",
    "\u202e\x00\ud800",
    "`${alert(1)}`",
    '"><b>bold</b>',
    "__proto__",
)


def page_of(row, hostile="return"):
    window = Window(tokens=["a", hostile, "b"], values=[0.0, 1.5, -0.25], at=1, document=hostile)
    gain = Amount(value=0.1, event=7)
    return UnitPage(
        row=row,
        windows={"top": [window], "low": [window], hostile: [window]},
        said=[Said(family=hostile, text=hostile, bits=12.5, r=(0.5, 0.4, 0.6), gain=gain, note=hostile)],
        simulated=[(["a", hostile], [0.5, 1.0], [0.4, float("nan")])],
        histogram=([-1.0, 0.0, 1.0], [3, 4]),
        causal=[(hostile, 0.25, 0.1, 0.4, hostile), ("nothing", None, None, None, "")],
        neighbours=[(0, 0.5)],
        concepts=[(hostile, 1.5, 0.75, 0.01)],
        tokens=[(hostile, 2.0), ("b", -1.0)],
    )  # fmt: skip


def book_of(n=3, hostile="return", **more):
    columns = {
        "site": ["neurons 0"] * (n - 1) + ["heads 1"],
        "unit": list(range(n)),
        "text": [hostile] * n,
        "family": [hostile] * n,
        "r": np.linspace(0.9, 0.1, n),
        "unigram": np.full(n, 0.5),
    }
    rows = [[hostile, Amount(value=0.5, low=0.4, high=0.6, event=12)], ["x", None]]
    sections = [Section(title=hostile, paragraph=hostile, head=[hostile, "r"], rows=rows)]
    given = {
        "title": hostile,
        "identity": hostile,
        "facts": {hostile: hostile},
        "columns": columns,
        "sections": sections,
    }
    return Book(**{**given, "units": lambda row: page_of(row, hostile), **more})


def called(text):
    """(function, arguments) of a shard, which must be one call with JSON alone."""
    name, inside = re.fullmatch(r"(\w+)\((.*)\);\n", text, re.S).groups()
    return name, json.loads(f"[{inside}]")


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.elements, self.attributes, self.words, self.open = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_nothing_breaks_out_of_pages_or_shards(tmp_path, hostile):
    folder = write_book(book_of(hostile=hostile), tmp_path / "book")
    for name in ("index.html", "unit.html"):
        text = (folder / name).read_text(encoding="utf-8")
        page = Page(text)
        sources = [value for tag, key, value in page.attributes if key == "src"]
        assert len(sources) == page.elements.count("script") == 3, "scripts are the book's own files, none is inline"
        assert all(re.fullmatch(r"assets/\w+\.js", source) for source in sources)
        assert "img" not in page.elements
        assert not [key for _, key, _ in page.attributes if key.startswith("on")]
        assert POLICY in text
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", text)
    for path in (folder / "data").iterdir():
        text = path.read_text(encoding="ascii")
        assert not set("<>&\u2028\u2029") & set(text)
        name, _ = called(text)
        assert name in ("book", "bookIndex", "bookMeta")


def test_scripts_make_text_and_never_markup():
    for name, text in ASSETS.items():
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|new Function|javascript:", text
        ), name
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|fetch\(|XMLHttp|import\(", text), name
    assert "unsafe-inline" not in re.search("script-src[^;]*", POLICY)[0]


def test_a_shard_is_one_call_with_words_once(tmp_path):
    folder = write_book(book_of(130), tmp_path / "book")
    names = sorted(path.name for path in (folder / "data").iterdir())
    assert names == ["index-00000.js", "index-meta.js", "units-00000.js", "units-00001.js", "units-00002.js"]
    text = (folder / "data/units-00001.js").read_text()
    name, (number, shard) = called(text)
    assert (name, number) == ("book", 1)
    assert shard["words"] == ["a", "return", "b"]
    assert [unit["row"] for unit in shard["units"]] == list(range(64, 128))
    unit = shard["units"][0]
    assert unit["windows"][0] == ["top", [[[0, 1, 2], [0, 1000, -167], 1, "return"]]]
    assert unit["scale"] == 1.5
    assert unit["said"][0]["r"] == [0.5, 0.4, 0.6, None]
    assert unit["said"][0]["gain"] == [0.1, None, None, 7]
    assert unit["said"][0]["shuffled"] is None
    assert unit["simulated"] == [[[0, 1], [500, 1000], [400, None]]]
    assert unit["neighbours"] == [[0, "neurons 0 · 0", 0.5]]


def test_the_index_holds_every_column_and_the_tokens(tmp_path):
    folder = write_book(book_of(5000), tmp_path / "book")
    _, (meta,) = called((folder / "data/index-meta.js").read_text())
    shards = [called((folder / f"data/index-0000{i}.js").read_text())[1] for i in (0, 1)]
    assert [number for number, _ in shards] == [0, 1]
    names = [column["name"] for column in meta["columns"]]
    assert names == ["site", "unit", "text", "family", "r", "beats", "unigram", "tokens"]
    assert [len(parts[names.index("unit")]) for _, parts in shards] == [4096, 904]
    assert shards[1][1][names.index("site")][-1] == meta["columns"][0]["levels"].index("heads 1")
    assert shards[0][1][names.index("tokens")][0] == "return"


@pytest.mark.parametrize(
    ("r", "low", "controls", "mark"),
    [
        (0.8, 0.7, (0.5, 0.0, 0.4), 0),
        (0.8, 0.45, (0.5, 0.0, 0.4), 1),
        (0.8, 0.5, (0.5, 0.0, 0.4), 1),
        (0.8, None, (0.5, 0.0, 0.9), 4),
        (0.1, -0.2, (0.5, 0.0, 0.4), 7),
        (0.8, 0.7, (None, None, 0.4), 0),
        (0.8, 0.7, (None, None, None), NO_CONTROL),
        (None, None, (0.5, 0.0, 0.4), NO_SCORE),
        (math.nan, None, (None, None, None), NO_SCORE),
    ],
)
def test_a_mark_names_the_controls_that_are_not_beaten(r, low, controls, mark):
    named = dict(zip(("unigram", "shuffled", "untrained"), ([c] for c in controls), strict=True))
    assert marks({"site": ["a"], "unit": [0], "r": [r], "r low": [low], **named}).tolist() == [mark]
    assert mark_of(rounded(r) if low is None else low, controls) == mark
    said = Said(family="f", text="t", r=(r, low, 0.9), shuffled=controls[1], untrained=controls[2])
    columns = packed_columns({"site": ["a"], "unit": [0], "unigram": [controls[0]]}, {})
    assert unit_data(UnitPage(row=0, said=[said]), columns, ["a · 0"], Words())["said"][0]["mark"] == mark


def test_columns_of_others_follow_and_are_explained():
    columns = {"site": ["a", "b"], "unit": [0, 1], "mine": [1.0, None], "word": ["x", None]}
    packed = {column.name: column for column in packed_columns(columns, {"mine": "my own", "unit": "other words"})}
    assert list(packed) == ["site", "unit", "beats", "mine", "word"]
    assert (packed["mine"].kind, packed["mine"].values, packed["mine"].about) == ("number", [1, None], "my own")
    assert (packed["word"].kind, packed["word"].values) == ("text", ["x", ""])
    assert packed["unit"].about == "other words"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None, np.float32("nan")])
def test_what_is_no_number_is_none(value):
    assert rounded(value) is None
    assert thousandths([0.5, math.nan if value is None else value], 1.0) == [500, None]


def test_numbers_of_numpy_are_numbers():
    packed = packed_columns({"site": ["a"], "unit": np.array([3]), "r": np.array([0.12346], dtype=np.float32)}, {})
    assert {column.name: column.values for column in packed} == {"site": [0], "unit": [3], "r": [0.1235], "beats": [16]}
    assert script("f", rounded(np.int64(3)), rounded(np.float32(0.5))) == "f(3, 0.5);\n"


def test_a_unit_that_is_all_zero_or_empty_is_written():
    window = Window(tokens=["a"], values=[0.0], at=0)
    columns = packed_columns({"site": ["a"], "unit": [0]}, {})
    data = unit_data(UnitPage(row=0, windows={"top": [window], "low": []}), columns, ["a · 0"], Words())
    assert data["scale"] == 1
    assert data["windows"] == [["top", [[[0], [0], 0, ""]]], ["low", []]]
    assert (data["said"], data["histogram"], data["tokens"]) == ([], [[], []], [])
    script("book", 0, unit_data(UnitPage(row=0), columns, ["a · 0"], Words()))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"windows": {"top": [Window(tokens=["a"], values=[1.0, 2.0], at=0)]}}, "top"),
        ({"windows": {"top": [Window(tokens=["a"], values=[1.0], at=1)]}}, "top"),
        ({"simulated": [(["a"], [1.0], [])]}, "simulated"),
        ({"histogram": ([0.0, 1.0], [1, 2])}, "histogram"),
        ({"neighbours": [(3, 0.5)]}, "neighbours"),
        ({"neighbours": [(-1, 0.5)]}, "neighbours"),
    ],
)
def test_a_unit_that_does_not_fit_is_refused_and_nothing_is_left(tmp_path, wrong, said):
    with pytest.raises(SuperalignError, match=f"row 0: {said} can't be shown"):
        write_book(book_of(units=lambda row: UnitPage(row=row, **wrong)), tmp_path / "book")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"unit": [0]}, "site"),
        ({"site": ["a"]}, "unit"),
        ({"site": ["a"], "unit": [0, 1]}, "differ in length"),
        ({"site": ["a"], "unit": [0], "tokens": ["x"]}, "makes the column tokens by itself"),
    ],
)
def test_columns_that_do_not_fit_are_refused(tmp_path, columns, said):
    with pytest.raises(SuperalignError, match=said):
        write_book(book_of(columns=columns), tmp_path / "book")


def test_a_page_of_another_row_is_refused(tmp_path):
    with pytest.raises(SuperalignError, match="asked for the unit of row 1, given that of row 0"):
        write_book(book_of(units=lambda row: page_of(0)), tmp_path / "book")


def files_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_units_are_asked_once_in_order_and_the_bytes_are_the_same(tmp_path):
    asked = []

    def unit(row):
        asked.append(row)
        return page_of(row)

    one = write_book(book_of(70, units=unit), tmp_path / "one")
    assert asked == list(range(70))
    assert files_of(one) == files_of(write_book(book_of(70), tmp_path / "deep" / "two"))


def test_a_book_is_replaced_whole_or_stays(tmp_path):
    folder = write_book(book_of(130), tmp_path / "book")
    before = files_of(folder)

    def broken(row):
        if row == 100:
            raise RuntimeError("stopped")
        return page_of(row)

    with pytest.raises(RuntimeError, match="stopped"):
        write_book(book_of(130, units=broken), folder)
    assert files_of(folder) == before
    write_book(book_of(3), folder)
    assert "data/units-00001.js" not in files_of(folder), "nothing of the old one stays"
    assert [path.name for path in tmp_path.iterdir()] == ["book"]


def test_a_folder_of_other_things_is_left_alone(tmp_path):
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "thesis.txt").write_text("mine")
    with pytest.raises(SuperalignError, match="is no book"):
        write_book(book_of(), tmp_path / "book")
    assert files_of(tmp_path) == {"book/thesis.txt": b"mine"}


def test_the_front_page_says_what_it_rests_on_and_what_was_not_measured(tmp_path):
    text = (write_book(book_of(facts={"seeds": "0 to 4"}), tmp_path / "book") / "index.html").read_text()
    words = "".join(Page(text).words)
    assert "seeds0 to 4" in words
    assert "Not measured for any unit: shuffled, untrained, gain, bits, effect, ablate to sim., least q, mean" in words
    assert "0.500 [0.400, 0.600] #12" in words
    assert "not measured" in words
    assert "toy models" not in words, "said of the family only"
    family = write_book(book_of(title="family:m"), tmp_path / "family")
    assert all("toy models" in (family / name).read_text() for name in ("index.html", "unit.html"))


def test_tokens_find_a_unit_by_peaks_and_highest_means():
    window = Window(tokens=["a", " peak\n"], values=[0.0, 1.0], at=1)
    page = UnitPage(
        row=0, windows={"top": [window]}, tokens=[("low", -3.0), ("high", 2.0), ("mid", 1.0), ("none", -1.0)]
    )
    assert found_by(page) == "peak↵\nhigh\nmid"


def test_a_book_of_no_units_is_a_book(tmp_path):
    folder = write_book(book_of(columns={"site": [], "unit": []}), tmp_path / "book")
    assert sorted(path.name for path in (folder / "data").iterdir()) == ["index-meta.js"]
    assert "0 units" in (folder / "index.html").read_text()
