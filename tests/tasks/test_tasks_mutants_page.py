from __future__ import annotations

import ast
import hashlib
import json
import lzma
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from superalign.tasks import Mutant, audit, load_mutants, mutants
from superalign.tasks.executing import MutantsError
from superalign.tasks.faults import KINDS
from superalign.tasks.item import SPLITS
from superalign.tasks.lexer import INDENTS, SLOTS, lex
from superalign.tasks.mutants import ARCHIVE, as_lines, mutants_index, shipped
from superalign.tasks.mutants_balance import balanced, distinct, edit_attacks, edit_runs, shuffled
from superalign.tasks.mutants_surface import repeated_lines, surface
from superalign.tasks.slips import slips, vocabulary
from superalign.tasks.stdlib import data_path, index
from superalign.tasks.traces import traces


def test_enough_is_shipped_and_pinned() -> None:
    made, pinned = shipped(), mutants_index()
    assert len(made) >= 2000
    assert len({m.path for m in made}) >= 12
    assert len({m.path for m in made if m.split != "train"}) >= 12
    assert len({m.kind for m in made}) >= 8
    assert {"variable", "swapped", "attribute", "comparison", "arithmetic", "literal", "condition", "order"} <= {
        m.kind for m in made
    }
    assert hashlib.sha256(data_path(ARCHIVE).read_bytes()).hexdigest() == pinned["archive_sha256"]
    assert pinned["corpus_sha256"] == index()["archive_sha256"]
    assert pinned["splits_sha256"] == index()["splits_sha256"]
    assert pinned["shipped"] == {split: sum(m.split == split for m in made) for split in SPLITS}
    assert "LICENSE.cpython.txt" in pinned["licence"]
    assert "PYTHON SOFTWARE FOUNDATION LICENSE" in data_path("LICENSE.cpython.txt").read_text(encoding="utf-8")


def test_every_shipped_mutant_is_two_functions_that_differ() -> None:
    seen = set()
    for mutant in shipped():
        sound, faulty = ast.parse(mutant.sound), ast.parse(mutant.faulty)
        assert len(sound.body) == len(faulty.body) == 1
        assert mutant.sound == ast.unparse(sound)
        assert ast.dump(sound) != ast.dump(faulty)
        assert ast.get_docstring(sound.body[0]) == ast.get_docstring(faulty.body[0])  # type: ignore[arg-type]
        assert mutant.kind in KINDS
        assert mutant.witness
        assert mutant.error
        seen.add((mutant.path, mutant.function, mutant.start, mutant.faulty))
    assert len(seen) == len(shipped()) == len({(m.sound, m.faulty) for m in shipped()})


def test_the_two_sides_differ_at_one_place() -> None:
    """One node is edited: few tokens, but for moved statements and a chain of `and` that turns into `or`."""
    for mutant in shipped():
        gone, come = edit_runs(mutant.sound, mutant.faulty)
        assert gone or come
        if mutant.kind not in ("order", "statement", "return", "swapped", "keyword", "call", "condition"):
            assert max(len(gone), len(come)) <= 6, (mutant.kind, gone, come)


def test_no_held_out_mutant_stands_in_the_corpus() -> None:
    files = index()["files"]
    for mutant in shipped():
        frozen = files[mutant.path]["split"]
        assert frozen == mutant.split or (frozen, mutant.split) == ("corpus", "train"), mutant.path
    homes = {split: {m.path for m in shipped() if m.split == split} for split in SPLITS}
    assert sum(map(len, homes.values())) == len(set().union(*homes.values()))
    sizes = Counter((m.split, m.path) for m in shipped())
    assert all(n <= 0.4 * mutants_index()["shipped"][split] for (split, _), n in sizes.items())


def test_directions_are_drawn_as_often_as_their_mirrors() -> None:
    keys = Counter((m.split, m.kind, *m.key) for m in shipped())
    assert not {key: n for key, n in keys.items() if n != keys[(*key[:2], key[3], key[2])]}
    for split in SPLITS:
        longer = [len(lex(m.faulty).tokens) - len(lex(m.sound).tokens) for m in shipped() if m.split == split]
        assert abs(np.sign(longer).mean()) < 0.05


