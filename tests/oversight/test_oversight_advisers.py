"""Advisers: search finds what serves its side best, evidence goes by its own reading, training changes players."""

import dataclasses

import numpy as np
import pytest

from superalign.oversight.advisers import EvidenceAdviser, SearchAdviser, against
from superalign.oversight.cases import case_of
from superalign.oversight.play import play
from superalign.oversight.protocols import PROTOCOLS, consultancy, debate
from superalign.oversight.table import Lesson
from superalign.oversight.types import Position, View
from superalign.tasks import slips, traces

from .conftest import CountingJudge, FirstPiece


@pytest.fixture
def cases(page):
    return [case_of(item) for item in page.items]


def search(**dials):
    return SearchAdviser(judge=CountingJudge(), knower=FirstPiece(), **dials)


def position(case, side, **more):
    view = View(task=case.task, question=case.question, options=case.options)
    return Position(case=case, seat="a", side=side, view=view, replied=more.get("turns_left", 0) > 0, **more)


def test_greedy_search_quotes_the_best_piece_for_its_side(cases):
    ours, theirs, own = search().moves([position(cases[0], 0), position(cases[0], 1), position(cases[0], None)])
    assert (ours.quotes[0].piece, theirs.quotes[0].piece) == (4, 5), "pieces count +1 −2 +3 −4 +5 −6 for option 0"
    assert own.quotes == ours.quotes, "it believes in option 0 itself"


def test_two_plies_see_the_reply(cases):
    case = dataclasses.replace(cases[0], pieces=cases[0].pieces[:3])
    worth = {piece: piece for piece in range(3)}

    class Trap(CountingJudge):
        """Piece 2 looks best for option 0, but with piece 0 beside it everything is lost."""

        def beliefs(self, views):
            shown = [set(view.shown()) for view in views]
            first = np.array([0.05 if {0, 2} <= s else 0.5 + 0.1 * sum(worth[p] for p in s) for s in shown])
            return np.stack([first, 1 - first], axis=1)

    greedy = SearchAdviser(judge=Trap(), knower=FirstPiece())
    deep = SearchAdviser(judge=Trap(), knower=FirstPiece(), depth=2)
    assert greedy.moves([position(case, 0, turns_left=1)])[0].quotes[0].piece == 2
    assert deep.moves([position(case, 0, turns_left=1)])[0].quotes[0].piece == 1
    assert deep.moves([position(case, 0)])[0].quotes[0].piece == 2, "nobody replies to the last word"


def test_best_of_n_looks_at_n_pieces_and_no_more(cases):
    judge = CountingJudge()
    SearchAdviser(judge=judge, knower=FirstPiece(), width=2).moves([position(case, 0) for case in cases])
    assert judge.calls == [2 * len(cases)]


@pytest.mark.parametrize(
    ("dials", "left", "asks"),
    [
        ({}, 0, 6),
        ({"width": 2}, 0, 2),
        ({"depth": 2}, 0, 6),
        ({"depth": 2}, 1, 6 + 6 * 5),
        ({"depth": 2, "width": 3}, 1, 3 + 3 * 2),
        ({"goal": "move"}, 0, 6 + 1),
    ],
)
def test_what_each_move_asked_of_the_judge_is_counted(cases, dials, left, asks):
    judge = CountingJudge()
    adviser = SearchAdviser(judge=judge, knower=FirstPiece(), **dials)
    adviser.moves([position(case, 0, turns_left=left) for case in cases[:3]])
    assert adviser.asked == [asks] * 3
    assert sum(judge.calls) == 3 * asks


def test_a_count_is_no_part_of_what_an_adviser_is_and_starts_anew_against_another_judge(cases):
    judge = CountingJudge()
    first, same = (SearchAdviser(judge=judge, knower=FirstPiece(), width=2) for _ in range(2))
    first.moves([position(cases[0], 0)])
    assert first == dataclasses.replace(same, knower=first.knower)
    again = against(CountingJudge(), first, depth=2)
    assert (again.width, again.depth, again.asked, first.asked) == (2, 2, [], [2])
    again.moves([position(cases[0], 0)])
    assert first.asked == [2]


