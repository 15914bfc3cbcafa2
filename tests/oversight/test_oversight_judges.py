"""Judges: what the likelihood judge reads, what a flaw's dial does, what adapting to a game teaches."""

import dataclasses

import numpy as np
import pytest

from superalign.oversight.advisers import EvidenceAdviser
from superalign.oversight.cases import case_of
from superalign.oversight.judges import Biased, Lazy, LikelihoodJudge, Noisy, adapted
from superalign.oversight.judges.adapted import features
from superalign.oversight.judges.likelihood import PREFIX, runs, shown_at_random
from superalign.oversight.play import play
from superalign.oversight.protocols import consultancy, unaided
from superalign.oversight.types import Message, Quote, View
from superalign.tasks import slips, traces
from superalign.tasks.pixels import pixels

from .conftest import CountingJudge


class LetterModel:
    """Log-probabilities by a formula: each word costs its length; counts the texts it is given."""

    def __init__(self):
        self.read = []

    def word_logprobs(self, texts):
        self.read += texts
        return [np.array([-float(len(word)) for word in text.split()]) for text in texts]


def view(*quotes, task="slips", options=("a", "b"), side=None):
    said = tuple(Quote(piece, texts, verified=True) for piece, texts in quotes)
    return View(task=task, question="", options=options, messages=(Message(speaker="a", side=side, quotes=said),))


def test_the_likelihood_judge_reads_what_was_shown_and_each_text_once():
    model = LetterModel()
    judge = LikelihoodJudge(model=model, name="letters")
    views = [view((0, ("x", "xxx")), (1, ("yy", "yy"))), view((0, ("x", "xxx"))), view((3, ("x", "xxx")))]
    found = judge.beliefs(views)
    assert model.read == [PREFIX + text for text in ("x", "x yy", "xxx", "xxx yy")]
    assert found[0, 0] == pytest.approx(1 / (1 + np.exp(-2)))
    assert found[1] == pytest.approx(found[2]), "a place says nothing by itself"
    judge.beliefs(views)
    assert len(model.read) == 4, "what was read once is remembered"


def test_a_copy_with_another_model_remembers_nothing():
    views = [view((0, ("x", "xxx")))]
    judge = LikelihoodJudge(model=LetterModel(), name="letters")
    judge.beliefs(views)
    assert judge.remembered
    assert not dataclasses.replace(judge, model=LetterModel()).remembered
    adviser = EvidenceAdviser(model=LetterModel())
    adviser.knows([case_of(item) for item in traces(split="dev", view="pair", n=1, steps=4).items])
    assert adviser.read
    assert not dataclasses.replace(adviser, model=LetterModel()).read


def test_unverified_quotes_are_not_read():
    model = LetterModel()
    forged = Message(speaker="a", quotes=(Quote(0, ("x", "xxx")),))
    plain = View(task="slips", question="", options=("a", "b"), messages=(forged,))
    assert LikelihoodJudge(model=model, name="letters").beliefs([plain])[0, 0] == 0.5
    assert model.read == []


def test_neighbouring_steps_are_read_as_one_calculation():
    page = traces(split="dev", view="pair", n=1, steps=4)
    case = case_of(page.items[0])
    whole = {i: piece.texts for i, piece in enumerate(case.pieces)}
    assert runs("traces", whole, 0) == [page.items[0].input["a"]]
    assert len(runs("traces", {0: whole[0], 2: whole[2]}, 1)) == 2


@pytest.mark.parametrize(
    "bad", [view((0, ("one text",))), view((0, ("a", "b")), options=("a", "b", "c")), view(options=("0", "1", "2"))]
)
def test_what_has_no_two_texts_needs_another_judge(bad):
    with pytest.raises(ValueError, match="seat a judge that was trained"):
        LikelihoodJudge(model=LetterModel(), name="letters").beliefs([bad])


def test_fitting_finds_that_likelihood_tells_and_that_noise_does_not():
    page = slips(split="dev", view="pair", n=300)
    cases, answers = [case_of(i) for i in page.items], np.array([page.truths[i.id]["answer"] for i in page.items])

    class Oracle(LetterModel):
        def word_logprobs(self, texts):
            return [np.array([-1.0 - 5 * (word in BAD) for word in text.split()]) for text in texts]

    BAD = {"="}
    told = np.array(
        [sum(w in BAD for w in i.input["b"].split()) - sum(w in BAD for w in i.input["a"].split()) for i in page.items]
    )
    fitted = LikelihoodJudge(model=Oracle(), name="x").fitted(cases, (told < 0).astype(int), quotes=8)
    assert fitted.weights[0] > 0
    noise = LikelihoodJudge(model=Oracle(), name="x").fitted(cases, (told > 0).astype(int), quotes=8)
    assert noise.weights[0] == pytest.approx(0, abs=1e-3), "never against likelihood"
    assert len(answers) == 300


