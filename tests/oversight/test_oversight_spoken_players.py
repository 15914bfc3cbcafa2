"""Players in words: what answers come to, what is no answer, and that nothing is asked twice or lost."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from superalign.evidence import SuperalignError
from superalign.models.answers import KINDS
from superalign.models.speaker import Reply, Token
from superalign.oversight.advisers.spoken import SpokenAdviser
from superalign.oversight.judges.prompted import PromptedJudge
from superalign.oversight.judges.spoken import SpokenJudge
from superalign.oversight.judges.tempering import both_orders, fitted_scale
from superalign.oversight.prompts import load_prompt
from superalign.oversight.prompts.chat import load_chat_prompt
from superalign.oversight.spoken.answers import TINY, letter_logprobs
from superalign.oversight.spoken.players import answers_to, noted
from superalign.oversight.table import Failed
from superalign.oversight.types import Case, Charge, Message, Piece, Position, Quote, View

from .spoken_players import RuleSpeaker

CASE = Case(
    item="i", task="own", cluster="c", question="which ?", options=("no", "yes"),
    pieces=tuple(Piece((f"{k} a", f"{k} b")) for k in range(6)),
)  # fmt: skip
VIEW = View(task="own", question="which ?", options=("no", "yes"))


def shown(k):
    quotes = (Quote(k, CASE.pieces[k].texts, verified=True),)
    return replace(VIEW, messages=(Message(speaker="table", quotes=quotes),))


def position(**more):
    return Position(case=CASE, seat="a", side=0, view=VIEW, **more)


def adviser(speaker=None, prompt="critic", **dials):
    return SpokenAdviser(speaker=speaker or RuleSpeaker(), prompt=load_chat_prompt(prompt), **dials)


def judge(speaker=None, **dials):
    return SpokenJudge(speaker=speaker or RuleSpeaker(), **{"by": "logprob", **dials})


def answer(**fields):
    known = {"charges": [], "quotes": [2], "belief": {"A": 0.5, "B": 0.5}, "argument": "x"}
    return Reply(kind="answer", text=json.dumps({**known, **fields}))


# Advisers


def test_a_message_is_what_the_answer_says_and_quotes_read_as_the_case_does():
    (said,) = adviser().moves([position(draw=7)])
    assert said == Message(
        speaker="a", side=0, quotes=(Quote(0, ("0 a", "0 b")),), charges=(Charge(1, 1),), belief=(0.7, 0.3),
        text="said by draw 7",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (answer(quotes=[7]), "out of range"),
        (answer(quotes=[0]), "out of range"),
        (answer(quotes=["2"]), "another type"),
        (answer(charges=[{"option": "C", "place": 1}]), "out of range"),
        (answer(charges=[{"option": "A"}]), "other fields"),
        (answer(belief={"A": 0.9, "B": 0.9}), "out of range"),
        (answer(belief={"A": 0, "B": 0}), "out of range"),
        (answer(belief={"A": 1}), "other fields"),
        (answer(argument="x" * 1201), "too long"),
        (answer(more=1), "other fields"),
        (Reply(kind="answer", text="The answer is A."), "not JSON"),
        (Reply(kind="answer", text="I'm sorry, I can't argue for that."), "refused in words"),
        (Reply(kind="answer"), "empty"),
        (Reply(kind="cut", text='{"quotes": [1'), "cut"),
        (Reply(kind="refused", why="content filter"), "refused"),
        (Reply(kind="none", why="context"), "context"),
        (Reply(kind="none"), "no answer"),
    ],
)
def test_what_is_no_message_is_a_failure_of_its_kind(reply, kind):
    one = adviser(RuleSpeaker(special={0: reply}))
    assert one.moves([position()]) == [Failed(kind)]
    assert one.counted == {kind: 1}
    assert kind in KINDS or reply.why == kind


def test_its_own_belief_is_averaged_over_both_orders():
    class Likes(RuleSpeaker):
        """Finds what stands under A likelier by 0.2, and "yes" by 0.1."""

        def _one(self, ask):
            yes = "B" if "A: <" in ask.messages[1].content and "> no <" in _line(ask, "A") else "A"
            first = 0.5 + 0.2 + (0.1 if yes == "A" else -0.1)
            return Reply(kind="answer", text=json.dumps({"belief": {"A": first, "B": 1 - first}}))

    def _line(ask, letter):
        return next(line for line in ask.messages[1].content.splitlines() if line.startswith(f"{letter}: "))

    found = adviser(Likes()).knows([CASE])
    np.testing.assert_allclose(found, [[0.4, 0.6]])


def test_one_order_that_fails_is_no_belief():
    one = adviser(RuleSpeaker(special={1: Reply(kind="refused")}))
    found = one.knows([CASE, replace(CASE, question="else ?")])
    assert np.isnan(found[0]).all()
    np.testing.assert_allclose(found[1], [0.5, 0.5])
    assert one.answers_to("knows", [CASE]) == [Failed("refused")], "a refusal was paid for, and is not asked again"
    assert len(one.speaker.asked) == 4


def test_other_draws_are_other_requests_and_greedy_ones_are_the_same():
    one = adviser()
    first, second = (said.text for said in one.moves([position(draw=1), position(draw=2)]))
    assert first != second
    greedy = adviser(temperature=0.0)
    assert {ask.seed for k in (1, 2) for ask in greedy.asks_of("moves", position(draw=k))} == {0}
    assert one.asks_of("moves", position(draw=2**48 - 1))[0].seed < 2**31, "providers take no larger seeds"


def test_where_the_judge_is_to_be_moved_it_has_the_prompt_for_that():
    one = adviser(prompt="consultant")
    assert one.against(object()) is one
    assert one.against(object(), goal="move", width=None).prompt.name == "adversary"


# What is asked, kept and counted


def test_nothing_is_asked_twice_and_equal_questions_go_out_once():
    one = judge()
    one.beliefs([shown(0), shown(1), shown(0)])
    assert len(one.speaker.asked) == 4
    one.beliefs([shown(1), shown(2)])
    assert len(one.speaker.asked) == 6
    assert one.counted == {"read": 6}
    assert sorted(one.heard.values()) == sorted(f"raw {k}" for k in range(6))
    assert set(one.heard) == {ask.key("rule@1") for ask in one.speaker.asked}
    assert one.beliefs([]).shape[0] == 0


def test_what_never_came_is_asked_again_and_counted_each_time():
    one = adviser(RuleSpeaker(special={0: Reply(kind="none", why="timeout")}))
    assert one.moves([position()]) == [Failed("timeout")]
    assert isinstance(one.moves([position()])[0], Message)
    assert one.counted == {"timeout": 1, "read": 1}


def test_what_the_speaker_raises_goes_through():
    class Refused(RuleSpeaker):
        def ask(self, asks):
            raise SuperalignError("the key is refused")

    with pytest.raises(SuperalignError, match="key is refused"):
        adviser(Refused()).moves([position()])


def test_a_reply_an_ask():
    one = adviser()
    asks = one.asks_of("moves", position())
    with pytest.raises(ValueError, match="1 were asked and 2 replied"):
        noted(one, "moves", position(), asks, [answer(), answer()])
    noted(object(), "moves", position(), asks, [answer()])
    with pytest.raises(ValueError, match="8 samples were asked for and 1 came"):
        judge(by="samples").answer_of("beliefs", VIEW, [answer()])
    assert answers_to(one, "moves", []) == []


def test_digests_are_of_whatever_decides():
    one = judge()
    others = [
        replace(one, scale=2.0), replace(one, alternatives=5), replace(one, by="samples"), replace(one, tokens=64),
        judge(RuleSpeaker(identity="x")), replace(one, by="samples", seed=1),
        replace(one, by="samples", samples=4), replace(one, by="samples", temperature=0.5), replace(one, by="auto"),
        judge(prompt=load_chat_prompt("judge-reasons"), by="samples"),
    ]  # fmt: skip
    assert len({one.digest, *(other.digest for other in others)}) == 11
    assert one.digest == judge().digest == replace(one, samples=4).digest, "nothing is drawn"
    assert replace(one, by="auto").settled().digest == one.digest, "how it is asked decides, not who chose it"
    two = adviser()
    assert len({two.digest, replace(two, temperature=0.0).digest, adviser(prompt="debater").digest}) == 3


# Judges by log-probability


def token(text, p, *others):
    return Token(text, math.log(p), tuple((each, math.log(q)) for each, q in ((text, p), *others)))


@pytest.mark.parametrize(
    ("tokens", "found"),
    [
        ([token("A", 0.6, ("B", 0.3))], {"A": 0.6, "B": 0.3}),
        ([token("A", 0.5, (" A", 0.1), ("B", 0.2), (" B\n", 0.1))], {"A": 0.6, "B": 0.3}),
        ([token("The", 0.6, ("B", 0.3), ("A", 0.05))], {"A": 0.05, "B": 0.3}),
        ([token("A", 0.6, ("x", 0.3))], {"A": 0.6, "B": 0.1}),
        ([token("A", 0.6, ("x", 0.03))], {"A": 0.6, "B": 0.03}),
        ([Token("A", math.log(0.8))], {"A": 0.8, "B": 0.2}),
        ([token(" ", 0.5, ("A", 0.2), ("B", 0.1)), token("A", 0.6, ("B", 0.2))], {"A": 0.5, "B": 0.2}),
        ([token("\n", 1.0), token("B", 0.9, ("A", 0.1)), token("A", 1.0)], {"A": 0.1, "B": 0.9}),
        ([token("A", 1.0)], {"A": 1.0, "B": TINY}),
        ([token("a", 0.5, ("Both", 0.2))], None),
        ([token("(", 0.9, ("x", 0.1)), token("A", 1.0)], None),
        ([token(" ", 0.5), token(" ", 0.5), token("A", 1.0)], None),
        ([Token("A", math.nan)], None),
        ([], None),
    ],
)
def test_letters_are_bounded_by_what_was_seen(tokens, found):
    got = letter_logprobs(tokens, "AB")
    if found is None:
        assert got.kind == "not a choice"
    else:
        assert {letter: math.exp(p) for letter, p in got.items()} == pytest.approx(found)


def test_belief_is_free_of_what_the_model_likes_about_a_letter():
    found = judge(RuleSpeaker(sure=0.9)).beliefs([shown(0)])
    np.testing.assert_allclose(found, [[0.5, 0.5]])

    class Reads(RuleSpeaker):
        """Likes A, and "yes" by a nat."""

        def _one(self, ask):
            line = next(line for line in ask.messages[1].content.splitlines() if line.startswith("A: "))
            logit = 2.0 + (1.0 if "> yes <" in line else -1.0)
            p = 1 / (1 + math.exp(-logit))
            return Reply(kind="cut", text="A", tokens=(token("A", p, ("B", 1 - p)),))

    found = judge(Reads()).beliefs([shown(0)])
    assert found[0, 1] == pytest.approx(1 / (1 + math.exp(-1)))


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(kind="refused"), "refused"),
        (Reply(kind="none", why="rate limit"), "rate limit"),
        (Reply(kind="answer", text="A"), "no log-probabilities"),
        (Reply(kind="answer"), "empty"),
        (Reply(kind="cut", text="I'm sorry, but", tokens=(token("I", 0.9, ("x", 0.1)),)), "refused in words"),
        (Reply(kind="cut", text="I'm sorry", tokens=(token("I", 0.9, ("A", 0.05), ("B", 0.01)),)), "refused in words"),
        (Reply(kind="answer", text="I can't judge this."), "refused in words"),
        (Reply(kind="cut", text="The answer", tokens=(token("The", 0.9, ("x", 0.1)),)), "not a choice"),
        (Reply(kind="cut", text=" ", tokens=(token(" ", 0.9, ("x", 0.1)),)), "not a choice"),
    ],
)
def test_what_holds_no_letter_is_no_belief(reply, kind):
    one = judge(RuleSpeaker(special={1: reply}))
    assert one.answers_to("beliefs", [shown(0)]) == [Failed(kind)]
    assert one.counted == {"read": 1, kind: 1}
    assert one.readable == 0.5
    assert np.isnan(judge(RuleSpeaker(special={1: reply})).beliefs([shown(0)])).all()


# Judges by samples


def test_samples_are_counted_by_laplaces_rule_in_either_order():
    replies = [Reply(kind="answer", text=letter) for letter in ("A", "A", "B", "A", "B", "B", "B", "B")]
    one = judge(by="samples", samples=8)
    reading = one.answer_of("readings", VIEW, replies)
    np.testing.assert_allclose(np.exp(reading), [[4 / 6, 2 / 6], [5 / 6, 1 / 6]])
    odds = math.sqrt(2 * 5)
    assert one.answer_of("beliefs", VIEW, replies)[0] == pytest.approx(odds / (1 + odds))
    asks = one.asks_of("beliefs", VIEW)
    assert len(asks) == 8
    assert len({ask.key("x") for ask in asks}) == 8
    assert {ask.temperature for ask in asks} == {1.0}
    assert not {ask.seed for ask in asks} & {ask.seed for ask in replace(one, seed=1).asks_of("beliefs", VIEW)}


def test_chance_is_another_at_every_item_and_in_either_order():
    class Ignorant(RuleSpeaker):
        """Knows nothing, and draws as models here do: by inverting the cumulative distribution at the seed's number."""

        def _one(self, ask):
            self.asked.append(ask)
            return Reply(kind="answer", text="A" if np.random.default_rng(ask.seed).random() < 0.5 else "B")

    one = judge(Ignorant(), by="samples", samples=8)
    views = [replace(VIEW, question=f"{k} ?") for k in range(60)]
    found = one.beliefs(views)[:, 0]
    assert abs(found.mean() - 0.5) < 0.06
    assert found.std() > 0.05
    assert len({ask.seed for ask in one.speaker.asked}) > 470, "480 draws"
    assert all(0 <= ask.seed < 2**31 for ask in one.speaker.asked)
    blank = replace(VIEW, question="", options=("a", "b"))
    assert len({ask.key("x") for ask in one.asks_of("beliefs", blank)}) == 8, "though both orders show one page"
    assert one.asks_of("beliefs", blank) == judge(by="samples", samples=8).asks_of("beliefs", blank), "resumed alike"


