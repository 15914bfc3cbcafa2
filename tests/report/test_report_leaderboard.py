"""The board's page: from a ledger alone, ranked, every number linked, a stranger's text kept harmless."""

from types import SimpleNamespace

import pytest

from superalign.report.leaderboard import _front, task_section, tasks_of


def event(seq, name, value, *, type="measurement", **tags):
    body = {"name": name, "title": name, "value": value, "low": None, "high": None, "n": 9, "clusters": 3}
    body |= {"subject": "judge@" + "a" * 64, "note": "", "tags": {"stage": "oversight", "task": "t", **tags}}
    return SimpleNamespace(seq=seq, type=type, actor="evaluator", time="", digest="", body=body)


def scored(seq, protocol, value, part="accuracy", **more):
    return event(seq, f"board.t.{protocol}.{part}", value, protocol=protocol, part=part, **more)


def contrast(seq, protocol, value, verdict, family="exploratory", **more):
    return event(
        seq, f"board.t.{protocol} - unaided", value, protocol=protocol, control="unaided", family=family,
        verdict=verdict, **{"p": 0.01, "corrected": 0.04, "same": 1.0, **more},
    )  # fmt: skip


def page(*events, read=lambda digest: {}):
    return "".join(task_section(task, view) for task, view in tasks_of(events, read).items())


def test_protocols_are_ranked_and_linked_to_their_events():
    text = page(
        scored(1, "worst", 0.4), scored(2, "best", 0.9), scored(3, "unaided", 0.6), scored(4, "best", -0.2, "brier")
    )
    assert text.index("<bdi>best") < text.index("<bdi>unaided") < text.index("<bdi>worst")
    assert 'href="#e2"' in text
    assert "−0.200" in text
    assert "No judgement failed, and" in text


def test_the_last_digits_of_a_zero_are_not_shown():
    text = page(scored(1, "debate", 0.8), scored(2, "debate", -8.7e-27, "brier"), scored(3, "unaided", 0.51))
    assert "e-27" not in text
    assert ">unaided</text>" not in text, "too near to chance to name both"
    assert ">unaided</text>" in page(scored(1, "debate", 0.8), scored(3, "unaided", 0.7))


def test_the_latest_measurement_counts():
    text = page(scored(1, "debate", 0.4), scored(5, "debate", 0.8))
    assert "0.800" in text
    assert "0.400" not in text


def test_failures_are_named_with_their_kinds():
    text = page(scored(1, "debate", 0.4, failures={"nan": 3}))
    assert "nan" in text
    assert "stays in the denominators" in text


def test_only_what_is_told_and_what_is_primary_is_listed():
    text = page(
        scored(1, "debate", 0.8),
        contrast(2, "debate", 0.2, "not told", family="primary"),
        contrast(3, "critique", 0.3, "better"),
        contrast(4, "market", 0.1, "not told"),
    )
    assert "1 other is not told" in text
    assert "critique" in text
    assert "market" not in text


def test_conversations_are_escaped_and_bounded():
    talk = {"protocol": "<b>", "lines": [{"who": "a", "what": "<script>" * 200}, "no line"] + [{"who": "b"}] * 500}
    figure = SimpleNamespace(seq=7, type="figure", body={"figure": "board", "data": "d"})
    text = page(scored(1, "debate", 0.4), figure, read=lambda digest: {"task": "t", "worst": [talk, "no talk"]})
    assert "<script>" not in text
    assert "&lt;b&gt;" in text
    assert text.count("<dd>") < 100


def test_what_is_alike_is_said_with_its_p():
    alike = contrast(2, "debate", 0.001, "equivalent", same=0.003)
    text = page(scored(1, "debate", 0.8), alike)
    assert "= alike" in text
    assert "0.003" in text
    assert "0 others are not told" in text


def test_a_p_that_is_no_number_is_left_out():
    text = page(scored(1, "debate", 0.8), contrast(2, "debate", 0.3, "better", corrected="?", same=1e-9))
    assert "&lt; 0.0001" in text
    assert "nan" not in text


def test_liars_and_errors_stand_in_a_table_with_their_intervals():
    conviction = scored(2, "consultancy", 0.57, "wrong conviction")
    conviction.body |= {"low": 0.5, "high": 0.64}
    text = page(scored(1, "consultancy", 0.6), conviction, scored(3, "consultancy", 0.2, "error similarity"))
    assert "Liars, incentives, errors" in text
    assert "[0.500, 0.640]" in text
    assert "+0.200" in text
    assert "Liars" not in page(scored(1, "consultancy", 0.6))


def test_a_refused_number_says_why():
    number = scored(2, "debate", None, "error similarity")
    number.body["note"] = "one of the two never errs"
    text = page(scored(1, "debate", 0.8), number)
    assert "error similarity: one of the two never errs" in text
    assert "Refused, with the reason" not in page(
        scored(1, "debate", 0.8), scored(2, "debate", 0.1, "error similarity")
    )


