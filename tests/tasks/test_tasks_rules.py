from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import lru_cache
from itertools import combinations
from time import process_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superalign.tasks import Item, Page, audit
from superalign.tasks.rules import RULES_VOCABULARY, blind_rules, conclude, rules
from superalign.tasks.rules_world import FEATURES, INDIVIDUALS, KINDS, PROPERTIES, lines_needed

SHAPES = [(12, 1), (40, 1), (40, 2), (20, 3), (40, 3), (60, 4), (28, 5), (200, 1)]
KIND, WHO, FEATURE, TOPIC = ("|".join(words) for words in (KINDS, INDIVIDUALS, FEATURES, PROPERTIES))
FORMS = {
    "membership": rf"({WHO}) is a ({KIND}) \.",
    "subkind": rf"every ({KIND}) is a ({KIND}) \.",
    "has": rf"({WHO}) has ({FEATURE}) \.",
    "lacks": rf"({WHO}) lacks ({FEATURE}) \.",
    "rule": rf"every ({KIND}) is (not )?({TOPIC}) \.",
    "exception": rf"every ({KIND}) with ({FEATURE})( and ({FEATURE}))* is (not )?({TOPIC}) \.",
}

BIRD = ["tavi is a wug .", "every wug is a gorp .", "every gorp is red ."]
HORNS = "every gorp with horns is not red ."
BOTH = "every gorp with fur and horns is red ."


@lru_cache
def page_of(n: int = 300, facts: int = 40, depth: int = 3) -> Page:
    return rules(split="dev", n=n, facts=facts, depth=depth)


def lines_of(item: Item) -> list[str]:
    return item.input["passage"].split("\n")


def follows(item: Item, quoted: Iterable[int], *, trusting: bool = False) -> bool | None:
    lines = lines_of(item)
    return conclude([lines[i] for i in quoted], item.input["question"], trusting=trusting)


def level_of(item: Item) -> int:
    assert item.difficulty is not None
    return int(item.difficulty) - 1


def default_of(item: Item) -> bool | None:
    return conclude([line for line in lines_of(item) if " with " not in line], item.input["question"])


@pytest.mark.parametrize(
    ("lines", "strict", "trusting"),
    [
        ([], None, None),
        (BIRD, True, True),
        (BIRD[1:], None, None),
        (BIRD[:2], None, None),
        ([BIRD[0], BIRD[2]], None, None),
        ([*BIRD, "every wug is not red ."], False, False),
        ([*BIRD, "every wug is not blue ."], True, True),
        ([*BIRD, "every blick is not red ."], True, True),
        ([*BIRD, "every wug is not red .", "lumo is a gorp ."], False, False),
        ([*BIRD, HORNS], True, False),
        ([*BIRD, HORNS, "tavi has horns ."], False, False),
        ([*BIRD, HORNS, "lumo has horns ."], True, False),
        ([*BIRD, HORNS, "tavi lacks horns ."], True, True),
        ([*BIRD, HORNS, "lumo lacks horns ."], True, False),
        ([*BIRD, HORNS, BOTH, "tavi has horns ."], False, True),
        ([*BIRD, HORNS, BOTH, "tavi has horns .", "tavi lacks fur ."], False, False),
        ([*BIRD, HORNS, BOTH, "tavi has horns .", "tavi has fur ."], True, True),
        ([*BIRD[:2], HORNS], None, False),
        # neither of two rules is the narrower: the kind of one, the condition of the other
        ([*BIRD[:2], "every wug is red .", HORNS, "tavi has horns ."], None, None),
        ([*BIRD[:2], HORNS, "every gorp with fur is red .", "tavi has horns .", "tavi has fur ."], None, None),
        (["tavi is a wug .", "every wug is red .", "every wug is not red ."], None, None),
        (["tavi is a wug .", "every wug is a gorp .", "every gorp is a wug .", "every gorp is red ."], True, True),
    ],
)
def test_conclusions(lines: list[str], strict: bool | None, trusting: bool | None) -> None:
    for order in (lines, lines[::-1]):
        assert conclude(order, "is tavi red ?") is strict
        assert conclude(order, "is tavi red ?", trusting=True) is trusting