def test_garbage_among_samples_is_counted_and_no_verdict():
    bad = Reply(kind="answer", text="maybe")
    one = judge(RuleSpeaker(gives=False, sure=1.0, special={0: bad, 5: Reply(kind="refused")}), by="samples", samples=8)
    found = one.readings([shown(0)])
    np.testing.assert_allclose(np.exp(found[0]), [[4 / 5, 1 / 5], [1 / 5, 4 / 5]])
    assert one.counted == {"not a choice": 1, "refused": 1, "read": 6}
    assert one.readable == 0.75
    half = judge(RuleSpeaker(sure=1.0, gives=False, special=dict.fromkeys(range(4), bad)), by="samples", samples=8)
    np.testing.assert_allclose(np.exp(half.readings([shown(0)])[0]), [[0.5, 0.5], [1 / 6, 5 / 6]])


def test_nothing_but_garbage_is_no_belief_and_says_what_most_of_it_was():
    one = judge(
        RuleSpeaker(special={"all": Reply(kind="answer", text="I cannot judge this"), 0: Reply(kind="refused")}),
        by="samples",
        samples=4,
    )
    assert np.isnan(one.beliefs([shown(0)])).all()
    assert one.answers_to("beliefs", [shown(0)]) == [Failed("refused in words")]
    assert one.readable == 0.0


