"""Records: an episode follows from what players answered, failures included, and from nothing less."""

import dataclasses
import json

import numpy as np
import pytest

from superalign.oversight.cases import case_of
from superalign.oversight.play import play
from superalign.oversight.protocols import PROTOCOLS, consultancy
from superalign.oversight.record import played_again

from .conftest import CountingJudge, FirstPiece


def again(name, episode, case, referee=None):
    log = json.loads(json.dumps([[dict(entry) for entry in turn] for turn in episode.answers], allow_nan=False))
    return played_again(PROTOCOLS[name], case, episode.sides, episode.seed, log, referee)


def timeless(episode):
    return dataclasses.replace(episode, cost=dataclasses.replace(episode.cost, seconds=0.0), answers=())


@pytest.mark.parametrize("name", sorted(PROTOCOLS))
def test_every_episode_follows_from_its_answers(name, page, seated):
    cases = {item.id: case_of(item) for item in page.items}
    for episode in play(PROTOCOLS[name], list(cases.values()), seated, seed=2):
        same = again(name, episode, cases[episode.item], seated["referee"])
        assert timeless(same) == timeless(episode)
        assert same.answers == tuple(tuple(turn) for turn in episode.answers)


class Bad(CountingJudge):
    def beliefs(self, views):
        rows = list(super().beliefs(views))
        return [[np.nan, 0.5] if i % 3 == 0 else None if i % 3 == 1 else row for i, row in enumerate(rows)]


class Dead(FirstPiece):
    remote = True

    def moves(self, positions):
        raise ConnectionError("the line is dead")


@pytest.mark.parametrize("broken", [{"judge": Bad()}, {"adviser": Dead()}])
def test_failures_are_recorded_and_played_again(broken, page, seated):
    cases = {item.id: case_of(item) for item in page.items}
    episodes = list(play(consultancy(), list(cases.values()), seated | broken))
    assert any(e.failures for e in episodes)
    for episode in episodes:
        assert timeless(again("consultancy", episode, cases[episode.item])) == timeless(episode)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda log: log[:-1], "asks 1 questions"),
        (lambda log: [*log, log[-1]], "4 are on record|9 are on record"),
        (lambda log: [[{"beliefs": [1.0, 0.0]}], *log[1:]], "asked for its moves"),
        (lambda log: [[*log[0], *log[0]], *log[1:]], "asks 1 questions"),
    ],
)
def test_a_log_that_is_no_such_play_is_an_error(change, said, page, seated):
    case = case_of(page.items[0])
    (episode, _) = play(consultancy(), [case], seated)
    with pytest.raises(ValueError, match=said):
        played_again(consultancy(), case, episode.sides, 0, change([list(turn) for turn in episode.answers]))


def test_a_check_that_the_referee_tells_otherwise_is_an_error(page, seated):
    case = case_of(page.items[0])
    (episode,) = play(PROTOCOLS["bisection"], [case], seated)
    log = [[{"holds": not e["holds"]} if "holds" in e else e for e in turn] for turn in episode.answers]
    with pytest.raises(ValueError, match="as the referee does not tell it"):
        played_again(PROTOCOLS["bisection"], case, episode.sides, 0, log, seated["referee"])