def test_who_does_not_search_becomes_a_knower_and_who_knows_how_aims_itself(cases):
    class Aimed(FirstPiece):
        def against(self, judge, **dials):
            return judge, dials

    judge, plain = CountingJudge(), FirstPiece()
    assert against(judge, plain, width=1) == SearchAdviser(judge=judge, knower=plain, width=1)
    assert against(judge, Aimed(), width=1) == (judge, {"width": 1})


def test_ties_are_broken_by_the_draw_and_a_judge_that_cannot_say_is_never_best(cases):
    class Blank(CountingJudge):
        def beliefs(self, views):
            rows = np.full((len(views), 2), 0.5)
            rows[[1 in view.shown() for view in views]] = np.nan
            return rows

    chosen = [
        SearchAdviser(judge=Blank(), knower=FirstPiece()).moves([position(cases[0], 0, draw=d)])[0].quotes[0].piece
        for d in range(40)
    ]
    assert set(chosen) == {0, 2, 3, 4, 5}


def test_who_has_shown_everything_is_silent(cases, seated):
    players = seated | {"adviser": search()}
    for episode in play(consultancy(turns=8), cases, players):
        assert [len(m.quotes) for m in episode.messages] == [1] * 6 + [0] * 2
        assert not episode.failures


def test_a_mover_moves_the_price_most(cases):
    (said,) = search(goal="move").moves([position(cases[0], None)])
    assert said.quotes[0].piece == 5, "−6 moves more than +5"


def test_searching_debaters_beat_random_reading(cases, seated):
    players = seated | dict.fromkeys("ab", search())
    for episode in play(debate(turns=1), cases, players):
        assert sorted(q.piece for m in episode.messages for q in m.quotes) == [4, 5]


class WordModel:
    """A word `==` is likely, a word `=` is not."""

    def word_logprobs(self, texts):
        return [np.array([-9.0 if word == "=" else -1.0 for word in ("<bos> " + text).split()][1:]) for text in texts]


def test_evidence_is_quoted_and_charged_where_it_weighs_most():
    item = slips(split="dev", view="pair", n=1).items[0]
    words = ["x"] * 24
    other = [*words[:13], "=", *words[14:]]
    item = dataclasses.replace(item, input={"a": " ".join(other), "b": " ".join(words)})
    case, adviser = case_of(item), EvidenceAdviser(model=WordModel(), charges=2)
    assert adviser.knows([case])[0].argmax() == 1
    (said,) = adviser.moves([position(case, None)])
    assert (said.side, said.quotes[0].piece, said.charges[0][:2]) == (1, 2, (0, 2))
    assert said.belief[1] > 0.9
    (bound,) = adviser.moves([position(case, 0)])
    assert (bound.side, bound.belief) == (0, ()), "who argues for an assigned side does not say what it believes"


def test_sharpness_is_fitted_and_not_negative():
    page = traces(split="train", view="pair", n=40, steps=4)
    cases = [case_of(item) for item in page.items]
    adviser = EvidenceAdviser(model=WordModel()).fitted(cases, [page.truths[i.id]["answer"] for i in page.items])
    assert 0 <= adviser.sharpness <= 1_000


@pytest.mark.parametrize("name", ["market making", "prover-verifier"])
def test_training_is_seeded_and_changes_the_players(name, seated):
    page = traces(split="train", view="pair", n=24, steps=5)
    cases, answers = [case_of(i) for i in page.items], [page.truths[i.id]["answer"] for i in page.items]
    lesson = Lesson(cases=cases, answers=answers, players=seated, seed=1)
    first, again = (PROTOCOLS[name].train(lesson) for _ in range(2))
    assert first["judge"].weights == again["judge"].weights
    assert any(first["judge"].weights)
    assert first["judge"] is not seated["judge"]


def test_a_verifier_learns_not_to_believe_a_sneaky_prover(seated):
    """Here arguments say nothing about the truth, so what is right is not to be moved by them."""
    page = traces(split="train", view="pair", n=120, steps=6)
    cases, answers = [case_of(i) for i in page.items], [page.truths[i.id]["answer"] for i in page.items]
    protocol = PROTOCOLS["prover-verifier"]
    before = _moved(play(consultancy(), cases, seated | {"adviser": search()}))
    players = protocol.train(Lesson(cases=cases, answers=answers, players=seated | {"adviser": search()}))
    assert _moved(play(protocol, cases, players)) < 0.3 * before


def _moved(episodes):
    return np.mean([abs(episode.belief[0] - 0.5) for episode in episodes])
