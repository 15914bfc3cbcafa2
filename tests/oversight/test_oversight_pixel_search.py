"""Search of pictures: the moves of the search that asks the judge for every view, and how they are counted."""

import dataclasses
from itertools import permutations

import numpy as np
import pytest

from superalign.oversight import case_of, play
from superalign.oversight.advisers import SearchAdviser, pixel_search
from superalign.oversight.advisers.pixel_search import PixelSearch
from superalign.oversight.advisers.search import with_quotes
from superalign.oversight.judges import PictureJudge, adapted, train_pixel_judge
from superalign.oversight.judges.pixels import Layer
from superalign.oversight.protocols import consultancy, debate
from superalign.oversight.types import Message, Piece, Position, Quote, View
from superalign.tasks import pixels, slips


@pytest.fixture(scope="module")
def judge():
    return PictureJudge(net=train_pixel_judge(pixels=4, seed=0, steps=60, width=32), name="small")


@pytest.fixture(scope="module")
def cases():
    return [case_of(item) for item in pixels(split="dev", view="pair", n=6).items]


def position(case, side, **more):
    view = View(task=case.task, question=case.question, options=case.options)
    return Position(case=case, seat="a", side=side, view=view, **more)


def quoted(messages):
    return [[q.piece for q in m.quotes] for m in messages]


@pytest.mark.parametrize("depth", [1, 2])
def test_it_moves_as_the_search_that_asks_for_every_view(judge, cases, depth):
    asked = [position(case, side, turns_left=1, replied=True) for case in cases[:3] for side in (0, 1)]
    mine = PixelSearch(judge=judge, knower=judge, depth=depth)
    theirs = SearchAdviser(judge=judge, knower=judge, depth=depth)
    assert quoted(mine.moves(asked)) == quoted(theirs.moves(asked))


@pytest.mark.parametrize("protocol", [consultancy(turns=3), debate(turns=2), debate(turns=2, simultaneous=False)])
def test_whole_plays_are_the_same(judge, cases, protocol):
    plays = []
    for kind in (PixelSearch, SearchAdviser):
        adviser = kind(judge=judge, knower=judge)
        players = {"judge": judge} | dict.fromkeys(("adviser", "a", "b"), adviser)
        plays.append(list(play(protocol, cases, players)))
    for one, other in zip(*plays, strict=True):
        assert quoted(one.messages) == quoted(other.messages)
        assert one.belief == pytest.approx(other.belief)


def test_a_reply_is_expected_only_where_there_will_be_one(judge, cases):
    deep = PixelSearch(judge=judge, knower=judge, depth=2)
    greedy = PixelSearch(judge=judge, knower=judge)
    last = [position(case, 0) for case in cases]
    assert quoted(deep.moves(last)) == quoted(greedy.moves(last))
    assert deep.asked == [len(case.pieces) for case in cases]
    (told, *_) = deep.moves([position(cases[0], 0, replied=True)])
    assert told.asked == deep.asked[-1] == len(cases[0].pieces) ** 2


def test_its_side_is_what_its_knower_believes_where_none_is_assigned(judge, cases):
    adviser = PixelSearch(judge=judge, knower=judge)
    sides = judge.knows(cases).argmax(axis=1).tolist()
    free = adviser.moves([position(case, None) for case in cases])
    assigned = adviser.moves([position(case, side) for case, side in zip(cases, sides, strict=True)])
    assert quoted(free) == quoted(assigned)


def test_it_is_silent_where_every_pixel_is_shown(judge, cases):
    case = dataclasses.replace(cases[0], pieces=cases[0].pieces[:1])
    adviser = PixelSearch(judge=judge, knower=judge)
    (said,) = adviser.moves([position(case, 0)])
    shown = View(task=case.task, question=case.question, options=case.options, messages=(said,))
    (silent,) = adviser.moves([dataclasses.replace(position(case, 0), view=shown)])
    assert (len(said.quotes), silent.quotes) == (1, ())