def test_the_edit_alone_tells_nothing() -> None:
    """Fitted anew on the held-out splits; the index holds the figures of all of them, at build."""
    for result in edit_attacks([m for m in shipped() if m.split in ("dev", "test")], seed=11):
        assert result.accuracy <= 0.55, result
    for row in mutants_index()["edit_only"]["shipped"]:
        assert row["high"] <= 0.55, row
        assert row["n"] == len(shipped())


def test_balanced_depends_on_the_set_and_the_seed_alone() -> None:
    some = [m for m in shipped() if m.path in ("shlex.py", "statistics.py", "netrc.py")]
    twins = [replace(m, path="another.py") for m in some[:40]]  # the same texts in another file
    kept = balanced([*some, *twins])
    assert balanced([*twins, *reversed(some)]) == kept != balanced([*some, *twins], seed=1)
    assert len({(m.sound, m.faulty) for m in kept}) == len(kept) > 50
    keys = Counter((m.kind, *m.key) for m in kept)
    assert all(n == keys[kind, after, before] for (kind, before, after), n in keys.items())


def test_whole_couples_are_dropped_until_no_two_texts_are_left_twice() -> None:
    a, b, c, d, e, f = shipped()[:6]
    far = replace(a, path="zzz.py", split="validation")
    couples = [[c, far], [e, f], [a, b], [d, d]]
    kept = distinct(couples)
    assert {tuple(couple) for couple in map(tuple, kept)} == {(a, b), (e, f)}
    assert distinct(couples[::-1]) == kept


def test_shuffled_moves_each_mutant_by_itself() -> None:
    some = list(shipped()[:400])
    kept = shuffled(some)
    assert shuffled(some[::-1]) == kept != shuffled(some, seed=1)
    assert Counter(map(id, kept)) == Counter(map(id, some))
    at = {id(m): i for i, m in enumerate(kept)}
    assert sum(abs(at[id(x)] - at[id(y)]) == 1 for x, y in pairwise(some)) < 12


def test_no_mirror_stands_beside_its_mutant_more_often_than_by_chance() -> None:
    """Frozen order: were couples kept together, every second neighbour would be the mirror."""
    made = [(m.split, m.kind, *m.key) for m in shipped()]
    beside = sum(a == (*b[:2], b[3], b[2]) for a, b in pairwise(made))
    assert beside < 0.05 * len(made)


def test_what_the_surface_tells_is_in_the_index_and_holds() -> None:
    found = surface(shipped())
    assert mutants_index()["surface"] == found
    assert set(found) == {*KINDS, "all"}
    assert found["all"]["n"] == len(shipped())
    assert found["return"]["accuracy"] > 0.9  # said in the docstrings of faults and fault_kinds
    assert found["statement"]["accuracy"] > 0.7
    assert all(row["accuracy"] < 0.55 for kind, row in found.items() if kind not in ("return", "statement"))
    assert repeated_lines("def f(x):\n    x.close()\n    x.close()\n    x.close()\n    return\n    return") == 2


def test_the_attackers_catch_one_direction() -> None:
    leaning = [m for m in shipped() if m.key[0] <= m.key[1]][:900]
    assert max(result.accuracy for result in edit_attacks(leaning)) > 0.65


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("view", ["pair", "single"])
@pytest.mark.parametrize("form", ["source", "words"])
def test_the_audit_passes(split: str, view: str, form: str) -> None:
    page = mutants(split=split, view=view, form=form)
    results = audit(page)
    assert {"metadata", "edit-lookup", "edit-logistic", "edit-order"} == {result.attacker for result in results}
    for result in results:
        assert result.passed, result