def test_a_verdict_with_reasons_is_read_strictly():
    one = judge(prompt=load_chat_prompt("judge-reasons"), by="auto", samples=2)
    assert one.using == "samples"
    assert one.beliefs([shown(0)])[0].tolist() == [0.5, 0.5], "A in both orders"
    (ask, _) = one.asks_of("beliefs", shown(0))
    assert json.loads(ask.schema)["properties"]["verdict"]["enum"] == ["A", "B"]
    texts = ['{"reason": "x", "verdict": "C"}', "A"]
    assert [one.kind_of("beliefs", VIEW, Reply(kind="answer", text=text)) for text in texts] == [
        "out of range",
        "not JSON",
    ]


# How it is asked


@pytest.mark.parametrize(("gives", "using", "asked"), [(True, "logprob", 4), (False, "samples", 10)])
def test_auto_decides_once_by_a_first_answer(gives, using, asked):
    one = judge(RuleSpeaker(gives=gives), by="auto")
    assert one.undecided
    with pytest.raises(ValueError, match="call settled"):
        one.asks_of("beliefs", VIEW)
    one.beliefs([shown(0)])
    assert (one.using, one.undecided) == (using, False)
    assert len(one.speaker.asked) == asked
    one.beliefs([shown(0)])
    assert len(one.speaker.asked) == asked
    assert one.tempered([shown(0), shown(1)], [0, 1]).using == using
    assert one.digest == judge(RuleSpeaker(gives=gives), by=using).digest