def test_another_judge_of_pictures_is_searched_as_fast_and_an_adapted_one_view_by_view(judge, cases):
    adviser = PixelSearch(judge=judge, knower=judge, depth=2)
    other = PictureJudge(net=train_pixel_judge(pixels=4, seed=1, steps=5, width=8), name="other")
    assert dataclasses.replace(adviser.against(other), asked=[]) == dataclasses.replace(adviser, judge=other, asked=[])
    rules = consultancy(turns=1)
    players = {"judge": judge, "adviser": PixelSearch(judge=judge, knower=judge)}
    episodes = list(play(rules, cases, players))
    wise = adapted(judge, rules.name, episodes, [0] * len(episodes))
    against = adviser.against(wise)
    assert isinstance(against, SearchAdviser)
    assert (against.judge, against.depth) == (wise, 2)
    mover = adviser.against(other, goal="move", width=None)
    assert isinstance(mover, SearchAdviser)
    assert mover.goal == "move"


def test_other_depths_and_other_cases_are_refused(judge):
    with pytest.raises(ValueError, match="depth of 1 or 2"):
        PixelSearch(judge=judge, knower=judge, depth=3)
    code = case_of(slips(split="dev", n=1).items[0])
    with pytest.raises(ValueError, match="digit"):
        PixelSearch(judge=judge, knower=judge).moves([position(code, 0)])


def test_the_best_reply_is_what_counts(judge, cases):
    """By hand: the pixel whose worst reply leaves most, by the net's own log-odds."""
    asked = position(cases[0], 0, replied=True)
    (said,) = PixelSearch(judge=judge, knower=judge, depth=2).moves([asked])
    pairs = list(permutations(range(len(cases[0].pieces)), 2))
    beliefs = judge.beliefs([with_quotes(asked, pair) for pair in pairs])
    odds = np.log(beliefs[:, 0]) - np.log(beliefs[:, 1])
    worst = {one: min(o for (first, _), o in zip(pairs, odds, strict=True) if first == one) for one, _ in pairs}
    assert worst[said.quotes[0].piece] == pytest.approx(max(worst.values()))


def sharpened(judge, factor):
    """The same judge, its logits `factor` times as large; 0: it never tells anything apart."""
    *layers, last = judge.net.layers
    last = Layer(last.weight * np.float32(factor), last.bias * np.float32(factor))
    return PictureJudge(net=dataclasses.replace(judge.net, layers=(*layers, last)), name="sharp")


@pytest.mark.parametrize("depth", [1, 2])
def test_ties_are_broken_by_the_draw_as_there(judge, cases, depth):
    blank = sharpened(judge, 0)
    asked = [position(case, 0, replied=True, draw=draw) for case in cases[:2] for draw in range(12)]
    chosen = quoted(PixelSearch(judge=blank, knower=blank, depth=depth).moves(asked))
    assert chosen == quoted(SearchAdviser(judge=blank, knower=blank, depth=depth).moves(asked))
    assert len({piece for (piece,) in chosen}) > 6


@pytest.mark.parametrize("depth", [1, 2])
def test_where_probabilities_round_to_one_it_still_tells_pixels_apart(judge, cases, depth):
    """The other search draws among beliefs of exactly 1 or 0; this one chooses as before a mild judge."""
    sharp = sharpened(judge, 2**17)
    asked = [position(case, side, replied=True, draw=d) for case in cases[:3] for side in (0, 1) for d in range(3)]
    moves = [
        quoted(kind(judge=who, knower=who, depth=depth).moves(asked))
        for kind, who in ((PixelSearch, judge), (PixelSearch, sharp), (SearchAdviser, sharp))
    ]
    assert moves[0] == moves[1] != moves[2]