@pytest.mark.parametrize("form", ["source", "words"])
def test_a_pair_shows_both_sides_and_a_single_one(form: str) -> None:
    pair, single = mutants(split="dev", form=form), mutants(split="dev", view="single", form=form)
    assert len(pair.items) == len(single.items) > 200
    by = {(m.path, m.function, m.faulty): m for m in shipped() if m.split == "dev"}
    assert by
    for item in pair.items:
        truth = pair.truths[item.id]
        sides = [item.input["a"], item.input["b"]]
        sound, faulty = sides[truth["answer"]], sides[1 - truth["answer"]]
        tokens = [lex(text).tokens if form == "source" else tuple(text.split()) for text in (sound, faulty)]
        at = truth["place"]
        if form == "source":
            assert (truth["path"], truth["function"], faulty) in by
        else:
            assert tokens[0][:at] == tokens[1][:at]
            assert tokens[0][at] != tokens[1][at]
            assert len(tokens[0]) == len(tokens[1]) <= 48
            assert set(tokens[0]) <= vocabulary() | set(SLOTS) | set(INDENTS) | {"<unk>"}
    answers = Counter(single.truths[item.id]["answer"] for item in single.items)
    assert abs(answers[0] - answers[1]) <= 1
    assert single.items[0].options == ("sound", "faulty")
    assert {item.id for item in pair.items}.isdisjoint(item.id for item in single.items)


def test_items_hold_no_truth_and_ids_tell_nothing() -> None:
    page = mutants(split="validation")
    answers = np.array([page.truths[item.id]["answer"] for item in page.items]) - 0.5
    bits = np.array([[int(bit) for bit in f"{int(item.id, 16):064b}"] for item in page.items]) - 0.5
    assert len({item.id for item in page.items}) == len(page.items)
    assert np.abs(4 * (bits * answers[:, None]).mean(0)).max() < 4.5 / len(answers) ** 0.5
    for item in page.items[:40]:
        assert set(item.input) == {"a", "b"}
        assert not any(word in item.id + item.cluster for word in page.truths[item.id]["path"].split("/"))