@pytest.mark.parametrize(
    "line",
    [
        "",
        "tavi is red .",
        "every gorp is red",
        "every tavi is red .",
        "tavi is a tavi .",
        "every gorp with is red .",
        "every gorp with horns fur is red .",
        "every gorp with horns and is red .",
        "every gorp with horns with fur is red .",
        "every gorp is red . every gorp is shy .",
    ],
)
def test_what_is_no_sentence_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="no sentence of a passage"):
        conclude([*BIRD, line], "is tavi red ?")


@pytest.mark.parametrize("question", ["", "is wug red ?", "is tavi horns ?", "is tavi not red ?", "is tavi red"])
def test_what_is_no_question_is_refused(question: str) -> None:
    with pytest.raises(ValueError, match="no question"):
        conclude(BIRD, question)


@pytest.mark.parametrize(("facts", "depth"), SHAPES)
def test_the_solver_confirms_every_truth(facts: int, depth: int) -> None:
    page = page_of(120, facts, depth)
    assert {item.difficulty for item in page.items} == set(range(1, depth + 2))
    for item in page.items:
        truth, lines = page.truths[item.id], lines_of(item)
        right = bool(truth["answer"])
        assert len(lines) == len(set(lines)) == facts
        assert follows(item, range(facts)) is right
        assert follows(item, truth["chain"]) is right
        assert follows(item, [truth["decisive"]]) is None
        for left_out in truth["chain"]:
            assert follows(item, [i for i in truth["chain"] if i != left_out]) is None
        level = lines[truth["decisive"]].split(" is ")[0].count(" with ") + lines[truth["decisive"]].count(" and ")
        assert item.difficulty == level + 1
        assert truth["kind"].count("exception") == level
        assert default_of(item) is (right if level % 2 == 0 else not right)


@pytest.mark.parametrize(("facts", "depth"), SHAPES)
def test_every_item_can_be_argued_for_the_wrong_side_and_settled(facts: int, depth: int) -> None:
    page = page_of(120, facts, depth)
    denied = 0
    for item in page.items:
        truth, lines = page.truths[item.id], lines_of(item)
        right, lures = bool(truth["answer"]), truth["lures"]
        assert len(lures) == 1 + (0 < level_of(item) < depth)
        for lure in lures:
            assert follows(item, lure, trusting=True) is (not right)
            assert follows(item, {*lure, *truth["chain"]}) is right
        if level_of(item) > 0:  # one exception too few: it misleads any reader
            assert follows(item, lures[0]) is (not right)
        if level_of(item) < depth:  # one too many: its condition is denied or open
            assert follows(item, lures[-1]) is None
            who = item.input["question"].split()[1]
            denials = [i for i, line in enumerate(lines) if line.startswith(f"{who} lacks")]
            settled = follows(item, {*lures[-1], *truth["chain"], *denials}, trusting=True)
            assert settled in (right, not right)
            denied += settled is right
    blocked = sum(level_of(item) < depth for item in page.items)
    assert 0.3 < denied / blocked < 0.7


def test_quotes_hold_nothing_idle_and_exceptions_are_about_the_same_kind_or_a_lower_one() -> None:
    page, steps = page_of(), Counter[int]()
    for item in page.items:
        truth, lines = page.truths[item.id], lines_of(item)
        links = []
        for quote in (*truth["lures"], truth["chain"]):
            text = [lines[i] for i in quote]
            asked = {word for line in text if " with " in line for word in re.findall(FEATURE, line)}
            shown = {line.split()[2] for line in text if " has " in line}
            assert shown == asked or (quote is truth["lures"][-1] and len(asked - shown) == 1 and shown < asked)
            links.append(sum(bool(re.fullmatch(FORMS["subkind"], line)) for line in text))
        if level_of(item) > 0:
            steps[links[0] - links[-1]] += 1  # from the exception to what it is an exception to
    assert set(steps) == {0, 1}
    assert 0.08 < steps[1] / steps[0] < 0.5