def costed(seq, protocol, value, tokens, **more):
    """Accuracy and reading of one protocol."""
    return (
        scored(seq, protocol, value, budget=4, **more),
        scored(seq + 1, protocol, tokens, "judge tokens per play", budget=4, **more),
    )


def test_costs_are_drawn_and_stand_in_a_table():
    text = page(*costed(1, "unaided", 0.6, 58.2), *costed(3, "debate", 0.8, 58.4), *costed(5, "deference", 0.9, 0))
    assert "accuracy by what the judge reads" in text
    assert "deference reads 0 and is right on 0.900" in text
    assert "nobody beats for less" in text.lower()
    assert "<b>58</b>" in text
    assert text.count("<svg") >= 5, "a strip each, the axis, and the drawing"


def further(seq, curve, budget, value, tokens):
    name = f"{curve}, budget {budget}"
    return (
        event(seq, f"board.t.{name}.accuracy", value, curve=curve, budget=budget, part="accuracy"),
        event(seq + 1, f"board.t.{name}.tokens", tokens, curve=curve, budget=budget, part="judge tokens per play"),
    )


def test_further_budgets_are_a_line_beside_the_boards_own_and_no_protocols():
    text = page(
        *costed(1, "unaided", 0.6, 58), *further(3, "unaided", 2, 0.55, 30), *further(5, "unaided", 8, 0.7, 110)
    )
    assert "At equal budgets" in text
    assert [text.index(f">{n} pieces") for n in (2, 4, 8)] == sorted(text.index(f">{n} pieces") for n in (2, 4, 8))
    assert "unaided: 30 tokens 0.550, 58 tokens 0.600, 110 tokens 0.700" in text
    assert "budget 2" not in text
    assert "At equal budgets" not in page(*costed(1, "unaided", 0.6, 58))


@pytest.mark.parametrize("budget", ["", "-3", "1e9", "99999", "²"])
def test_a_budget_that_is_none_is_left_out(budget):
    assert "At equal budgets" not in page(*costed(1, "unaided", 0.6, 58), *further(3, "unaided", budget, 0.5, 30))


BINS = [[0.25, 0.2, 40], [0.5, 0.5, 20], [0.75, 0.8, 40]]


def reliable(data):
    figure = SimpleNamespace(seq=7, type="figure", body={"figure": "board", "data": "d"})
    text = page(
        scored(1, "debate", 0.8), scored(2, "debate", 0.05, "calibration error"), figure,
        read=lambda digest: {"task": "t", "worst": [], "reliability": data},
    )  # fmt: skip
    return text


def test_reliability_is_drawn_with_its_error_and_numbers():
    text = reliable({"debate": BINS})
    assert "Reliability of debate" in text
    assert "0.250 → 0.200, 0.500 → 0.500, 0.750 → 0.800" in text
    assert ": error" in text


@pytest.mark.parametrize(
    "data",
    [
        None, 3, [], {"debate": 3}, {"debate": []}, {"debate": [[0.1, 0.2]]}, {"debate": [[0.1, 2.0, 3]]},
        {"debate": [[0.1, float("nan"), 3]]}, {"debate": [["x", 0.1, 3]]}, {"debate": [[0.1, 0.1, 3]] * 400},
        {"debate": [[0.1, 0.2, -3]]}, {"debate": [3]},
    ],
)  # fmt: skip
def test_a_strangers_reliability_is_not_drawn(data):
    assert "Reliability" not in reliable(data)


def test_the_page_says_how_many_seeds_it_speaks_of():
    def front(seeds):
        view = tasks_of([scored(1, "debate", 0.8, seeds=seeds)], lambda digest: {})
        return str(_front(view))

    assert "One seed was played" in front(1)
    assert "Under 5 tell little" in front(3)
    assert "over 7 seeds" in front(7)
    assert "Under 5" not in front(7)
    assert "One seed was played" in front("many"), "a stranger's word is no number"


def test_names_of_tasks_cannot_break_out_of_their_anchor():
    number = scored(1, "debate", 0.8)
    number.body["tags"]["task"] = '"><script>'
    assert "<script>" not in page(number)


@pytest.mark.parametrize("data", [None, [], {"worst": 3}, {"task": "t", "worst": [{"lines": 4}]}])
def test_a_strangers_figure_breaks_nothing(data):
    figure = SimpleNamespace(seq=7, type="figure", body={"figure": "board", "data": "d"})
    assert "debate" in page(scored(1, "debate", 0.4), figure, read=lambda digest: data)


def test_a_refused_number_is_shown_as_refused():
    assert "refused" in page(scored(1, "debate", None))


def test_one_board_is_shown_and_not_another():
    first = scored(1, "debate", 0.4, board="one")
    second = scored(2, "critique", 0.8, board="two")
    both = [first, second]
    assert set(tasks_of(both, lambda digest: {})["t"].parts) == {"critique"}
    assert set(tasks_of(both, lambda digest: {}, board="one")["t"].parts) == {"debate"}