def test_prefix_seed_window_and_vocabulary() -> None:
    page = mutants(split="dev", form="words")
    assert mutants(split="dev", form="words", n=20).items == page.items[:20]
    other = mutants(split="dev", form="words", n=20, seed=1)
    assert {item.id for item in other.items}.isdisjoint(item.id for item in page.items)
    short = mutants(split="dev", form="words", window=16, n=20)
    assert max(len(item.input["a"].split()) for item in short.items) == 16
    named = mutants(split="dev", form="words", vocabulary=vocabulary() | {"self", "tokens", "lineno"}, n=50)
    assert any("lineno" in item.input["a"] for item in named.items) or any(
        "tokens" in item.input["a"] for item in named.items
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "corpus"}, "no split 'corpus'"),
        ({"split": "dev", "view": "triple"}, "no view 'triple'"),
        ({"split": "dev", "form": "tokens"}, "no form 'tokens'"),
        ({"split": "dev", "n": 10**6}, "1000000 were asked for"),
        ({"split": "dev", "form": "words", "window": 3}, "a window of 3 words"),
    ],
)
def test_unknown_pages_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mutants(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("form", ["source", "words"])
@pytest.mark.parametrize("seed", [0, 3])
def test_every_page_is_permuted(form: str, seed: int) -> None:
    """The frozen order shows in no page, at no seed."""
    frozen = {(m.path, m.function, m.key, m.witness, m.line): i for i, m in enumerate(shipped())}
    page = mutants(split="dev", form=form, seed=seed)
    truths = [page.truths[item.id] for item in page.items]
    at = [frozen[t["path"], t["function"], tuple(t["key"]), t["witness"], t["line"]] for t in truths]
    assert sum(b > a for a, b in pairwise(at)) / len(at) == pytest.approx(0.5, abs=0.1)
    assert abs(np.corrcoef(at, np.arange(len(at)))[0, 1]) < 0.15


@pytest.mark.parametrize("n", [0, -5])
def test_less_than_one_item_is_refused(n: int) -> None:
    for make in (mutants, slips, traces):
        with pytest.raises(ValueError, match=f"{n} items were asked for: ask for 1 or more"):
            make(split="dev", n=n)


def test_own_files_round_trip(tmp_path: Path) -> None:
    some = shipped()[:30]
    (tmp_path / "plain.jsonl").write_text(as_lines(some), encoding="utf-8")
    (tmp_path / "packed.xz").write_bytes(lzma.compress(as_lines(some).encode()))
    assert load_mutants(tmp_path / "plain.jsonl") == load_mutants(tmp_path / "packed.xz") == some
    page = mutants(split="dev", made=some)
    assert len(page.items) == 30


GOOD = json.loads(as_lines(shipped()[:1]))


def _without(name: str) -> str:
    return json.dumps({k: v for k, v in GOOD.items() if k != name})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 3: no JSON"),
        ("[1]", "line 3: a mutant is a JSON object"),
        (_without("witness"), "line 3: lacks witness"),
        (json.dumps({**GOOD, "extra": 1}), "line 3: has the unknown extra"),
        (json.dumps({**GOOD, "line": "4"}), "line 3: texts must be strings"),
        (json.dumps({**GOOD, "line": True}), "line 3: texts must be strings"),
        (json.dumps({**GOOD, "key": ["a"]}), "line 3: texts must be strings"),
        (json.dumps({**GOOD, "faulty": GOOD["sound"]}), "line 3: both sides are the same"),
        (json.dumps({**GOOD, "faulty": "def f(:"}), "line 3: the faulty side is no Python"),
        (json.dumps({**GOOD, "sound": "\x00"}), "line 3: the sound side is no Python"),
        ("[" * 200_000, "line 3: JSON nested too deeply"),
        (json.dumps({**GOOD, "sound": "-" * 20_000 + "1"}), "line 3: the sound side is nested too deeply"),
        (json.dumps({**GOOD, "faulty": "def f():\n    '\ud800'"}), "line 3: `faulty` holds half a character"),
        (json.dumps({**GOOD, "witness": "\udfff"}), "line 3: `witness` holds half a character"),
        (json.dumps({**GOOD, "key": ["\ud800", "a"]}), "line 3: `key` holds half a character"),
        (json.dumps({**GOOD, "\ud800": 1}), "line 3: has the unknown"),
        (json.dumps({**GOOD, "sound": "x = 1"}), "line 3: the sound side is no single function"),
        (json.dumps({**GOOD, "faulty": ""}), "line 3: the faulty side is no single function"),
        (json.dumps({**GOOD, "faulty": GOOD["sound"] + "\nx = 1"}), "line 3: the faulty side is no single function"),
        (json.dumps(GOOD), "line 3 repeats line 1"),
        (json.dumps({**GOOD, "witness": "another"}), "line 3 repeats line 1"),
    ],
)
def test_a_broken_line_is_named_by_number(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "mutants.jsonl"
    path.write_text(json.dumps(GOOD) + "\n\n" + line + "\n", encoding="utf-8")
    with pytest.raises(MutantsError, match=message):
        load_mutants(path)


def test_files_that_are_none_are_named(tmp_path: Path) -> None:
    with pytest.raises(MutantsError, match="there is no such file"):
        load_mutants(tmp_path / "nothing.jsonl")
    with pytest.raises(MutantsError, match="cannot be read: Is a directory"):
        load_mutants(tmp_path)
    for name, raw in (("plain.jsonl", b"\n\n\xff\n"), ("packed.xz", lzma.compress(b"\n\n\xff\n"))):
        (tmp_path / name).write_bytes(raw)
        with pytest.raises(MutantsError, match=f"{name}, line 3: no UTF-8"):
            load_mutants(tmp_path / name)
    (tmp_path / "broken.xz").write_bytes(b"nothing packed")
    with pytest.raises(MutantsError, match="is no file of mutants"):
        load_mutants(tmp_path / "broken.xz")


def test_slips_are_as_they_were() -> None:
    """The audit lexes source now; on windows of words it reads what it read before."""
    assert [round(r.accuracy, 4) for r in audit(slips(split="dev", n=600))] == SLIPS


SLIPS = [0.5083, 0.4625, 0.4708, 0.5117]
assert isinstance(GOOD, dict)
assert Mutant(**{**GOOD, "key": tuple(GOOD["key"])}) == shipped()[0]
