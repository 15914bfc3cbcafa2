"""Leaderboards on data of one's own, format by format; of many options two are played; whose page speaks of toys."""

from dataclasses import asdict
from types import SimpleNamespace

import pytest

from superalign.evidence import SuperalignError, Workspace
from superalign.pipeline import board as board_module
from superalign.pipeline.board import play_board
from superalign.pipeline.board_config import BoardSizes, OversightConfig, why_not
from superalign.pipeline.board_own import of_two, own_of, with_own
from superalign.pipeline.board_scores import page_of
from superalign.pipeline.recount import recount
from superalign.report.board_data import toys
from superalign.tasks.mutants import shipped
from superalign.tasks.own_pages import own_page

from .own_rows import labelled, mills, stepped, unpaired, written
from .spoken_talker import Talker, faulty

SIZES = BoardSizes(items=10, lesson=12, games=6, judge_steps=2, adviser_steps=2)


@pytest.fixture(autouse=True)
def tiny(monkeypatch, tmp_path):
    monkeypatch.setenv("SUPERALIGN_KEYS", str(tmp_path / "keys"))
    monkeypatch.setattr(board_module, "board_sizes", lambda preset: SIZES)


def config(folder, *files, **changes):
    tasks = tuple(f"data:{file}" for file in files)
    usual = {"preset": "quick", "tasks": tasks, "protocols": ("debate",), "advisers": "family:s"}
    return OversightConfig(workspace=folder / "ws", **usual | changes)


def names(path):
    with Workspace.open(path, create=False, write=False) as ws:
        return [event.body["name"] for event in ws.ledger.events("measurement")]


@pytest.mark.parametrize("options", [2, 3, 5, 26])
def test_more_than_two_options_are_cut_to_the_right_one_and_one_other_evenly(options, tmp_path):
    data = own_of(mills(tmp_path, 120, options=options)).data
    whole, cut = own_page(data, split="validation"), of_two(own_page(data, split="validation"))
    places = []
    for before, after in zip(whole.items, cut.items, strict=True):
        answer = cut.truths[after.id]["answer"]
        places.append(answer)
        assert after.id == before.id
        assert len(set(after.options)) == 2
        assert set(after.options) <= set(before.options)
        assert after.options[answer] == before.options[whole.truths[before.id]["answer"]]
    assert abs(places.count(0) - places.count(1)) <= 1
    short = of_two(own_page(data, split="validation", n=7))
    assert short.items == cut.items[:7], "a smaller board is the beginning of a larger one"


def test_labels_and_steps_become_cases_of_two_options(tmp_path):
    labels, steps = [labelled(i) for i in range(32)], [stepped(i) for i in range(32)]
    for name, rows in (("labels.jsonl", labels), ("steps.jsonl", steps)):
        own, found = with_own(config(tmp_path, written(tmp_path / name, rows)))
        (task,) = own.tasks
        page = page_of(task, "validation", SIZES, found)
        assert {len(item.options) for item in page.items} == {2}
        assert len(page.items) == SIZES.items
        assert why_not("debate", False, task) == ""
        assert why_not("bisection", True, task)
        assert "pairs of texts" in why_not("market making", False, task, learns=True)


def test_labels_answers_and_steps_are_played_in_words_beside_each_other(tmp_path):
    files = [
        written(tmp_path / f"{make.__name__}.jsonl", [make(i) for i in range(32)])
        for make in (labelled, unpaired, stepped)
    ]
    with faulty.running(Talker()) as server:
        at = faulty.at(server)
        own = config(tmp_path, *files, judge=at, advisers=at, protocols=("debate",), items=4)
        play_board(own)
    assert recount(own.workspace).findings == ()
    assert {name.split(".")[2] for name in names(own.workspace)} == {"label", "unpaired", "stepwise"}


def test_mutants_of_ones_own_are_played_like_those_that_ship_and_their_claims_are_checked(tmp_path):
    made = [asdict(mutant) for mutant in shipped()]
    rows = [[row for row in made if row["split"] == split][:40] for split in ("train", "validation")]
    file = written(tmp_path / "faults.jsonl", [*rows[0], *rows[1]])
    own = config(tmp_path, file, protocols=("critique",), items=4)
    play_board(own)
    assert recount(own.workspace).findings == ()
    found = {name.partition(".mutant.")[2] for name in names(own.workspace)}
    assert {"critique.accuracy", "critique.judge checks per correct"} <= found


def test_mutants_to_judge_alone_are_enough_where_all_speak(tmp_path):
    rows = [asdict(mutant) for mutant in shipped() if mutant.split == "validation"][:30]
    file = written(tmp_path / "faults.jsonl", rows)
    with faulty.running(Talker()) as server:
        at = faulty.at(server)
        own = config(tmp_path, file, judge=at, advisers=at, protocols=("critique",), items=4)
        play_board(own)
    assert recount(own.workspace).findings == ()


TOYS = [
    ("family:xs", "family:m", "slips", True),
    ("hf:weak", "hf:strong", "slips", False),
    ("hf:weak", "hf:strong", "rules", True),
    ("prompt:family:s", "http://there/v1#m", "slips", True),
    ("words:family:s", "inspect:a/b", "slips", True),
    ("inspect:a/b", "hf:strong", "slips", True),
    ("inspect:a/b", "http://there/v1#m", "rules", False),
    ("person", "http://there/v1#m", "pixels", False),
]


@pytest.mark.parametrize(("judge", "advisers", "task", "said"), TOYS)
def test_a_page_says_toy_models_where_one_took_part_and_where_nobody_can_tell(judge, advisers, task, said):
    stated = {"judge": judge, "advisers": advisers, "stand_in": "family:xs", "tasks": [task]}
    other = {"judge": "family:xs", "advisers": "family:xs", "stand_in": "", "tasks": ["slips"]}
    told = [("run", {"board": stated}), ("plan", {"board": "k"}), ("run", {"board": other}), ("plan", {"board": "l"})]
    events = [SimpleNamespace(type=kind, body=body) for kind, body in told]
    assert toys(events, "k") is said
    assert toys(events, "l")
    assert toys(events, "no such board")


def test_mutants_that_words_cannot_show_are_not_counted_as_judged(tmp_path):
    made = [asdict(mutant) for mutant in shipped()]
    rows = [row for split in ("train", "validation") for row in [m for m in made if m["split"] == split][:60]]
    file = written(tmp_path / "faults.jsonl", rows)
    whole, data = with_own(config(tmp_path, file))
    (task,) = whole.tasks
    shown = len(page_of(task, "validation", BoardSizes(items=60), data).items)
    assert shown < 60, "some faults can't be shown in words: one number for another"
    with pytest.raises(SuperalignError, match=f"--items {shown + 1}, and {shown} can be shown"):
        play_board(config(tmp_path, file, items=shown + 1))
    assert not whole.workspace.exists()
