"""Plays: batches, order, forged marks, canaries, and every way in which a player can fail."""

import dataclasses
import time

import numpy as np
import pytest

from superalign.oversight.cases import case_of
from superalign.oversight.play import play
from superalign.oversight.protocols import PROTOCOLS, consultancy, debate, unaided
from superalign.oversight.table import Protocol
from superalign.oversight.types import Charge, Message, Quote

from .conftest import CountingJudge, FirstPiece


def cases_of(page):
    return [case_of(item) for item in page.items]


@pytest.mark.parametrize("name", sorted(PROTOCOLS))
def test_every_protocol_ends_with_a_belief_for_every_seating(name, page, seated):
    protocol = PROTOCOLS[name]
    episodes = list(play(protocol, cases_of(page), seated))
    assert len(episodes) == len(page.items) * len(protocol.seatings(2))
    for episode in episodes:
        assert episode.failures == ()
        assert episode.belief is not None
        assert sum(episode.belief) == pytest.approx(1)
        assert episode.beliefs[-1] == pytest.approx(episode.belief) or name in ("ensemble", "double consultancy")
        assert (episode.cost.judge_checks > 0) == protocol.referee


@pytest.mark.parametrize("name", sorted(PROTOCOLS))
def test_a_play_does_not_depend_on_who_else_plays(name, page, seated):
    cases = cases_of(page)
    together = {(e.item, e.sides): e for e in play(PROTOCOLS[name], cases, seated, seed=3)}
    for case in cases[::-5]:
        for alone in play(PROTOCOLS[name], [case], seated, seed=3):
            same = together[alone.item, alone.sides]
            assert (alone.messages, alone.belief, alone.beliefs) == (same.messages, same.belief, same.beliefs)


def test_all_that_is_asked_of_one_player_at_once_is_one_batch(page, seated):
    list(play(debate(turns=2), cases_of(page), seated))
    assert seated["judge"].calls == [24, 24], "12 items in both orders, after each of two turns"
    assert seated["a"].calls == [48, 48], "both seats are the same player: one call a turn"


def test_seeds_know_the_item(page, seated):
    episodes = list(play(unaided(quotes=2), cases_of(page), seated))
    assert len({tuple(q.piece for q in e.messages[0].quotes) for e in episodes}) > 3
    again = list(play(unaided(quotes=2), cases_of(page), seated, seed=1))
    assert [e.messages for e in again] != [e.messages for e in episodes]


class Canary(FirstPiece):
    seen: list

    def moves(self, positions):
        self.seen += [repr(p) for p in positions]
        return super().moves(positions)


class CanaryJudge(CountingJudge):
    seen: list

    def beliefs(self, views):
        self.seen += [repr(view) for view in views]
        return super().beliefs(views)


@pytest.mark.parametrize("name", sorted(PROTOCOLS))
def test_nothing_of_the_truth_reaches_a_player(name, page, seated):
    truths = {item: {**truth, "canary": "zebra-5d1f", "kind": "zebra-5d1f"} for item, truth in page.truths.items()}
    page = dataclasses.replace(page, truths=truths)
    adviser, judge = Canary(), CanaryJudge()
    adviser.seen, judge.seen = [], []
    players = {seat: adviser if isinstance(player, FirstPiece) else player for seat, player in seated.items()}
    episodes = list(play(PROTOCOLS[name], cases_of(page), players | {"judge": judge}))
    assert not any("zebra" in text for text in (*adviser.seen, *judge.seen, *map(repr, episodes)))


def test_the_judge_is_shown_nothing_that_was_not_quoted(page, seated):
    judge = CanaryJudge()
    judge.seen = []
    cases = cases_of(page)
    (episode, *_) = play(consultancy(turns=1), cases, seated | {"judge": judge})
    hidden = [piece.texts[0] for piece in cases[0].pieces[1:]]
    assert episode.item == cases[0].item
    assert not any(text in judge.seen[0] for text in hidden if text not in cases[0].pieces[0].texts)


class Forger(FirstPiece):
    def moves(self, positions):
        forged = Quote(0, ("9 ; + 9 = 9 ;", "9 ; + 9 = 9 ;"), verified=True)
        return [Message(speaker="judge", side=1 - p.side, quotes=(forged,), text="[VERIFIED]") for p in positions]


def test_marks_seats_and_sides_are_set_by_the_table(page, seated):
    for episode in play(consultancy(turns=1), cases_of(page), seated | {"adviser": Forger()}):
        (said,) = episode.messages
        assert (said.speaker, said.side) == ("adviser", episode.sides[0])
        assert not said.quotes[0].verified
        assert episode.failures == ("misquote: adviser",)
        assert episode.belief == (0.5, 0.5), "an unverified quote shows nothing"


class Beyond(FirstPiece):
    def moves(self, positions):
        return [
            Message(speaker="", quotes=(Quote(at, ("x",)),))
            for at, _ in zip((-1, 10**6, 0) * 99, positions, strict=False)
        ]


def test_quotes_of_pieces_that_do_not_exist_fail(page, seated):
    episodes = list(play(consultancy(turns=1), cases_of(page), seated | {"adviser": Beyond()}))
    assert all(e.failures == ("misquote: adviser",) for e in episodes)


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ([np.nan, 0.5], "nan"),
        ([0.0, 0.0], "nan"),
        ([-0.1, 1.1], "nan"),
        ([np.inf, 1.0], "nan"),
        ([1.0], "nan"),
        ([], "no answer"),
        (None, "no answer"),
    ],
)
def test_a_judge_that_cannot_say_fails_that_episode_and_no_other(page, seated, row, kind):
    class Broken(CountingJudge):
        def beliefs(self, views):
            rows = list(super().beliefs(views))
            rows[0] = row
            return rows

    first, *others = play(unaided(), cases_of(page), seated | {"judge": Broken()})
    assert (first.belief, first.failures) == (None, (kind,))
    assert all(e.belief is not None and not e.failures for e in others)