def test_random_views_show_as_many_pieces_as_asked():
    case = case_of(slips(split="dev", view="pair", n=1).items[0])
    assert len(shown_at_random(case, 3, np.random.default_rng(0)).shown()) == 3
    assert len(shown_at_random(case, 99, np.random.default_rng(0)).shown()) == len(case.pieces)


VIEWS = [view((k, ("", ""))) for k in range(6)] + [view((1, ("", "")), (4, ("", "")))]


@pytest.mark.parametrize(
    "flawed",
    [Noisy(judge=CountingJudge(), nats=0.0), Lazy(judge=CountingJudge(), laziness=0.0), Biased(judge=CountingJudge())],
)
def test_a_dial_at_zero_changes_nothing(flawed):
    assert flawed.beliefs(VIEWS) == pytest.approx(CountingJudge().beliefs(VIEWS), abs=1e-9)


def test_noise_is_the_same_for_the_same_view_and_as_large_as_dialled():
    noisy = Noisy(judge=CountingJudge(), nats=2.0)
    many = [view((k, (str(j), ""))) for k in range(20) for j in range(50)]
    assert (noisy.beliefs(many) == noisy.beliefs(many)).all()
    moved = np.log(noisy.beliefs(many)) - np.log(CountingJudge().beliefs(many))
    assert np.std(moved[:, 0] - moved[:, 1]) == pytest.approx(2.0 * np.sqrt(2), rel=0.1)


def test_a_lazy_judge_reads_the_beginning():
    two = dataclasses.replace(VIEWS[0], messages=(*VIEWS[0].messages, *VIEWS[5].messages))
    assert Lazy(judge=CountingJudge(), laziness=0.5).beliefs([two]) == pytest.approx(
        CountingJudge().beliefs([VIEWS[0]])
    )
    assert Lazy(judge=CountingJudge(), laziness=1.0).beliefs([two]) == pytest.approx(np.array([[0.5, 0.5]]))


def test_a_biased_judge_leans_to_the_last_speaker_and_the_confident():
    said = view((0, ("", "")), side=1)
    plain = CountingJudge().beliefs([said])[0]
    assert Biased(judge=CountingJudge(), last=1.0).beliefs([said])[0, 1] > plain[1]
    sure = dataclasses.replace(said, messages=(dataclasses.replace(said.messages[0], belief=(0.1, 0.9)),))
    assert Biased(judge=CountingJudge(), confident=2.0).beliefs([sure])[0, 1] > plain[1]


def test_features_are_odd_in_the_options(page, seated):
    cases = [case_of(item) for item in page.items]
    views = [e.view for e in play(consultancy(turns=2), cases, seated)]

    class Mirror(CountingJudge):
        def beliefs(self, views):
            return super().beliefs(views)[:, ::-1]

    def mirrored(v):
        return dataclasses.replace(
            v,
            messages=tuple(
                dataclasses.replace(
                    m,
                    side=None if m.side is None else 1 - m.side,
                    charges=tuple(c._replace(option=1 - c.option) for c in m.charges),
                    belief=m.belief[::-1],
                )
                for m in v.messages
            ),
        )

    assert features(Mirror(), [mirrored(v) for v in views]) == pytest.approx(-features(CountingJudge(), views))


def test_an_adapted_judge_learns_that_a_consultant_always_argues(page, seated):
    page = traces(split="train", view="pair", n=200, steps=6)
    cases, answers = [case_of(i) for i in page.items], {i.id: page.truths[i.id]["answer"] for i in page.items}
    episodes = list(play(consultancy(turns=1), cases, seated))
    judge = adapted(CountingJudge(), "consultancy", episodes, [1 - e.sides[0] for e in episodes])
    assert judge.beliefs([e.view for e in episodes])[:, 0].round() == pytest.approx([e.sides[0] for e in episodes]), (
        "where the consultant always lies, its side is wrong"
    )
    assert len(answers) == 200


def test_an_adapted_judge_is_fitted_to_its_own_protocol_only(page, seated):
    episodes = list(play(unaided(), [case_of(i) for i in page.items], seated))
    with pytest.raises(ValueError, match=r"adapted to debate by its own episodes: got 12, \['unaided'\]"):
        adapted(CountingJudge(), "debate", episodes, [0] * len(episodes))
    with pytest.raises(ValueError, match="got 0"):
        adapted(CountingJudge(), "debate", [], [])


def test_an_adapted_judge_sees_the_options_that_were_played(seated):
    """Digits are no numbers of options: a judge of pictures must be asked about the digits of the item."""
    asked = []

    class Digits(CountingJudge):
        def beliefs(self, views):
            asked.extend(view.options for view in views)
            return super().beliefs(views)

    page = pixels(split="dev", view="pair", n=6)
    episodes = list(play(consultancy(turns=1), [case_of(i) for i in page.items], seated | {"judge": Digits()}))
    asked.clear()
    adapted(Digits(), "consultancy", episodes, [0] * len(episodes))
    assert set(asked) == {item.options for item in page.items}