@settings(max_examples=150, deadline=None)
@given(
    shape=st.sampled_from(SHAPES[:-1]),
    row=st.integers(0, 119),
    more=st.sets(st.integers(0, 59)),
)
def test_no_further_line_overturns_a_chain(shape: tuple[int, int], row: int, more: set[int]) -> None:
    page = page_of(120, *shape)
    item = page.items[row]
    truth = page.truths[item.id]
    quoted = {*truth["chain"], *(i for i in more if i < shape[0])}
    assert follows(item, quoted) is bool(truth["answer"])


@pytest.mark.parametrize(("facts", "depth"), SHAPES)
def test_a_passage_holds_whole_chains_in_known_forms_only(facts: int, depth: int) -> None:
    seen: Counter[str] = Counter()
    for item in page_of(120, facts, depth).items:
        lines, (_, who, topic, _) = lines_of(item), item.input["question"].split()
        for line in lines:
            forms = [name for name, form in FORMS.items() if re.fullmatch(form, line)]
            assert len(forms) == 1
            seen[forms[0]] += 1
        belongs = {who}
        for _ in range(3):
            belongs |= {words[-2] for words in map(str.split, lines) if {"is", "a"} < set(words) and belongs & {*words}}
        chains = {frozenset[str](): None}
        found = {
            frozenset(re.findall(FEATURE, line)): " not " in line
            for line in lines
            if line.endswith(f" {topic} .") and line.split()[1] in belongs
        }
        for conditions in sorted(found, key=len):
            for size in range(len(conditions)):
                for part in map(frozenset, combinations(sorted(conditions), size)):
                    if part in chains and part in found and found[part] != found[conditions]:
                        chains[conditions] = None
        assert max(map(len, chains)) >= depth  # each exception to the one before, down to the last
    assert set(seen) == set(FORMS)


def test_the_vocabulary_is_closed_and_small() -> None:
    assert len(set(RULES_VOCABULARY)) == len(RULES_VOCABULARY) <= 200
    used = {
        word
        for item in rules(split="train", n=400, facts=80).items
        for text in (*item.input.values(), *item.options)
        for word in text.split()
    }
    assert used == set(RULES_VOCABULARY)


@pytest.mark.parametrize(("facts", "depth", "each"), [(20, 3, 2), (40, 3, 2), (60, 3, 4), (40, 2, 4), (28, 5, 2)])
def test_questions_share_passages_and_differ(facts: int, depth: int, each: int) -> None:
    page = page_of(120, facts, depth)
    by_cluster: dict[str, list[Item]] = {}
    for item in page.items:
        by_cluster.setdefault(item.cluster, []).append(item)
    for items in by_cluster.values():
        assert len({item.input["passage"] for item in items}) == 1
        assert len({item.input["question"] for item in items}) == len(items) == each
    assert len({item.input["passage"] for item in page.items}) == len(by_cluster) == 120 / each
    assert len({item.id for item in page.items}) == 120


@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_page_has_as_many_items_as_were_asked_for(n: int) -> None:
    page = rules(split="dev", n=n, facts=60)
    assert len(page.items) == len(page.truths) == n
    assert sum(truth["answer"] for truth in page.truths.values()) == n // 2


@pytest.mark.parametrize(("facts", "depth"), SHAPES)
def test_counting_an_individual_s_features_tells_nothing(facts: int, depth: int) -> None:
    for item in page_of(120, facts, depth).items:
        who = item.input["question"].split()[1]
        said = Counter(line.split()[1] for line in lines_of(item) if line.startswith(f"{who} "))
        assert said == {"is": 1, "has": depth, "lacks": 1}