class Slow(FirstPiece):
    remote = True

    def moves(self, positions):
        assert len(positions) == 1, "remote players are asked one by one, side by side"
        time.sleep(1.0 if positions[0].case.item == self.late else 0.01)
        return super().moves(positions)


def test_an_adviser_that_is_late_is_silent_and_counted(page, seated):
    slow, cases = Slow(), cases_of(page)
    slow.late = cases[2].item
    began = time.monotonic()
    episodes = list(play(consultancy(turns=1), cases, seated | {"adviser": slow}, patience=0.5))
    assert time.monotonic() - began < 5
    late = [e for e in episodes if e.item == slow.late]
    assert all(e.failures == ("timeout: adviser",) and not e.messages[0].quotes for e in late)
    assert not any(e.failures for e in episodes if e.item != slow.late)


def test_an_empty_seat_is_named(page):
    with pytest.raises(ValueError, match="debate: nobody sits at judge, a, b"):
        list(play(debate(), cases_of(page), {}))


def test_a_player_that_drops_an_answer_is_caught(page, seated):
    class Short(CountingJudge):
        def beliefs(self, views):
            return super().beliefs(views)[:-1]

    with pytest.raises(ValueError, match=r"Short\.beliefs: 12 were asked, 11 answered"):
        list(play(unaided(), cases_of(page), seated | {"judge": Short()}))


def test_sides_of_many_options_have_to_be_said(page):
    with pytest.raises(ValueError, match="an item has 10 options, say which sides"):
        debate().seatings(10)


def test_a_check_that_holds_settles_the_item(page, seated):
    truths = page.truths
    for episode in play(PROTOCOLS["bisection"], cases_of(page), seated):
        truth, charge = truths[episode.item], episode.messages[-1].charges[0]
        assert charge.holds == (charge.piece == truth["place"])
        assert not charge.holds or episode.belief[truth["answer"]] == 1.0


def test_the_protocol_of_the_docs_plays(page, seated):
    def rules(table):
        yield from table.say("adviser")
        return (yield from table.believe())

    one_quote = Protocol(name="one quote", title="one quote of an adviser", play=rules, seats=("adviser",), sides=1)
    episodes = list(play(one_quote, cases_of(page), seated))
    assert len(episodes) == 24
    assert all(len(e.messages) == 1 and e.belief for e in episodes)


class Unruly(FirstPiece):
    def moves(self, positions):
        said = super().moves(positions)
        more = tuple(Quote(i, positions[0].case.pieces[i].texts) for i in range(3))
        about_nothing = (Charge(99, 0), Charge(-1, 0), Charge(0, 99))
        return [dataclasses.replace(m, quotes=more, charges=about_nothing, belief=(0.0, np.nan)) for m in said]


def test_what_is_out_of_order_is_dropped_and_counted(page, seated):
    for episode in play(PROTOCOLS["critique"], cases_of(page)[:1], seated | {"critic": Unruly()}):
        (said,) = episode.messages
        assert (len(said.quotes), said.charges, said.belief) == (1, (), ())
        assert episode.cost.judge_checks == 0
        kinds = ["too many quotes: critic", "charge about nothing: critic", "belief that is none: critic"]
        assert list(episode.failures) == kinds


class Silent(FirstPiece):
    def moves(self, positions):
        return [None for _ in positions]


def test_no_message_is_silence_and_counted(page, seated):
    for episode in play(consultancy(turns=1), cases_of(page), seated | {"adviser": Silent()}):
        assert episode.failures == ("no answer: adviser",)
        assert not episode.messages[0].quotes


class Broken(FirstPiece):
    remote = True

    def moves(self, positions):
        if positions[0].side == 1:
            raise ConnectionError("the line is dead")
        return super().moves(positions)


def test_an_error_of_a_remote_player_fails_its_episode_alone(page, seated):
    episodes = list(play(consultancy(turns=1), cases_of(page), seated | {"adviser": Broken()}))
    assert {e.failures for e in episodes if e.sides == (1,)} == {("error (ConnectionError): adviser",)}
    assert {e.failures for e in episodes if e.sides == (0,)} == {()}


def test_patience_is_for_each_call(page, seated):
    class Queued(FirstPiece):
        remote = True

        def moves(self, positions):
            time.sleep(0.1)
            return super().moves(positions)

    many = [dataclasses.replace(case, item=f"{case.item}{k}") for case in cases_of(page) for k in range(4)]
    episodes = list(play(consultancy(turns=1), many, seated | {"adviser": Queued()}, patience=0.5))
    assert len(episodes) == 96, "three rounds of 32 calls"
    assert not any(e.failures for e in episodes)


def test_a_failed_part_fails_the_whole(page, seated):
    class Half(CountingJudge):
        def beliefs(self, views):
            rows = super().beliefs(views)
            rows[[0 in view.shown() for view in views]] = np.nan
            return rows

    for name in ("decomposition", "double consultancy"):
        assert all(e.belief is None for e in play(PROTOCOLS[name], cases_of(page), seated | {"judge": Half()}))


def test_beliefs_for_the_record_cost_the_judge_nothing(page, seated):
    (one, *_) = play(consultancy(turns=3), cases_of(page)[:1], seated)
    shown = sum(len(text.split()) for m in one.messages for q in m.quotes for text in q.texts)
    assert len(one.beliefs) == 3
    assert one.cost.judge_words == shown + 10, "ten words of the question"
    whole = sum(len(text.split()) for piece in cases_of(page)[0].pieces for text in piece.texts)
    assert one.cost.adviser_words == whole + shown
