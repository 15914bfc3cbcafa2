"""Inclusion against hallucination: places, claims, curves and lists, against what can be counted by hand."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superalign.models import load_model
from superalign.oversight import lines as lines_module
from superalign.oversight.inclusion import (
    Planted,
    area_difference,
    base_rates,
    cuts_of,
    inclusion_at,
    pareto,
    rated,
    tallied,
    tally,
)
from superalign.oversight.lines import (
    EXCESS,
    GAP,
    SCALARS,
    SURPRISAL,
    planted_at,
    read_lines,
)
from superalign.oversight.lists import (
    ListReward,
    best_lists,
    draw_lists,
    fit_reward,
)
from superalign.stats import StatsError
from superalign.training.family_text import rich_text

FAST = settings(max_examples=30, deadline=None)
BODY = "def f(a, b):\n    c = a + b\n    if c < 0:\n        return a\n    return c"
NOTED = 'def f(a):\n    """One.\n\n    Two."""\n    return a'


@pytest.mark.parametrize(
    ("sound", "faulty", "lines"),
    [
        (BODY, BODY.replace("a + b", "a - b"), (1, 1)),
        (BODY, BODY.replace("c < 0", "c <= 0"), (2, 2)),
        (BODY, BODY.replace("return c", "return a"), (4, 4)),
        (BODY, BODY.replace(" + b", ""), (1, 1)),
        (BODY.replace("return a", "return a.b()"), BODY, (3, 3)),
        (BODY, BODY.replace("    c = a + b\n", ""), (0, 1)),
        (BODY, BODY.replace("    return c", "    a = b\n    return c"), (4, 4)),
        (NOTED, NOTED.replace("return a", "return None"), (2, 2)),
        (BODY, BODY.replace("return c", "return"), (4, 4)),
    ],
)
def test_the_place_of_a_fault(sound, faulty, lines):
    assert planted_at(sound, faulty) == lines


def test_a_place_lies_inside_every_shipped_fault():
    from superalign.tasks.mutants import shipped

    for mutant in shipped()[::37]:
        first, last = planted_at(mutant.sound, mutant.faulty)
        words, lines = lines_module.worded(mutant.faulty)
        assert 0 <= first <= last <= lines.max()
        assert len(words) == len(lines)
        assert (np.diff(lines) >= 0).all()


@pytest.fixture(scope="module")
def small():
    return load_model("family:xs")


def test_lines_carry_what_the_model_says_of_their_words(small):
    (found,) = read_lines(small, [BODY])
    assert found.shape == (5, len(SCALARS) + 2 * small.width)
    shown = "<by:none> <cue:none> " + rich_text(BODY, np.random.default_rng(0), small=True)
    nats = -small.logprobs([shown])[0][2:-1]
    lines = lines_module.worded(BODY)[1]
    for line in range(5):
        assert found[line, SURPRISAL] == pytest.approx(nats[lines == line].max(), abs=1e-4)
        assert found[line, 1] == pytest.approx(nats[lines == line].mean(), abs=1e-4)
        assert found[line, 7] == pytest.approx(np.log1p((lines == line).sum()))
    assert (found[:, GAP] >= -1e-5).all()
    assert (found[:, EXCESS] < found[:, SURPRISAL]).all()


def test_long_functions_are_read_to_the_end_and_in_company(small):
    long = "def f(a):\n" + "".join(f"    b{i} = a + b{i}\n" for i in range(60)) + "    return a"
    line = "def g(a):\n    return [" + ", ".join(["a"] * 120) + "]\n"
    alone, together = read_lines(small, [long]), read_lines(small, [BODY, line, long])
    assert len(alone[0]) == 62
    assert all(np.isfinite(text).all() for text in together)
    assert together[2] == pytest.approx(alone[0], abs=1e-3)
    assert len(together[1]) == 2


def test_windows_hold_every_line_once_and_fit(small):
    long = "def f(a):\n" + "".join(f"    b{i} = a(b{i}, {i})\n" for i in range(90)) + "    return a"
    windows = list(lines_module.windows_of(3, long, 96, True, 0))
    assert np.concatenate([w.lines for w in windows]).tolist() == lines_module.worded(long)[1].tolist()
    assert max(len(w.ids) for w in windows) <= 96
    assert all(w.begin > 30 for w in windows[1:])  # context stands before the lines that count
    assert all(w.text == 3 and w.end - w.begin == len(w.lines) for w in windows)


def planted(first, last=None, cluster=None):
    n = len(first)
    return Planted(
        first=np.array(first),
        last=np.array(first if last is None else last),
        cluster=np.arange(n) if cluster is None else np.array(cluster),
    )


def test_a_tally_by_hand():
    faulty = [np.array([0.9, 0.1, 0.5]), np.array([0.2, 0.8])]
    sound = [np.array([0.9, 0.1, 0.1]), np.array([0.7, 0.1])]
    found = tally(faulty, sound, planted([2, 1]), cuts=np.array([1.0, 0.6, 0.3]))
    assert found.hit.tolist() == [[0, 0, 1], [0, 1, 1]]
    assert found.phantom.tolist() == [[0, 0, 0], [0, 0, 0]]
    assert found.idle.tolist() == [[0, 2, 2], [0, 1, 1]]
    assert found.lines.tolist() == [6, 4]
    near = tally(faulty, sound, planted([1, 1]), cuts=np.array([0.3]), slack=1)
    assert near.hit.tolist() == [[1], [1]]
    assert near.phantom.tolist() == [[1], [1]]
    assert near.idle.tolist() == [[1], [1]]  # what is claimed in the sound twin stays hallucinated


def test_a_missing_score_is_not_innocence():
    faulty, sound = [np.array([np.nan, 0.1]), np.array([0.9, 0.1])], [np.array([0.1, 0.1]), np.array([0.1, 0.1])]
    found = tally(faulty, sound, planted([0, 0]), cuts=np.array([0.5]))
    assert found.hit.mean() == 0.5  # what was not read stays in the denominator, and is not found
    assert found.lines.tolist() == [3, 4]  # and is no line that was found clean
    assert found.unread == 1
    silent = tally([np.full(2, np.nan)] * 2, [np.full(2, np.nan)] * 2, planted([0, 0]), cuts=np.array([0.5]))
    with pytest.raises(StatsError, match="no line has a score"):
        pareto(silent)
    with pytest.raises(StatsError, match="no line has a score"):
        cuts_of([np.full(2, np.nan)])


def test_texts_and_places_must_pair():
    with pytest.raises(StatsError, match="must pair"):
        tally([np.zeros(2)], [np.zeros(2)], planted([0, 1]), cuts=np.zeros(1))


@FAST
@given(st.lists(st.floats(-3, 3), min_size=1, max_size=7), st.floats(-3, 3))
def test_a_threshold_is_the_list_that_a_length_modifier_picks(scores, modifier):
    s = np.array(scores)
    lists = [np.array(m) for m in itertools.product([False, True], repeat=len(s))]
    worth = [float((s[m] + modifier).sum()) for m in lists]
    assert float((s[s > -modifier] + modifier).sum()) == pytest.approx(max(worth), abs=1e-9)


def world(rng, n=400, lines=20, clusters=25, sees=0.0, place=0.0):
    """Scores of a critic that sees the fault, or that knows where faults are put, by so many standard deviations."""
    first = rng.integers(lines, size=n)
    sound = [rng.normal(size=lines) for _ in range(n)]
    faulty = [s.copy() for s in sound]
    for i, f in enumerate(first):
        sound[i][f] += place
        faulty[i][f] += place + sees
    return faulty, sound, planted(first, cluster=rng.integers(clusters, size=n))


def drawn(*args, **kwargs):
    faulty, sound, where = world(*args, **kwargs)
    return tally(faulty, sound, where, cuts=cuts_of([*faulty, *sound]))


def test_at_random_inclusion_is_the_share_of_lines_claimed():
    made = pareto(drawn(np.random.default_rng(0), n=3000))
    assert made.area.value == pytest.approx(0.1, abs=0.015)
    assert made.seen.low <= 0 <= made.seen.high
    assert (np.diff(made.idle) >= 0).all()
    assert (np.diff(made.hit) >= 0).all()
    assert (made.idle[0], made.hit[0]) == (0, 0)
    assert made.hit[-1] == 1


def test_knowing_the_place_is_not_seeing_the_fault():
    """The control that inclusion needs: a critic that claims the same lines when nothing is wrong has seen nothing."""
    rng = np.random.default_rng(1)
    guesses, sees = pareto(drawn(rng, place=2.0)), pareto(drawn(rng, sees=2.0))
    assert guesses.area.low > 0.3
    assert sees.area.low > 0.3
    assert abs(guesses.seen.value) < 1e-12
    assert sees.seen.low > 0.2


def test_a_perfect_critic_has_the_whole_area():
    faulty, sound, where = world(np.random.default_rng(2), sees=100.0)
    made = pareto(tally(faulty, sound, where, cuts=cuts_of([*faulty, *sound])))
    assert made.area.value > 0.95
    assert made.area.n == 400
    assert made.area.clusters == 25


def test_inclusion_is_read_between_settings():
    found = drawn(np.random.default_rng(3), n=2000)
    value, seen = inclusion_at(found, 10.0)
    assert value.value == pytest.approx(0.1, abs=0.02)
    assert value.low < value.value < value.high
    assert abs(seen.value) < 1e-12


def test_critics_are_compared_on_the_same_functions():
    rng = np.random.default_rng(4)
    faulty, sound, where = world(rng, sees=2.0)
    strong = tally(faulty, sound, where, cuts=cuts_of(faulty))
    other = [[rng.random(len(s)) for s in side] for side in (faulty, sound)]
    weak = tally(*other, where, cuts=cuts_of(other[0]))
    better = area_difference(strong, weak)
    assert better.low > 0
    assert area_difference(weak, strong).value == pytest.approx(-better.value)
    assert area_difference(strong, strong).value == 0
    with pytest.raises(StatsError, match="same functions"):
        area_difference(strong, drawn(rng))


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    rng, held = np.random.default_rng(5), 0
    truth = pareto(drawn(rng, n=8000, place=1.0), draws=20).area.value
    for seed in range(40):
        found = pareto(drawn(rng, n=120, place=1.0), draws=200, seed=seed).area
        held += found.low <= truth <= found.high
    assert held >= 33


def test_base_rates_tell_words_that_stand_where_faults_are():
    texts = ["def f(a):\n    a = a < 1\n    return a"] * 30
    rates = base_rates(texts, [(1, 1)] * 30)
    assert rates["<"] > rates[""] > rates["return"]
    assert 0 < rates["return"] < 1
    scores = rated("def g(z):\n    z = z < 2\n    return unheard_of", rates)
    assert scores.shape == (3,)
    assert int(scores.argmax()) == 1
    assert rated("def g(z):\n    return z", rates)[0] == pytest.approx(
        1 - np.prod([1 - rates.get(t, rates[""]) for t in ("def", "g", "(", "z", ")", ":", "<L1>")])
    )


def test_lists_are_drawn_around_the_scores():
    scores = np.array([3.0, np.nan, 0.0, -3.0])
    lists = draw_lists(scores, 500, np.random.default_rng(0))
    assert lists.shape == (500, 4)
    assert not lists[0].any()
    assert not lists[:, 1].any()
    share = lists.mean(axis=0)
    assert share[0] > share[2] > share[3] > 0
    assert set(lists.sum(axis=1)) == {0, 1, 2, 3}


def test_a_reward_learns_which_lists_hold_the_fault_and_a_modifier_buys_claims():
    rng = np.random.default_rng(6)
    faulty, sound, where = world(rng, n=200, lines=8, place=2.0, sees=1.0)
    reward = fit_reward(faulty, sound, where)
    scores = np.array([4.0, 0.0, -1.0, -2.0])
    right, wrong = reward.of(scores, np.array([[True, False, False, False], [False, False, False, True]]))
    assert right > wrong
    counts = []
    for modifier in (-20.0, 0.0, 20.0):
        claims, promise = best_lists(scores, reward, np.array([modifier]), n=200, rng=np.random.default_rng(0))
        counts.append(int(claims.sum()))
        assert 0 <= promise[0] <= 1
    assert counts[0] == 0
    assert counts[0] <= counts[1] <= counts[2] == 4
    assert best_lists(scores, reward, np.array([-20.0]), n=9, rng=rng)[1][0] == 0  # an empty list promises nothing


def test_more_lists_promise_more_than_they_keep():
    """Best of n by a reward that is noise: the promise rises with n, what is found does not."""
    rng = np.random.default_rng(7)
    faulty, _, where = world(rng, n=300, lines=10)
    noise = ListReward(weight=np.array([0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]))
    promised, kept = [], []
    for n in (2, 40):
        made = [best_lists(s, noise, np.array([0.0]), n=n, rng=rng) for s in faulty]
        calm = [np.zeros((1, 10), dtype=bool)] * 300
        read = ([np.ones(10, dtype=bool)] * 300,) * 2
        found = tallied([claims for claims, _ in made], calm, where, read=read)
        promised.append(float(np.mean([p for _, p in made])))
        kept.append(float(found.hit.sum() / max(1, found.hit.sum() + found.idle.sum())))
    assert promised[1] > promised[0] + 0.05
    assert abs(kept[1] - kept[0]) < 0.05


def test_a_reward_needs_a_list_that_holds_a_fault():
    with pytest.raises(StatsError, match="no list includes a fault"):
        fit_reward([np.full(3, np.nan)], [np.zeros(3)], planted([0]))
