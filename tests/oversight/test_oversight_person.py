"""A person at the terminal: what is shown, what is typed, and that no answer is lost or asked for twice."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import pytest
from rich.console import Console

from superalign.evidence import SuperalignError
from superalign.oversight.advisers import SearchAdviser
from superalign.oversight.cases import case_of
from superalign.oversight.judges import AdaptedJudge, Noisy, NotSearchable, PersonJudge, Stopped, no_search
from superalign.oversight.judges.person import read_journal, spread, view_digest
from superalign.oversight.play import play
from superalign.oversight.prompts.terminal import labels, page, percentages, question_to
from superalign.oversight.protocols import PROTOCOLS, consultancy, debate, unaided
from superalign.oversight.types import Charge, Message, Quote, View

from .conftest import CountingJudge, FirstPiece


def view(*texts, options=("a", "b"), question="which ?", **more):
    quotes = tuple(Quote(k, (text, f"{text} '"), verified=True) for k, text in enumerate(texts))
    said = Message(speaker="a", quotes=quotes, **more)
    return View(task="slips", question=question, options=options, messages=(said,))


@dataclass
class Typist:
    """Types lines from a list, then leaves; notes what it was asked."""

    lines: list
    asked: list = field(default_factory=list)

    def __call__(self, prompt):
        self.asked.append(prompt)
        if not self.lines:
            raise EOFError
        return self.lines.pop(0) + "\n"


@dataclass
class Clock:
    """Each look takes two seconds and a half."""

    now: float = 0.0

    def __call__(self):
        self.now += 2.5
        return self.now


def person(*lines, **more):
    console = Console(file=io.StringIO(), width=100)
    return PersonJudge(ask=Typist(list(lines)), console=console, clock=Clock(), **more)


def screen(judge):
    return judge.console.file.getvalue()


def test_answers_become_beliefs_and_lines_of_the_journal(tmp_path):
    path = tmp_path / "new" / "person.jsonl"
    judge, views = person("70", "12.5%", journal=path), [view("x"), view("y")]
    found = judge.beliefs(views)
    assert sorted(found[:, 0]) == [0.125, 0.7]
    np.testing.assert_allclose(found.sum(axis=1), 1)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert {line["view"] for line in lines} == set(map(view_digest, views))
    assert [line["belief"] for line in lines] == [[0.7, 0.3], [0.125, 0.875]]
    assert [line["seconds"] for line in lines] == [2.5, 2.5]
    assert judge.seconds([*views, view("never shown")]).tolist()[:2] == [2.5, 2.5]
    assert np.isnan(judge.seconds([view("never shown")])).all()


def test_an_answer_is_on_the_disk_before_the_next_question(tmp_path, monkeypatch):
    path, sizes = tmp_path / "p.jsonl", []
    monkeypatch.setattr("superalign.oversight.judges.person.os.fsync", lambda fd: sizes.append(os.fstat(fd).st_size))
    judge = person("10", "20", journal=path)
    judge.beliefs([view("x"), view("y")])
    ends = [match.end() for match in re.finditer(rb"\n", path.read_bytes())]
    assert sizes == ends


def test_what_was_answered_is_not_asked_again_here_or_in_the_next_run(tmp_path):
    path, views = tmp_path / "p.jsonl", [view("x"), view("y"), view("x")]
    first = person("70", "20", journal=path)
    found = first.beliefs(views)
    assert len(first.ask.asked) == 2, "the same view twice is one question"
    np.testing.assert_array_equal(first.beliefs(views[::-1]), found[::-1])
    again = person(journal=path)
    np.testing.assert_array_equal(again.beliefs(views), found)
    assert again.ask.asked == []
    assert screen(again) == ""


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("", "0 words were typed"),
        ("seventy", "'seventy' isn't a percentage"),
        ("-3", "'-3' isn't a percentage"),
        ("101", "101 is over 100"),
        ("nan", "'nan' isn't a percentage"),
        ("inf", "'inf' isn't a percentage"),
        ("1e1", "'1e1' isn't a percentage"),
        ("70,5", "'70,5' isn't a percentage"),
        ("0.7", "may mean 70% or less than one percent: type 70 or 0.7%"),
        ("60 40", "2 words were typed: type one number"),
        ("70%%", "isn't a percentage"),
        ("٧٠", "isn't a percentage"),
        ("\x1b[A", "⟨U+001B⟩[a"),
    ],
)
def test_bad_input_is_told_and_asked_again(line, why):
    judge = person(line, "70")
    assert judge.beliefs([view("x")]).tolist() == [[0.7, pytest.approx(0.3)]]
    assert why in " ".join(screen(judge).split())
    assert "\x1b" not in screen(judge)
    assert len(judge.ask.asked) == 2
    assert judge.seconds([view("x")]).tolist() == [2.5]


@pytest.mark.parametrize(("line", "p"), [("0", 0.0), ("100", 1.0), ("1", 0.01), (" 50.5 % ".replace(" %", "%"), 0.505)])
def test_the_ends_are_answers(line, p):
    assert percentages(line, 2)[0] == pytest.approx(p)


def test_several_options_take_a_number_each():
    digits = tuple("0123456789")
    judge = person("10 20 30", "50 50 50 0 0 0 0 0 0 0", "33 33 33 0 0 0 0 0 0 0")
    shown = replace(view(options=digits), messages=())
    found = judge.beliefs([shown])
    assert found[0, :3] == pytest.approx(1 / 3)
    assert "type 10 numbers" in screen(judge)
    assert "these come to 150 percent" in screen(judge)
    assert "Nothing was shown." in screen(judge)
    assert question_to(digits).startswith("P in percent of 0 1 2 3 4 5 6 7 8 9, 10 numbers")
    assert labels(("x" * 13, "no")) == ("A", "B")
    assert labels(("no", "no")) == ("A", "B")
    with pytest.raises(ValueError, match="unlike numbers"):
        judge.beliefs([shown, view("x")])


def test_a_refusal_is_no_number_and_stays_in_the_denominator(tmp_path, page):
    path = tmp_path / "p.jsonl"
    cases = [case_of(item) for item in page.items[:4]]
    judge = person("skip", "80", "SKIP", "80", journal=path)
    episodes = list(play(unaided(quotes=2), cases, {"judge": judge}))
    refused = [e for e in episodes if e.belief is None]
    assert len(episodes) == 4
    assert len(refused) == 2
    assert all(e.failures == ("nan",) for e in refused)
    assert np.isnan(person(journal=path).beliefs([e.view for e in refused])).all()


def test_back_asks_the_last_one_again_and_the_later_answer_counts(tmp_path):
    path, views = tmp_path / "p.jsonl", [view("x"), view("y")]
    judge = person("back", "10", "back", "20", "30", journal=path)
    found = judge.beliefs(views)
    assert "nothing to go back to" in screen(judge)
    assert sorted(found[:, 0]) == [0.2, 0.3]
    assert len(path.read_text().splitlines()) == 3, "nothing is taken out of a journal"
    np.testing.assert_array_equal(person(journal=path).beliefs(views), found)


@pytest.mark.parametrize("how", ["quit", None])
def test_who_leaves_goes_on_where_it_stopped(tmp_path, page, how):
    path, cases = tmp_path / "p.jsonl", [case_of(item) for item in page.items]
    lines = ["60"] * 5
    judge = person(*lines, *([how] if how else ()), journal=path)
    with pytest.raises(Stopped, match=r"kept in .*p\.jsonl; run it again"):
        list(play(unaided(), cases, {"judge": judge}))
    again = person(*["70"] * 7, journal=path)
    episodes = list(play(unaided(), cases, {"judge": again}))
    assert sorted(e.belief[0] for e in episodes) == [0.6] * 5 + [0.7] * 7
    assert "6 of 12" in screen(again)
    assert "5 of 12" not in screen(again)
    assert isinstance(Stopped(""), SuperalignError), "the command line prints it and exits"
    with pytest.raises(Stopped, match="without a journal nothing is kept"):
        person("quit").beliefs([view("x")])


def test_a_journal_cut_at_any_byte_of_its_last_line_is_mended(tmp_path):
    path, views = tmp_path / "p.jsonl", [view("x"), view("y")]
    person("10", "20", journal=path).beliefs(views)
    whole = path.read_bytes()
    last = whole[:-1].rfind(b"\n") + 1
    for cut in range(last, len(whole) + 1):
        path.write_bytes(whole[:cut])
        found = read_journal(path, "person")
        assert len(found) == 1 + (cut >= len(whole) - 1), f"cut at {cut}"
        left = person("20", journal=path)
        assert sorted(left.beliefs(views)[:, 0]) == [0.1, 0.2]
        assert path.read_bytes().count(b"\n") == 2
        assert [json.loads(line)["belief"][0] for line in path.read_bytes().splitlines()] == [0.1, 0.2]
    path.write_bytes(whole[:last] + b"\0" * 64)
    assert len(read_journal(path, "person")) == 1, "what a power cut leaves"


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        "[]",
        "{}",
        '{"judge": "somebody else", "view": "v", "belief": [0.5, 0.5], "seconds": 1}',
        '{"judge": "person", "view": "v", "belief": [0.9, 0.9], "seconds": 1}',
        '{"judge": "person", "view": "v", "belief": [NaN, 0.5], "seconds": 1}',
        '{"judge": "person", "view": "v", "belief": "50", "seconds": 1}',
        '{"judge": "person", "view": "v", "belief": [0.5, 0.5], "seconds": null}',
    ],
)
def test_a_damaged_or_foreign_line_is_refused(tmp_path, line):
    path = tmp_path / "p.jsonl"
    person("10", "20", journal=path).beliefs([view("x"), view("y")])
    good = path.read_text().splitlines()
    path.write_text("\n".join([good[0], line, good[1], ""]))
    with pytest.raises(SuperalignError, match=r"line 2 of .*p\.jsonl is no answer of person"):
        person(journal=path).beliefs([view("x")])


def test_a_kill_loses_nothing_that_was_answered(tmp_path):
    path, script = tmp_path / "p.jsonl", tmp_path / "judge.py"
    script.write_text(
        textwrap.dedent(
            f"""
            from pathlib import Path
            from superalign.oversight.judges.person import PersonJudge
            from superalign.oversight.types import View
            views = [View(task="t", question=str(k), options=("no", "yes")) for k in range(5)]
            PersonJudge(journal=Path({str(path)!r})).beliefs(views)
            """
        )
    )
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    told = b""
    with subprocess.Popen([sys.executable, str(script)], **pipes, bufsize=0) as run:
        run.stdin.write(b"70\n\xff\xfe\n30\n")
        while told.count(b"P(no) in percent") < 4:
            new = os.read(run.stderr.fileno(), 4096)
            assert new, f"it ended by itself: {told.decode()}"
            told += new
        run.send_signal(signal.SIGKILL)
        assert run.communicate()[0] == b"", "stdout is for results"
    assert len(read_journal(path, "person")) == 2
    assert b"isn't a percentage" in told


def test_seatings_of_one_item_do_not_follow_each_other(page, seated):
    for protocol in (consultancy(turns=1), debate(turns=1)):
        shown = [e.view for e in play(protocol, [case_of(i) for i in page.items], seated)]
        for seed in range(5):
            order = spread(shown, seed)
            assert sorted(order) == list(range(24))
            assert order == spread(shown, seed)
            assert all(i // 2 != j // 2 for i, j in pairwise(order))
            assert order != spread(shown, seed + 1)


def test_an_order_exists_where_everything_is_alike():
    assert spread([], 0) == []
    assert sorted(spread([view("x")] * 3, 0)) == [0, 1, 2]
    rules = [View(task="rules", question=f"is {k // 2} ?", options=("no", "yes")) for k in range(12)]
    mixed = [rules[k] for k in (0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11)]
    order = spread(mixed, 0)
    assert all(mixed[i].question != mixed[j].question for i, j in pairwise(order))


def shown_text(*messages, **more):
    out = Console(file=io.StringIO(), width=100)
    out.print(page(View(task="slips", question="which ?", options=("a", "b"), messages=messages, **more), "1 of 1"))
    return out.file.getvalue()


def test_the_page_says_who_said_what_and_what_was_checked():
    text = shown_text(
        Message(speaker="b", side=1, quotes=(Quote(4, ("left text", "right text"), verified=True),)),
        Message(speaker="a", side=0, charges=(Charge(1, 2),), belief=(0.8, 0.2), text="trust me"),
        Message(speaker="referee", charges=(Charge(1, 2, holds=True),)),
        Message(speaker="referee", charges=(Charge(0, 6, holds=False),)),
    )
    assert "The adviser 1, who has to argue for b:" in text
    assert "The adviser 2, who has to argue for a:" in text
    row = next(line for line in text.splitlines() if "left text" in line)
    assert [cell.strip() for cell in row.strip("│").split("│")] == ["5", "left text", "right text"]
    assert "claims, unchecked, that b is wrong at place 3" in text
    assert "a check found that b is wrong at place 3" in text
    assert "a check did not find that a is wrong at place 7" in text
    assert "believes: a 80%, b 20%" in text
    assert "in words, not verified" in text


def test_nothing_that_others_wrote_leaves_its_cell():
    forged = "\x1b[2J[bold]x[/bold]\n\nThe referee:\n  a check found that b is wrong at place 1 \u202e"
    text = shown_text(
        Message(speaker="a", quotes=(Quote(0, (forged, "plain"), verified=True),), text=forged),
        Message(speaker="a", quotes=(Quote(0, ("made up", "by somebody")),)),
    )
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert text.count("[bold]x[/bold]") == 2, "no markup is obeyed"
    lines = [line for line in text.splitlines() if "referee" in line or "a check found" in line]
    assert len(lines) == 4
    assert all(line.startswith("│") and line.endswith("│") for line in lines)
    assert "made up" not in text, "a quote that differs shows nothing"
    assert "1 quote left out" in text


def test_no_id_and_no_truth_is_shown(page, seated):
    cases, judge = [case_of(item) for item in page.items], person(*["50"] * 500)
    list(play(PROTOCOLS["debate with a check"], cases, seated | {"judge": judge}))
    text = screen(judge)
    assert "adviser 1" in text
    assert not any(case.item in text or case.cluster in text for case in cases)
    assert "holds" not in text


QUESTIONS = {
    "unaided": 1, "oracle": 1, "deference": 0, "ensemble": 2, "consultancy": 4, "open consultancy": 4,
    "double consultancy": 2, "critique": 1, "critique of 3": 1, "critique of critique": 1, "debate": 2,
    "sequential debate": 2, "debate without rebuttal": 1, "debate with a check": 1, "decomposition": 6, "bisection": 1,
    "prover-verifier": 4,
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(QUESTIONS))
def test_how_many_questions_an_episode_puts_to_a_person(name, page, seated):
    case, protocol = case_of(page.items[0]), PROTOCOLS[name]
    judge = person(*["50"] * 50)
    (episode,) = play(protocol, [case], seated | {"judge": judge}, sides=[protocol.seatings(2)[:1]])
    assert len(judge.ask.asked) == QUESTIONS[name]
    assert sum("beliefs" in entry for turn in episode.answers for entry in turn) >= QUESTIONS[name]


def test_whoever_asks_a_person_as_a_function_is_refused(page):
    judge, case = person(most=3), case_of(page.items[0])
    search = SearchAdviser(judge=judge, knower=FirstPiece())
    assert not judge.searchable
    with pytest.raises(NotSearchable, match=r"24 questions at once.*3 is the limit.*likelihood judge"):
        list(play(debate(), [case], {"judge": judge, "a": search, "b": search}))
    assert judge.ask.asked == [], "nobody was bothered before"
    wrapped = AdaptedJudge(judge=Noisy(judge=judge, nats=1.0), protocol="debate", weights=(), scale=())
    for players in (
        {"judge": judge, "a": search},
        {"judge": wrapped},
        {"judge": judge, "adviser": SearchAdviser(judge=CountingJudge(), knower=search)},
    ):
        with pytest.raises(NotSearchable, match="asks a PersonJudge as often as it likes"):
            no_search(players)


def test_advisers_search_against_a_stand_in(page):
    cases, stand_in = [case_of(item) for item in page.items[:3]], CountingJudge()
    judge = person(*["55"] * 12)
    search = SearchAdviser(judge=stand_in, knower=FirstPiece())
    players = {"judge": judge, "a": search, "b": search}
    no_search(players)
    episodes = list(play(debate(turns=2), cases, players))
    assert len(episodes) == 6
    assert len(judge.ask.asked) == 12, "two a seating, whatever the search asks"
    assert sum(stand_in.calls) > 12
    assert all(e.belief == pytest.approx((0.55, 0.45)) for e in episodes)
