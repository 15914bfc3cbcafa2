"""The board's page: from a ledger alone, ranked, every number linked, a stranger's text kept harmless."""

from types import SimpleNamespace

import pytest

from superalign.report.leaderboard import task_section, tasks_of


def event(seq, name, value, *, type="measurement", **tags):
    body = {"name": name, "title": name, "value": value, "low": None, "high": None, "n": 9, "clusters": 3}
    body |= {"subject": "judge@" + "a" * 64, "note": "", "tags": {"stage": "oversight", "task": "t", **tags}}
    return SimpleNamespace(seq=seq, type=type, actor="evaluator", time="", digest="", body=body)


def scored(seq, protocol, value, part="accuracy", **more):
    return event(seq, f"board.t.{protocol}.{part}", value, protocol=protocol, part=part, **more)


def contrast(seq, protocol, value, verdict, family="exploratory"):
    return event(
        seq, f"board.t.{protocol} - unaided", value, protocol=protocol, control="unaided", family=family,
        verdict=verdict, p=0.01, corrected=0.04,
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
    assert "1 others are not told" in text
    assert "critique" in text
    assert "market" not in text


def test_conversations_are_escaped_and_bounded():
    talk = {"protocol": "<b>", "lines": [{"who": "a", "what": "<script>" * 200}, "no line"] + [{"who": "b"}] * 500}
    figure = SimpleNamespace(seq=7, type="figure", body={"figure": "board", "data": "d"})
    text = page(scored(1, "debate", 0.4), figure, read=lambda digest: {"task": "t", "worst": [talk, "no talk"]})
    assert "<script>" not in text
    assert "&lt;b&gt;" in text
    assert text.count("<dd>") < 100


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