def test_who_gives_no_first_answer_is_not_guessed_about():
    one = judge(RuleSpeaker(special={0: Reply(kind="none", why="timeout"), 1: Reply(kind="refused")}), by="auto")
    with pytest.raises(SuperalignError, match=r"no first answer \(timeout, refused\)"):
        one.settled()
    assert one.settled().using == "logprob", "another time it answers"
    late = judge(RuleSpeaker(special={0: Reply(kind="none", why="timeout")}), by="auto")
    assert late.settled().using == "logprob"


def test_fitting_finds_how_far_to_trust_it():
    class Knows(RuleSpeaker):
        """Two nats for the option whose text under it is larger; right in three of four."""

        def _one(self, ask):
            self.asked.append(ask)
            place = int(ask.messages[1].content.split("at place ")[1].split(":")[0])
            swapped = "A: <" in ask.messages[1].content and "> yes <" in ask.messages[1].content.split("\nB: ")[0]
            logit = (2.0 if place % 2 else -2.0) * (-1 if swapped else 1)
            p = 1 / (1 + math.exp(-logit))
            return Reply(kind="cut", text="A", tokens=(token("A", p, ("B", 1 - p)),))

    views = [shown(k % 6) for k in range(24)]
    right = [(k % 2) if (k // 6) else 1 - k % 2 for k in range(24)]
    fitted = judge(Knows()).tempered(views, right)
    assert fitted.beliefs([shown(0)])[0, 0] == pytest.approx(0.75, abs=0.01)
    assert fitted.weights == (fitted.scale,)
    assert len(fitted.speaker.asked) == 12, "the fitted judge remembers what was read"
    assert judge(Knows()).tempered(views, [1 - a for a in right]).scale == 0
    with pytest.raises(ValueError, match="none of 24 views was answered"):
        judge(RuleSpeaker(special={"all": Reply(kind="refused")})).tempered(views, right)
    assert judge(Knows()).fitted([CASE] * 8, [0] * 8, quotes=1).scale >= 0


def test_views_of_unlike_numbers_of_options_are_an_error():
    with pytest.raises(ValueError, match=r"views of \[2, 3\] options"):
        judge().beliefs([VIEW, replace(VIEW, options=("a", "b", "c"))])
    three = judge(RuleSpeaker(special={"all": Reply(kind="cut", text="A", tokens=(token("A", 0.5, ("C", 0.3)),))}))
    found = three.beliefs([replace(VIEW, options=("x", "y", "z"))])
    assert found[0, 0] == pytest.approx(found[0, 2])
    assert found[0, 1] < found[0, 0], "B was never in sight: bounded, and never the best"


def test_tempering_is_what_prompted_judges_do():
    rng = np.random.default_rng(0)
    readings = rng.normal(size=(40, 2, 2))
    views = [replace(VIEW, question=f"{k} ?") for k in range(40)]
    table = {view.question: reading for view, reading in zip(views, readings, strict=True)}
    answers = (both_orders(readings)[:, 1] + rng.normal(size=40) > both_orders(readings)[:, 0]).astype(int).tolist()

    class Read(PromptedJudge):
        __slots__ = ()

        def readings(self, views):
            return np.array([table[view.question] for view in views])

    fitted = Read(model=None, prompt=load_prompt("verdict")).tempered(views, answers)
    assert fitted.scale == pytest.approx(fitted_scale(both_orders(readings), answers), rel=1e-9)
