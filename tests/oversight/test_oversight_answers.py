"""What players may answer that is no answer: every oddity fails its own episode, is counted once, and loses nothing."""

import dataclasses
import subprocess
import sys
import time

import numpy as np
import pytest
import rfc8785

from superalign.oversight import Message, Quote, case_of, play
from superalign.oversight.judges import Noisy, adapted
from superalign.oversight.protocols import bisection, consultancy, debate, unaided
from superalign.oversight.record import played_again
from superalign.oversight.table import numbers, plain
from superalign.oversight.types import Charge
from superalign.pipeline.board_scores import packed_episode, rows_of
from superalign.tasks import traces

CASES = [case_of(item) for item in traces(split="dev", view="pair", n=4, steps=6).items]


class Half:
    """A calibration fixture: believes nothing."""

    def beliefs(self, views):
        return np.full((len(views), 2), 0.5)


class First:
    """A calibration fixture: quotes the first piece."""

    def knows(self, cases):
        return np.tile(np.array((0.8, 0.2)), (len(cases), 1))

    def moves(self, positions):
        return [Message(speaker="", quotes=(Quote(0, p.case.pieces[0].texts),)) for p in positions]


def test_an_adapted_judge_is_silent_where_its_judge_is():
    class Silent:
        def beliefs(self, views):
            return np.full((len(views), 2), np.nan)

    episodes = list(play(consultancy(turns=1), CASES, {"judge": Half(), "adviser": First()}))
    wise = adapted(Half(), "consultancy", episodes, [e.sides[0] for e in episodes])
    assert np.isnan(dataclasses.replace(wise, judge=Silent()).beliefs([e.view for e in episodes])).all()
    with pytest.raises(ValueError, match="nothing to adapt"):
        adapted(Silent(), "consultancy", episodes, [e.sides[0] for e in episodes])


HUNG = """
import time, numpy as np
from superalign.oversight import case_of, play
from superalign.oversight.protocols import consultancy
from superalign.tasks import traces
class J:
    def beliefs(self, views): return np.full((len(views), 2), .5)
class Hung:
    remote = True
    def moves(self, ps): time.sleep(30)
cases = [case_of(i) for i in traces(split="dev", view="pair", n=1).items]
list(play(consultancy(turns=1), cases, {"judge": J(), "adviser": Hung()}, patience=.3))
print("played", flush=True)
"""


def test_an_adviser_that_never_answers_does_not_keep_the_program():
    with subprocess.Popen([sys.executable, "-c", HUNG], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "played\n"
        try:
            process.wait(timeout=15)
        finally:
            process.kill()


def test_a_late_judge_is_counted_once_and_as_late():
    class Late(Half):
        remote = True

        def beliefs(self, views):
            time.sleep(0.4)
            return super().beliefs(views)

    (e, *_) = play(unaided(), CASES[:1], {"judge": Late()}, patience=0.1)
    rows = rows_of([packed_episode(e)], {e.item: 0}, {e.item: "c"})
    assert (e.failures, rows.failures) == (("timeout: judge",), {"timeout: judge": 1})
    assert played_again(unaided(), CASES[0], e.sides, e.seed, e.answers).failures == e.failures


def test_numbers_of_numpy_are_stored_as_plain_ones():
    class Numpy(First):
        def moves(self, positions):
            charge = Charge(np.int64(1), np.int64(0))
            return [
                Message(speaker="", quotes=(Quote(np.int64(0), p.case.pieces[0].texts),), charges=(charge,))
                for p in positions
            ]

    (e, *_) = play(consultancy(turns=1), CASES, {"judge": Half(), "adviser": Numpy()})
    assert e.failures == ()
    rfc8785.dumps(packed_episode(e))


def test_a_remote_referee_that_breaks_fails_its_episode_alone():
    class Dead:
        remote = True

        def holds(self, case, charge):
            raise ConnectionError("the line is dead")

    episodes = list(play(bisection(), CASES, {"judge": Half(), "referee": Dead()}))
    assert all("error (ConnectionError): referee" in e.failures for e in episodes)


@pytest.mark.parametrize("change", [{"options": ("a",)}, {"pieces": ()}])
def test_a_case_with_one_option_or_nothing_to_quote_is_refused(change):
    class Anything:
        def beliefs(self, views):
            return [[1.0] * len(v.options) for v in views]

    with pytest.raises(ValueError, match="two options and a piece"):
        list(play(unaided(), [CASES[0], dataclasses.replace(CASES[1], **change)], {"judge": Anything()}))


@pytest.mark.parametrize("piece", ["0", 1.5, None, True])
def test_a_place_that_is_none_is_a_misquote(piece):
    class Odd(First):
        def moves(self, positions):
            return [Message(speaker="", quotes=(Quote(piece, p.case.pieces[0].texts),)) for p in positions]

    (e, *_) = play(consultancy(turns=1), CASES, {"judge": Half(), "adviser": Odd()})
    assert e.failures == ("misquote: adviser",)
    rfc8785.dumps(packed_episode(e))


@pytest.mark.parametrize("row", [["a", "b"], [None, 1.0], [[0.5, 0.5]], 0.5, "ab", ()])
def test_a_row_that_is_none_fails_that_episode_alone(row):
    class Odd(Half):
        def beliefs(self, views):
            return [row, *([0.5, 0.5] for _ in views[1:])]

    first, *rest = play(unaided(), CASES, {"judge": Odd()})
    assert first.belief is None
    assert len(first.failures) == 1
    assert all(e.belief for e in rest)
    assert played_again(unaided(), CASES[0], first.sides, first.seed, first.answers).failures == first.failures


def test_blanks_do_not_choose_the_judges_noise():
    class Blanks(First):
        def moves(self, positions):
            (pieces,) = {len(m.quotes) for m in super().moves(positions)}
            assert pieces == 1
            texts = (p.case.pieces[0].texts for p in positions)
            return [Message(speaker="", quotes=(Quote(0, tuple(f"{t}  " for t in some)),)) for some in texts]

    found = []
    for who in (First(), Blanks()):
        players = {"judge": Noisy(judge=Half(), nats=2.0), "adviser": who}
        found.append([e.belief for e in play(consultancy(turns=1), CASES, players)])
    assert found[0] == found[1]


def test_beliefs_for_the_record_alone_can_be_left_out():
    class Counting(Half):
        asked = 0

        def beliefs(self, views):
            self.asked += len(views)
            return super().beliefs(views)

    asked = []
    for record in (True, False):
        judge = Counting()
        protocol = dataclasses.replace(debate(turns=2), record=record)
        (e, *_) = play(protocol, CASES[:1], {"judge": judge, "a": First(), "b": First()})
        assert played_again(protocol, CASES[0], e.sides, e.seed, e.answers).belief == e.belief
        asked.append(judge.asked)
    assert asked == [4, 2]  # two orders


def test_plain_types_whatever_was_said():
    said = plain(Message(speaker="a", quotes=(Quote(0, "xy"), Quote(1, ["x"])), belief=("a", 1), text=3))
    assert [q.texts for q in said.quotes] == [(), ("x",)]
    assert np.isnan(said.belief[0])
    assert (said.belief[1], said.text) == (1.0, "3")
    assert numbers(np.array([0.5, 0.5])) == [0.5, 0.5]
