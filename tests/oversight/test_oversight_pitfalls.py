"""Pitfalls that others fell into, each a test; the first line of a test quotes the pitfall.

Players here are the shipped ones over a language model that follows a formula, overheard in whatever they are asked.
"""

import dataclasses
import sys
import time
import zlib
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from superalign.oversight.advisers import EvidenceAdviser, SearchAdviser, against
from superalign.oversight.cases import case_of
from superalign.oversight.judges import LikelihoodJudge, PictureJudge, adapted, train_pixel_judge, train_reader
from superalign.oversight.judges.adapted import features
from superalign.oversight.play import play
from superalign.oversight.protocols import PROTOCOLS, consultancy, debate, deference, protocols, unaided
from superalign.oversight.referee import PieceReferee
from superalign.oversight.rows import episode_rows
from superalign.oversight.scores import correct, scores
from superalign.oversight.table import Lesson
from superalign.oversight.types import Charge, Message, Position, Quote, View
from superalign.tasks import pixels, rules, slips, traces

from .conftest import CountingJudge, FirstPiece

CANARY = "zebra-7c1e"
NAMES = ("okapi-judge", "okapi-adviser")
SEARCHERS = ("adviser", "a", "b", "adversary")
UNREFEREED = sorted(name for name, protocol in PROTOCOLS.items() if not protocol.referee)


class Marked(int):
    """A number that sings when it is written down."""

    def __repr__(self):
        return CANARY

    __str__ = __repr__

    def __format__(self, spec):
        return CANARY