def test_deep_debates_are_the_same_and_a_board_is_looked_at_once(judge, cases, monkeypatch):
    looked = []
    look = PixelSearch._after

    def counted(self, boards):
        looked.append(len(boards))
        return look(self, boards)

    monkeypatch.setattr(PixelSearch, "_after", counted)
    few, plays = cases[:3], []
    for kind in (PixelSearch, SearchAdviser):
        adviser = kind(judge=judge, knower=judge, depth=2)
        players = {"judge": judge, "a": adviser, "b": adviser}
        plays.append(list(play(debate(turns=2, simultaneous=False), few, players)))
    assert [quoted(e.messages) for e in plays[0]] == [quoted(e.messages) for e in plays[1]]
    assert looked[0] == sum(len(case.pieces) for case in few), "two seatings begin with one empty board"
    assert sum(looked) < sum(1 for e in plays[0] for _ in e.messages) * max(len(case.pieces) for case in few)


def test_many_boards_in_small_batches(judge, cases, monkeypatch):
    asked = [position(case, side, replied=True) for case in cases for side in (0, 1)]
    whole = quoted(PixelSearch(judge=judge, knower=judge, depth=2).moves(asked))
    monkeypatch.setattr(pixel_search, "BOARDS", 1)
    assert quoted(PixelSearch(judge=judge, knower=judge, depth=2).moves(asked)) == whole
    assert PixelSearch(judge=judge, knower=judge).moves([]) == []


def test_the_order_of_pieces_is_nothing_to_it(judge, cases):
    case = cases[0]
    order = np.random.default_rng(0).permutation(len(case.pieces)).tolist()
    other = dataclasses.replace(case, pieces=tuple(case.pieces[i] for i in order))
    for depth in (1, 2):
        adviser = PixelSearch(judge=judge, knower=judge, depth=depth)
        one, two = adviser.moves([position(c, 1, replied=True) for c in (case, other)])
        assert one.quotes[0].texts == two.quotes[0].texts
        theirs = SearchAdviser(judge=judge, knower=judge, depth=depth).moves([position(other, 1, replied=True)])
        assert quoted([two]) == quoted(theirs)


def test_a_quote_that_was_not_verified_is_neither_shown_nor_left(judge, cases):
    case = cases[0]
    said = tuple(Quote(piece, case.pieces[piece].texts, verified=piece < 2) for piece in range(4))
    view = View(
        task=case.task, question=case.question, options=case.options, messages=(Message(speaker="b", quotes=said),)
    )
    asked = [dataclasses.replace(position(case, side, replied=True), view=view) for side in (0, 1)]
    adviser = PixelSearch(judge=judge, knower=judge, depth=2)
    assert quoted(adviser.moves(asked)) == quoted(SearchAdviser(judge=judge, knower=judge, depth=2).moves(asked))
    assert adviser.asked == [(len(case.pieces) - 4) ** 2] * 2


def test_more_than_two_digits_may_be_argued_about(judge, cases):
    asked = [
        position(dataclasses.replace(case, options=("0", "7", "4")), side, replied=True)
        for case in cases[:2]
        for side in range(3)
    ]
    for depth in (1, 2):
        mine, theirs = (kind(judge=judge, knower=judge, depth=depth) for kind in (PixelSearch, SearchAdviser))
        assert quoted(mine.moves(asked)) == quoted(theirs.moves(asked))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("1 2 0", "no pixel with ink"),
        ("1 8 3", "no pixel"),
        ("1 2 17", "no pixel"),
        ("1 -2 3", "no pixel"),
        ("1 2", "no pixel"),
    ],
)
def test_pieces_that_are_no_pixels_are_refused(judge, cases, text, why):
    adviser = PixelSearch(judge=judge, knower=judge)
    case = dataclasses.replace(cases[0], pieces=(*cases[0].pieces[1:], Piece((text,))))
    with pytest.raises(ValueError, match=why):
        adviser.moves([position(case, 0)])
    twice = dataclasses.replace(cases[0], pieces=cases[0].pieces + cases[0].pieces[:1])
    with pytest.raises(ValueError, match="two pieces are one pixel"):
        adviser.moves([position(twice, 0)])