def test_lines_stand_in_random_order() -> None:
    truths = page_of(2000).truths.values()
    tenths = Counter(truth["decisive"] // 4 for truth in truths)
    assert sum((tenths[i] - 200) ** 2 / 200 for i in range(10)) < 27.9  # chi-square, 9 degrees, p = 0.001
    for end, tenth in ((0, 0), (-1, 9)):
        places = Counter(truth["chain"][end] // 4 for truth in truths)
        assert set(places) > set(range(7) if end == 0 else range(3, 10))
        assert places.most_common(1)[0][0] == tenth


def test_the_answer_is_balanced_within_everything_that_is_known_unread() -> None:
    page = page_of(2000)
    places = {item.id: i for i, item in enumerate(page.items)}
    views: dict[str, Callable[[Item], object]] = {
        "default": default_of,
        "exceptions that apply": lambda item: item.difficulty,
        "place in passage": lambda item: page.truths[item.id]["decisive"] // 10,
        "denials": lambda item: len(re.findall(" not | lacks ", item.input["passage"])),
        "length": lambda item: len(item.input["passage"].split()) // 10,
        "place on page": lambda item: places[item.id] % 4,
        "property": lambda item: item.input["question"].split()[2],
        "individual": lambda item: item.input["question"].split()[1],
    }
    assert sum(truth["answer"] for truth in page.truths.values()) == 1000
    for name, view in views.items():
        groups: dict[object, list[int]] = {}
        for item in page.items:
            groups.setdefault(view(item), []).append(page.truths[item.id]["answer"])
        assert len(groups) > 1, name
        for value, answers in groups.items():
            error = abs(sum(answers) - len(answers) / 2) / (len(answers) / 4) ** 0.5
            assert error < 4, (name, value, sum(answers) / len(answers))


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5])
def test_an_even_number_of_exceptions_applies_as_often_as_an_odd_one(depth: int) -> None:
    levels = Counter(item.difficulty for item in page_of(1000, 40, depth).items)
    evens = [levels[1 + i] for i in range(0, depth + 1, 2)]
    odds = [levels[1 + i] for i in range(1, depth + 1, 2)]
    for group in (evens, odds):
        expected = 500 / len(group)
        assert sum((count - expected) ** 2 / expected for count in group) < 20  # up to 3 degrees, p < 0.001


@pytest.mark.parametrize(("facts", "depth"), [(40, 2), (40, 3), (40, 5)])
def test_blind_readers_stay_near_chance(facts: int, depth: int) -> None:
    page = page_of(2000, facts, depth)
    assert blind_rules(page) <= 0.55
    results = audit(page)
    assert [result.attacker for result in results] == ["metadata", "words"]
    assert all(result.passed for result in results)


@pytest.mark.parametrize(
    "tell",
    [
        default_of,
        lambda item: "wug" in item.input["passage"],
        lambda item: item.input["question"].split()[2] < "proud",
        lambda item: len(re.findall(" not | lacks ", item.input["passage"])) > 12,
    ],
    ids=["default", "word in passage", "question", "negations"],
)
def test_a_tell_is_found(tell: Callable[[Item], object]) -> None:
    page = page_of(1000)
    truths = {item.id: {"answer": int(bool(tell(item)))} for item in page.items}
    assert 200 < sum(truth["answer"] for truth in truths.values()) < 800
    assert blind_rules(replace(page, truths=truths)) > 0.7


def test_pages_are_reproducible_and_splits_apart() -> None:
    passages: dict[str, set[str]] = {}
    for split in ("train", "dev", "validation", "test"):
        page = rules(split=split, n=200)
        assert page == rules(split=split, n=200)
        assert page.split == split
        passages[split] = {item.input["passage"] for item in page.items}
    passages["other seed"] = {item.input["passage"] for item in rules(split="dev", n=200, seed=1).items}
    for one, other in combinations(passages.values(), 2):
        assert one.isdisjoint(other)
    ids = [{item.id for item in rules(split=split, n=200).items} for split in ("train", "test")]
    assert ids[0].isdisjoint(ids[1])


def test_a_thousand_items_take_less_than_two_seconds() -> None:
    start = process_time()
    rules(split="dev", n=1000)
    assert process_time() - start < 2


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"split": "corpus"}, "has no split 'corpus'"),
        ({"n": 0}, "0 items were asked for"),
        ({"depth": 0}, "depth 0 was asked for: chains have 1 to 5"),
        ({"depth": 6}, "depth 6 was asked for"),
        ({"facts": lines_needed(3) - 1}, "19 facts were asked for: passages of depth 3 have 20 to 200"),
        ({"facts": 201}, "201 facts were asked for"),
    ],
)
def test_unknown_asks_are_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        rules(**({"split": "dev", "n": 3} | wrong))  # type: ignore[arg-type]


def test_a_blind_reader_needs_two_passages() -> None:
    with pytest.raises(ValueError, match="one cluster"):
        blind_rules(rules(split="dev", n=2))