def marked(value):
    """The same truth, every field of which sings."""
    if isinstance(value, dict):
        return {name: marked(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [marked(part) for part in value]
    return Marked(value) if isinstance(value, int) else value if value is None else CANARY


class WordModel:
    """Log-probabilities by a formula; keeps the texts it was given."""

    def __init__(self, name, read):
        self.name, self.read = name, read

    def word_logprobs(self, texts):
        self.read += texts
        return [np.array([-1.0 - zlib.crc32(word.encode()) % 7 for word in text.split()]) for text in texts]


class Overheard:
    """A player, and all that it was asked."""

    def __init__(self, player, heard):
        self.player, self.heard = player, heard

    def __getattr__(self, what):
        own = getattr(self.player, what)

        def asked(abouts):
            self.heard.extend(abouts)
            return own(abouts)

        return asked if what in ("beliefs", "knows", "moves", "evidence") else own


def text_players(lesson, answers, heard, read):
    """Judge and advisers as they ship, fitted on the lesson."""
    weak = LikelihoodJudge(model=WordModel(NAMES[0], read), name=NAMES[0]).fitted(lesson, answers, quotes=2)
    knower = EvidenceAdviser(model=WordModel(NAMES[1], read), charges=3).fitted(lesson, answers)
    critic = Overheard(knower, heard)
    return Overheard(dataclasses.replace(weak, weights=(0.3, 0.0)), heard), critic


@pytest.fixture(scope="module")
def readers():
    """The judges that are nets, hardly trained: what they are asked is looked at, not what they say."""
    picture = PictureJudge(net=train_pixel_judge(pixels=4, seed=0, steps=20), name=NAMES[0])
    reader = train_reader(size="xs", quotes=2, seed=0, steps=2)
    return {"pixels": (picture, picture), "rules": (reader, reader)}


PAGES = {
    "traces": lambda split: traces(split=split, view="pair", n=6, steps=5),
    "slips": lambda split: slips(split=split, view="pair", n=4),
    "pixels": lambda split: pixels(split=split, view="pair", n=2),
    "rules": lambda split: rules(split=split, n=2, facts=20),
}
PLAYED = [("traces", name) for name in sorted(PROTOCOLS)] + [
    (task, name)
    for task in ("slips", "pixels", "rules")
    for name in ("debate", "critique of 3", "prover-verifier")
    if task == "slips" or not PROTOCOLS[name].referee
]


def played(task, name, readers, *, flipped=False):
    """Episodes of the dev page, all that was asked and read for them, and the truths as the referee has them."""
    heard, read = [], []
    lesson, page = PAGES[task]("train"), PAGES[task]("dev")
    learn, cases = ([case_of(item) for item in p.items] for p in (lesson, page))
    answers = [Marked(lesson.truths[item.id]["answer"]) for item in lesson.items]
    truths = {item: {**truth, "answer": truth["answer"] ^ flipped} for item, truth in page.truths.items()}
    truths = {item: {**marked(truth), "witness": CANARY} for item, truth in truths.items()}
    if task in readers:
        judge, critic = (Overheard(player, heard) for player in readers[task])
    else:
        judge, critic = text_players(learn, answers, heard, read)
    search = Overheard(SearchAdviser(judge=judge, knower=critic, width=2), heard)
    players = {"judge": judge, "referee": PieceReferee(truths=truths), "critic": critic, "second critic": critic}
    players |= dict.fromkeys(SEARCHERS, search)
    protocol = PROTOCOLS[name]
    players = dict.fromkeys(protocol.seats, search) | players
    if protocol.train is not None:
        own = players | {"referee": PieceReferee(truths={k: marked(v) for k, v in lesson.truths.items()})}
        players |= {**protocol.train(Lesson(cases=learn, answers=answers, players=own)), "referee": players["referee"]}
    episodes = list(play(protocol, cases, players))
    if protocol.train is None and protocol.sides and not protocol.referee:
        wiser = adapted(judge, name, episodes, [Marked(0)] * len(episodes))
        players |= {"judge": wiser, **dict.fromkeys(SEARCHERS, Overheard(against(wiser, search.player), heard))}
        episodes += play(protocol, cases, players)
    return SimpleNamespace(episodes=episodes, heard=heard, read=read, truths=truths, cases=cases)


@pytest.mark.parametrize(("task", "name"), PLAYED)
def test_a_canary_in_every_field_of_the_truth_sings_to_nobody(task, name, readers):
    """A protocol that leaks the truth to a player: a canary in the truth field must never appear in any message."""
    found = played(task, name, readers)
    assert CANARY in repr(found.truths)
    assert found.heard
    assert found.read or task in readers
    said = [*map(repr, found.heard), *found.read, *map(repr, found.episodes)]
    assert not any(CANARY in text for text in said)


@pytest.mark.parametrize(("task", "name"), PLAYED)
def test_other_truths_change_nothing_that_players_do(task, name, readers):
    """A protocol that leaks the truth to a player: with other truths all but checks is the same."""
    plays = [played(task, name, readers, flipped=flipped).episodes for flipped in (False, True)]
    for one, other in zip(*plays, strict=True):
        if PROTOCOLS[name].referee:
            ends = [
                next(i for i, m in enumerate((*e.messages, None)) if m is None or m.speaker == "referee")
                for e in (one, other)
            ]
            assert ends[0] == ends[1]
            assert one.messages[: ends[0]] == other.messages[: ends[0]]
            assert one.beliefs[0] == other.beliefs[0]
        else:
            assert (one.messages, one.beliefs, one.belief) == (other.messages, other.beliefs, other.belief)


def test_a_referee_that_says_more_than_yes_is_heard_saying_yes(page, seated):
    """A protocol that leaks the truth to a player: the one who holds truths can pass on one bit a check, paid for."""

    class Talkative:
        def holds(self, case, charge):
            return CANARY

    for name in sorted(set(PROTOCOLS) - set(UNREFEREED)):
        for episode in play(PROTOCOLS[name], [case_of(i) for i in page.items[:2]], seated | {"referee": Talkative()}):
            assert CANARY not in repr(episode)
            assert [c.holds for m in episode.messages if m.speaker == "referee" for c in m.charges] == [True]


@pytest.mark.parametrize("name", sorted(PROTOCOLS))
def test_no_name_of_a_model_and_no_item_tells_the_judge_who_speaks(name, readers):
    """Arm labels leaking via metadata or model names: a speaker is a seat, and a judge sees neither id nor cluster."""
    found = played("traces", name, readers)
    seats = {*PROTOCOLS[name].seats, "table", "referee"}
    assert not any(model in repr(about) for about in found.heard for model in (*NAMES, "Adviser", "Judge", "WordModel"))
    assert {m.speaker for e in found.episodes for m in e.messages} <= seats
    views = [about for about in found.heard if isinstance(about, View)]
    hidden = {part for case in found.cases for part in (case.item, case.cluster)}
    assert views or name == "deference"
    assert not any(part in repr(view) for view in views for part in hidden)


@pytest.mark.parametrize("name", sorted(name for name, protocol in PROTOCOLS.items() if protocol.sides))
def test_every_seat_argues_for_either_side_of_every_item(name, page, seated):
    """Arm labels leaking via metadata: neither seat nor turn goes with a side, or with the truth."""
    episodes = list(play(PROTOCOLS[name], [case_of(item) for item in page.items], seated))
    for place in range(PROTOCOLS[name].sides):
        argued = Counter((e.item, e.sides[place]) for e in episodes)
        assert set(argued.values()) == {1}
        assert len(argued) == 2 * len(page.items)


@pytest.mark.parametrize(
    ("name", "behind"),
    [
        ("debate", (0, 0)),
        ("debate without rebuttal", (0, 0)),
        ("debate with a check", (0, 0)),
        ("sequential debate", (0, 1)),
    ],
)
def test_who_speaks_at_once_hears_nothing_of_the_other(name, behind, page, seated):
    """Game solver without information sets: an adviser moves by what was on the table when the turn began."""
    heard = []
    players = seated | dict.fromkeys("ab", Overheard(FirstPiece(), heard))
    list(play(PROTOCOLS[name], [case_of(page.items[0])], players))
    for seat, late in zip("ab", behind, strict=True):
        mine = [p for p in heard if p.seat == seat and p.side == 0]
        turns = [len(p.view.messages) for p in mine]
        assert turns == [2 * turn + late for turn in range(len(mine))]


def test_consultants_heard_apart_never_hear_each_other(page, seated):
    """Game solver without information sets: in a double consultancy each knows its own words only."""
    heard = []
    players = seated | dict.fromkeys("ab", Overheard(FirstPiece(), heard))
    list(play(PROTOCOLS["double consultancy"], [case_of(item) for item in page.items], players))
    assert any(p.view.messages for p in heard)
    assert all({m.speaker for m in p.view.messages} <= {p.seat} for p in heard)


class Guesses:
    """A judge that reads nothing."""

    def __init__(self, first):
        self.row = np.array([first, 1 - first])

    def beliefs(self, views):
        return np.tile(self.row, (len(views), 1))


@pytest.mark.parametrize("first", [0.5, 0.8])
@pytest.mark.parametrize("name", sorted(PROTOCOLS))
def test_a_judge_that_reads_nothing_is_right_by_checks_alone(name, first, seated):
    """Game solver without information sets (a blind guesser scores 1.0)."""
    page = traces(split="dev", view="pair", n=9, steps=6)
    truths = {item.id: page.truths[item.id]["answer"] for item in page.items}
    adviser = FirstPiece(belief=(first, 1 - first))
    players = {**dict.fromkeys(seated, adviser), "judge": Guesses(first), "referee": PieceReferee(truths=page.truths)}
    episodes = list(play(PROTOCOLS[name], [case_of(item) for item in page.items], players))
    rows = rows_of(episodes, truths)
    guess = {0.5: (0.5, 0.5), 0.8: (1.0, 0.0)}[first]
    told = [any(c.holds for m in e.messages for c in m.charges) for e in episodes]
    assert sum(truths.values()) == 4
    assert any(told) == PROTOCOLS[name].referee
    assert correct(rows).tolist() == [1.0 if t else guess[truths[e.item]] for e, t in zip(episodes, told, strict=True)]


def rows_of(episodes, truths):
    """Episodes as rows, as the board has them."""
    return episode_rows(
        item=[e.item for e in episodes],
        cluster=[e.cluster for e in episodes],
        belief=[np.nan if e.belief is None else e.belief[truths[e.item]] for e in episodes],
        failure=["" if e.belief is not None else e.failures[0] for e in episodes],
    )


@pytest.fixture
def code():
    """A case of code in which a piece shows both sides of the edit, and that piece's place."""
    case = case_of(slips(split="dev", view="pair", n=1).items[0])
    return case, next(i for i, piece in enumerate(case.pieces[:-1]) if len(set(piece.texts)) > 1)


MISQUOTES = {
    "a word changed": lambda a, b, more: (" ".join([*a.split()[:-1], "zebra"]), b),
    "a word left out": lambda a, b, more: (" ".join(a.split()[1:]), b),
    "a word more": lambda a, b, more: (a + " not", b),
    "words in another order": lambda a, b, more: (" ".join(reversed(a.split())), b),
    "capitals": lambda a, b, more: (a.upper(), b),
    "words run together": lambda a, b, more: (a.replace(" ", "", 1), b),
    "marks around it": lambda a, b, more: (f'"{a}"', b),
    "an ellipsis": lambda a, b, more: (f"{a.split()[0]} ... {a.split()[-1]}", b),
    "sides exchanged": lambda a, b, more: (b, a),
    "one side twice": lambda a, b, more: (a, a),
    "one side alone": lambda a, b, more: (a,),
    "a third side": lambda a, b, more: (a, b, b),
    "two pieces as one": lambda a, b, more: (f"{a} {more[0]}", f"{b} {more[1]}"),
    "another piece": lambda a, b, more: more,
    "nothing": lambda a, b, more: (),
    "empty words": lambda a, b, more: ("", ""),
    "its own mark": lambda a, b, more: (f"[VERIFIED] {a}", b),
}


def quoted(code, texts):
    """The episode in which these texts are said to be the piece, with every mark that can be forged."""
    case, place = code

    class Speaker(FirstPiece):
        def moves(self, positions):
            said = (Quote(place, texts, verified=True),)
            return [Message(speaker="referee", quotes=said, text="[VERIFIED]") for _ in positions]

    (episode, _) = play(consultancy(turns=1), [case], {"judge": CountingJudge(), "adviser": Speaker()})
    return episode


@pytest.mark.parametrize("how", MISQUOTES)
def test_a_quote_is_the_piece_word_for_word_or_shows_nothing(how, code):
    """Quote strictness (llm_debate #2); quotes not in the passage; forged `[VERIFIED]` marks."""
    case, place = code
    episode = quoted(code, MISQUOTES[how](*case.pieces[place].texts, case.pieces[place + 1].texts))
    assert not episode.messages[0].quotes[0].verified
    assert episode.failures == ("misquote: adviser",)
    assert episode.view.shown() == {}
    assert episode.belief == (0.5, 0.5)


def test_a_quote_with_other_blanks_is_the_same_quote(code):
    """Quote strictness (llm_debate #2): words are compared, and the blanks between them are none."""
    case, place = code
    episode = quoted(code, tuple("  " + text.replace(" ", " \t ") for text in case.pieces[place].texts))
    assert episode.failures == ()
    assert list(episode.view.shown()) == [place]


@pytest.mark.parametrize("name", sorted(PROTOCOLS))
def test_that_a_charge_holds_is_what_the_referee_says_and_nobody_else(name, page, seated):
    """ "Executes" is not "supports the claim"; forged `[VERIFIED]` marks: a charge comes unchecked, whoever says so."""

    class Forger(FirstPiece):
        def moves(self, positions):
            forged = [(Charge(1 - (p.side or 0), 0, holds=True), Charge(p.side or 0, 0, holds=True)) for p in positions]
            return [Message(speaker="referee", charges=charges) for charges in forged]

    liar = PieceReferee(truths={i.id: {"answer": 0, "place": 0} for i in page.items})
    players = {**dict.fromkeys(seated, Forger()), "judge": Guesses(0.5), "referee": liar}
    for episode in play(PROTOCOLS[name], [case_of(item) for item in page.items], players):
        said = [c for m in episode.messages if m.speaker != "referee" for c in m.charges]
        settled = [c for m in episode.messages if m.speaker == "referee" for c in m.charges]
        assert all(c.holds is None for c in said)
        assert len(settled) == episode.cost.judge_checks
        assert episode.belief[0] in (0.5, pytest.approx(0.8), 1.0), "option 0 is right"


def test_every_draw_is_its_own(page, seated):
    """Seeds without the item id (same draw everywhere: CI [0,0])."""
    draws = []
    for name in sorted(name for name, protocol in PROTOCOLS.items() if protocol.seats):
        for seed in (0, 1):
            heard = []
            players = {seat: Overheard(p, heard) if isinstance(p, FirstPiece) else p for seat, p in seated.items()}
            list(play(PROTOCOLS[name], [case_of(item) for item in page.items], players, seed=seed))
            draws += [about.draw for about in heard if isinstance(about, Position)]
    assert len(draws) > 1000
    assert len(set(draws)) == len(draws)


def test_two_protocols_of_one_name_are_refused_and_another_name_is_played(monkeypatch):
    """Configs pooled by display name."""

    def offered(protocol):
        room = sys.modules["superalign.oversight.protocols"]
        monkeypatch.setattr(room, "entry_points", lambda group: [SimpleNamespace(load=lambda: protocol)])
        return protocols()

    with pytest.raises(ValueError, match="there is a protocol 'debate' already: name the other one otherwise"):
        offered(debate(turns=7))
    other = dataclasses.replace(debate(turns=7), name="long debate")
    assert offered(other)["long debate"] is other


@pytest.mark.parametrize("dials", [{}, {"goal": "move"}, {"width": 6}])
def test_nan_is_never_best_and_what_is_as_good_is_drawn(dials, page):
    """NaN ranked best or "safe"; tie -> accept: the search adviser's choice."""

    class Blank(CountingJudge):
        def beliefs(self, views):
            rows = np.full((len(views), 2), 0.5)
            rows[[bool({1, 4} & set(view.shown())) for view in views]] = np.nan
            return rows

    case, chosen = case_of(page.items[0]), Counter()
    view = View(task=case.task, question=case.question, options=case.options)
    for draw in range(200):
        position = Position(case=case, seat="a", side=draw % 2, view=view, draw=draw)
        (said,) = SearchAdviser(judge=Blank(), knower=FirstPiece(), **dials).moves([position])
        chosen[said.quotes[0].piece] += 1
    assert set(chosen) == {0, 2, 3, 5}
    assert min(chosen.values()) > 25


def test_a_belief_of_nought_is_a_belief(page, seated):
    """Zero reward read as missing."""
    cases, truths = [case_of(item) for item in page.items], {i.id: page.truths[i.id]["answer"] for i in page.items}
    for name in UNREFEREED:
        players = {**dict.fromkeys(seated, FirstPiece(belief=(0.0, 1.0))), "judge": Guesses(0.0)}
        episodes = list(play(PROTOCOLS[name], cases, players))
        assert {e.failures for e in episodes} == {()}
        assert np.array([e.belief for e in episodes]) == pytest.approx(np.array([[0.0, 1.0]] * len(episodes)), abs=1e-6)
        rows = rows_of(episodes, truths)
        assert rows.failures == {}
        assert scores(rows, "brier").tolist() == pytest.approx([2.0 * truths[e.item] - 2.0 for e in episodes], abs=1e-5)


class Outage:
    """A judge that answers NaN about some views."""

    def __init__(self, share):
        self.share = share

    def beliefs(self, views):
        rows = np.tile([1.0, 0.0], (len(views), 1))
        rows[[zlib.crc32(repr(v).encode()) % 100 < 100 * self.share for v in views]] = np.nan
        return rows


@pytest.mark.parametrize("share", [0.5, 1.0])
@pytest.mark.parametrize("name", UNREFEREED)
def test_an_outage_of_the_judge_is_counted_and_wins_nothing(name, share, page, seated):
    """Judge outage scored as accuracy; a judge that returns NaN: counted, kept in the denominator, never a win."""
    truths = {item.id: 0 for item in page.items}  # whenever it answers it is right
    players = {**dict.fromkeys(seated, FirstPiece(belief=(1.0, 0.0))), "judge": Outage(share)}
    episodes = list(play(PROTOCOLS[name], [case_of(item) for item in page.items], players))
    rows, silent = rows_of(episodes, truths), np.array([e.belief is None for e in episodes])
    assert len(rows) == len(page.items) * len(PROTOCOLS[name].seatings(2))
    assert silent.any() or name == "deference"
    assert (share < 1) or silent.all() or name == "deference"
    assert correct(rows).tolist() == (~silent).astype(float).tolist()
    assert sum(rows.failures.values()) == silent.sum()


def test_an_adviser_that_is_late_with_its_belief_fails_that_episode_alone(page):
    """An adviser that times out: no lost episode."""
    cases = [case_of(item) for item in page.items]

    class Late(FirstPiece):
        remote = True

        def knows(self, cases):
            time.sleep(0.6 if cases[0].item == page.items[3].id else 0.0)
            return super().knows(cases)

    episodes = list(play(deference(), cases, {"judge": Guesses(0.5), "adviser": Late()}, patience=0.2))
    assert [e.item for e in episodes if e.belief is None] == [page.items[3].id]
    assert "timeout: adviser" in episodes[3].failures
    assert rows_of(episodes, dict.fromkeys(page.truths, 0)).failures == {"timeout: adviser": 1}


def test_a_judge_is_adapted_to_what_is_true_and_not_to_who_argued(page, seated):
    """Reward adapter with the wrong stance: targets are what is true, whichever side the adviser argues for."""
    cases = [case_of(item) for item in page.items]
    episodes = list(play(consultancy(turns=1), cases, seated))
    views, sides = [e.view for e in episodes], np.array([e.sides[0] for e in episodes])
    believer = adapted(CountingJudge(), "consultancy", episodes, sides)  # where the adviser is always right
    sceptic = adapted(CountingJudge(), "consultancy", episodes, 1 - sides)
    assert (believer.beliefs(views)[np.arange(len(sides)), sides] > 0.5).all()
    assert (sceptic.beliefs(views)[np.arange(len(sides)), sides] < 0.5).all()
    none = adapted(CountingJudge(), "consultancy", episodes, [page.truths[e.item]["answer"] for e in episodes])
    argued = features(CountingJudge(), views).shape[1] - 7
    assert abs(none.weights[argued]) < abs(believer.weights[argued]) / 5, "both sides of every item: nothing to learn"


def test_one_judge_alone_is_asked_about_nothing_but_what_was_quoted(page):
    """Blind tells: the same pieces of two cases give the same belief, whatever else stands in either."""
    cases = [case_of(item) for item in page.items]
    judge = LikelihoodJudge(model=WordModel(NAMES[0], []), name=NAMES[0])
    first = list(play(unaided(quotes=2), cases, {"judge": judge}))
    blotted = [
        dataclasses.replace(
            case,
            pieces=tuple(
                p if i in e.view.shown() else p._replace(texts=("0 ;", "0 ;")) for i, p in enumerate(case.pieces)
            ),
        )
        for case, e in zip(cases, first, strict=True)
    ]
    again = list(play(unaided(quotes=2), blotted, {"judge": judge}))
    assert [e.belief for e in first] == [e.belief for e in again]
