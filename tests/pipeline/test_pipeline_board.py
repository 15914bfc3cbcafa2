"""The leaderboard: controls always stand in it, a stopped one goes on, and its scores follow from what is stored."""

import dataclasses
import json
import math
import shutil

import pytest

from superalign.evidence import Ledger, SuperalignError, Workspace, verify
from superalign.oversight.judges import train_pixel_judge
from superalign.pipeline import board as board_module
from superalign.pipeline import board_seats
from superalign.pipeline.board import play_board
from superalign.pipeline.board_config import CONTROLS, BoardSizes, OversightConfig, board_sizes, why_not
from superalign.pipeline.board_scores import ADAPTED, cells_of, chosen_protocols, page_of, rows_of
from superalign.pipeline.recount import recount

TINY = BoardSizes(items=16, lesson=30, games=10, judge_steps=2, adviser_steps=2)


@pytest.fixture(autouse=True)
def tiny(monkeypatch, tmp_path):
    monkeypatch.setenv("SUPERALIGN_KEYS", str(tmp_path / "keys"))
    monkeypatch.setattr(board_module, "board_sizes", lambda preset: TINY)


def config(tmp_path, **changes):
    usual = {"preset": "quick", "tasks": ("traces",), "protocols": ("debate", "consultancy"), "advisers": "family:s"}
    return OversightConfig(workspace=tmp_path / "ws", **{**usual, **changes})


def measured(path):
    with Workspace.open(path, create=False, write=False) as ws:
        return {
            e.body["name"]: (e.body["value"], e.body["low"], e.body["high"]) for e in ws.ledger.events("measurement")
        }


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A board that was played once, with its keys."""
    folder = tmp_path_factory.mktemp("board")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SUPERALIGN_KEYS", str(folder / "keys"))
        patch.setattr(board_module, "board_sizes", lambda preset: TINY)
        play_board(config(folder))
    return folder


def copied(whole, tmp_path, monkeypatch):
    """The workspace of a copy of that board."""
    shutil.copytree(whole, tmp_path / "copy")
    monkeypatch.setenv("SUPERALIGN_KEYS", str(tmp_path / "copy" / "keys"))
    return tmp_path / "copy" / "ws"


def test_controls_are_always_played_and_scores_follow(whole):
    found = measured(whole / "ws")
    for name in (*CONTROLS, "debate", "consultancy", "consultancy" + ADAPTED):
        assert 0 <= found[f"board.traces.{name}.accuracy"][0] <= 1
    assert found["board.traces.unaided.bits gained"][0] == 0
    honest, lying = (found[f"board.traces.consultancy.{side}"][0] for side in ("honest", "dishonest"))
    assert found["board.traces.consultancy.accuracy"][0] == pytest.approx((honest + lying) / 2)
    assert verify(whole / "ws").ok
    counted = recount(whole / "ws")
    assert counted.findings == ()
    assert counted.followed == len(found) + 1, "and the conversations shown"


def test_a_stopped_board_goes_on_and_ends_alike(whole, tmp_path):
    class Stop(Exception):
        pass

    said = []

    def say(text):
        said.append(text)
        if len(said) == 4:
            raise Stop

    with pytest.raises(Stop):
        play_board(config(tmp_path), say=say)
    rest = []
    play_board(config(tmp_path), say=rest.append)
    assert not set(said[:3]) & set(rest), "what was finished is not played again"
    assert measured(tmp_path / "ws") == measured(whole / "ws")
    again = []
    play_board(config(tmp_path), say=again.append)
    assert again == []


def test_the_plan_is_sealed_before_the_first_episode(whole):
    with Workspace.open(whole / "ws", create=False, write=False) as ws:
        (plan,) = ws.ledger.events("plan")
        first = next(e.seq for e in ws.ledger.events("stage"))
        assert plan.seq < first
        assert plan.body["primary"][0] == "debate - unaided, accuracy, on each task"


def _surest(episodes):
    return max(episodes, key=lambda e: abs(e["belief"][0] - 0.5))


def belief_turned(episodes):
    _surest(episodes)["belief"].reverse()


def item_dropped(episodes):
    episodes[:] = [e for e in episodes if e["item"] != episodes[0]["item"]]


def play_repeated(episodes):
    episodes.append(dict(episodes[0]))


def another_seat(episodes):
    episodes[0]["sides"] = episodes[1]["sides"]


def quote_verified(episodes):
    episodes[0]["messages"][0]["quotes"][0][1] = ["9 ; + 9 = 9 ;", "9 ; + 9 = 9 ;"]


def cost_lowered(episodes):
    episodes[0]["cost"]["judge_words"] = 1


def failure_hidden(episodes):
    episodes[0]["failures"] = ["nan"]


def answer_dropped(episodes):
    episodes[0]["answers"].pop()


def answers_and_belief_turned(episodes):
    """Consistent with itself, so it takes asking the judge again to find; the ledger's own scores no longer follow."""
    surest = _surest(episodes)
    for turn in surest["answers"]:
        for entry in turn:
            if "beliefs" in entry:
                entry["beliefs"].reverse()
    for belief in surest["beliefs"]:
        belief.reverse()
    surest["belief"].reverse()


FORGED = (
    belief_turned, item_dropped, play_repeated, another_seat, quote_verified, cost_lowered, failure_hidden,
    answer_dropped, answers_and_belief_turned,
)  # fmt: skip


@pytest.mark.parametrize("forge", FORGED)
def test_changed_episodes_are_found(forge, whole, tmp_path, monkeypatch):
    workspace = copied(whole, tmp_path, monkeypatch)
    with Workspace.open(workspace) as ws:
        stage = next(e for e in ws.ledger.events("stage") if e.body["stage"] == "traces: debate, seed 0")
        result = ws.store.get_json(stage.body["result"])
        kept = ws.store.get_json(result["episodes"])
        forge(kept["episodes"])
        digest = ws.store.put_json(result | {"episodes": ws.store.put_json(kept)})
        ws.ledger.append("stage", dict(stage.body) | {"result": digest}, actor="evaluator")
    assert recount(workspace).findings


def test_a_cell_that_holds_another_protocols_plays_is_found(whole, tmp_path, monkeypatch):
    workspace = copied(whole, tmp_path, monkeypatch)
    with Workspace.open(workspace) as ws:
        stages = {e.body["stage"]: e.body for e in ws.ledger.events("stage")}
        other = stages["traces: ensemble, seed 0"]["result"]
        ws.ledger.append("stage", dict(stages["traces: unaided, seed 0"]) | {"result": other}, actor="evaluator")
    assert any(
        "does not follow from its answers" in f.what or "on record" in f.what for f in recount(workspace).findings
    )


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("tasks", []),
        ("tasks", ["chess"]),
        ("tasks", ["traces", "traces"]),
        ("seeds", "0"),
        ("seeds", "1e9"),
        ("protocols", "debate"),
        ("budget", "1"),
        ("curve", ["2"]),
        ("curve", [1]),
        ("curve", "2"),
    ],
)
def test_a_strangers_board_that_no_program_plays_is_a_finding(whole, tmp_path, monkeypatch, member, value):
    workspace = copied(whole, tmp_path, monkeypatch)
    with Workspace.open(workspace) as ws:
        (run,) = ws.ledger.events("run")
        body = json.loads(json.dumps(dict(run.body)))
        ws.ledger.append("run", body | {"board": body["board"] | {member: value}}, actor="notary")
    found = recount(workspace).findings
    assert found
    assert all(finding.seq is not None for finding in found)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"protocols": ("debat",)}, "there is no protocol 'debat': use any of bisection"),
        ({"budget": 1}, "budget 1, 1 seeds from 0, 1 tasks: a board has a budget of 2 to 32"),
        ({"seeds": 0}, "0 seeds from 0"),
        ({"seed": -1}, "1 seeds from -1"),
        ({"tasks": ()}, "0 tasks"),
        ({"tasks": ("slips", "slips")}, "the task slips is named 2 times"),
        ({"curve": (2, 99)}, "budget 4, 2, 99"),
        ({"judge": "family:huge"}, "huge"),
    ],
)
def test_bad_input_is_named_before_anything_is_written(tmp_path, changes, said):
    with pytest.raises(SuperalignError, match=said):
        play_board(config(tmp_path, **changes))
    assert not (tmp_path / "ws").exists()


def test_what_cannot_be_played_is_left_out_with_a_reason():
    chosen = chosen_protocols(OversightConfig())
    names = {task: [cell.name for cell in cells_of(task, chosen)] for task in ("slips", "traces", "pixels")}
    assert "bisection" in names["traces"]
    assert "bisection" not in names["slips"]
    assert "critique" not in names["pixels"]
    assert why_not("critique", True, "pixels").startswith("no claim about a pixel")
    assert all("unaided" + ADAPTED in cells for cells in names.values()), "adapting itself needs a control"


def test_failures_stay_in_the_denominator():
    usual = {"seed": 0, "sides": [], "failures": [], "cost": {"judge_words": 1, "judge_checks": 0, "adviser_words": 0}}
    usual["cost"]["adviser_asks"] = 0
    episodes = [
        {**usual, "item": "p", "belief": [0.9, 0.1]},
        {**usual, "item": "q", "belief": None, "failures": ["nan"]},
        {**usual, "item": "r", "belief": None},
    ]
    rows = rows_of(episodes, {"p": 0, "q": 0, "r": 1}, {"p": "f", "q": "f", "r": "g"})
    assert rows.failures == {"nan": 1, "no answer": 1}
    assert len(rows) == 3
    assert math.isclose(rows.belief[0], 0.9)


def test_presets_differ_in_size_only():
    assert dataclasses.asdict(board_sizes("quick")).keys() == dataclasses.asdict(board_sizes("default")).keys()
    assert board_sizes("quick").items < board_sizes("default").items


def test_a_board_without_debate_has_no_primary_contrast(tmp_path):
    play_board(config(tmp_path, protocols=("critique",), budget=2))
    assert "board.traces.critique - unaided" in measured(tmp_path / "ws")
    assert recount(tmp_path / "ws").findings == ()


def test_checks_are_made_and_another_adviser_says_other_things(tmp_path):
    spent, quoted = {}, {}
    for size in ("xs", "m"):
        own = config(tmp_path / size, protocols=("debate", "debate with a check"), tasks=("slips",), budget=2)
        play_board(dataclasses.replace(own, advisers=f"family:{size}"))
        with Workspace.open(own.workspace, create=False, write=False) as ws:
            for stage in ws.ledger.events("stage"):
                if stage.body["stage"] == "slips: debate with a check, seed 0":
                    episodes = ws.store.get_json(ws.store.get_json(stage.body["result"])["episodes"])["episodes"]
                    spent[size] = {e["cost"]["judge_checks"] for e in episodes}
                    quoted[size] = [[q[0] for m in e["messages"] for q in m["quotes"]] for e in episodes]
    assert spent["m"] == {1}
    assert quoted["xs"] != quoted["m"]


def test_rules_are_played_with_readers_that_are_trained_once(tmp_path):
    said = []
    own = config(tmp_path, tasks=("rules",), protocols=("debate",))
    play_board(own, say=said.append)
    assert sum(text.startswith("reader of rules") for text in said) == 2
    assert "board.rules.debate, adapted judge.accuracy" in measured(tmp_path / "ws")
    assert recount(tmp_path / "ws").findings == ()
    again = []
    play_board(dataclasses.replace(own, protocols=("debate", "oracle")), say=again.append)
    assert "rules: oracle, seed 0" in again


def test_pictures_are_judged_by_a_net_that_never_saw_the_lesson(tmp_path, monkeypatch):
    left_out = []

    def quick(*, without, **options):
        left_out.append(without)
        return train_pixel_judge(without=without, **options, steps=20)

    monkeypatch.setattr(board_seats, "train_pixel_judge", quick)
    play_board(config(tmp_path, tasks=("pixels",), protocols=("debate",)))
    assert verify(tmp_path / "ws").ok
    assert recount(tmp_path / "ws").findings == ()
    lesson = page_of("pixels", "train", TINY)
    assert {item.cluster for item in lesson.items} <= set(left_out[0])
    assert "board.pixels.deference.accuracy" not in measured(tmp_path / "ws")


def test_two_boards_in_one_workspace_stay_apart(whole, tmp_path, monkeypatch):
    workspace = copied(whole, tmp_path, monkeypatch)
    key = play_board(config(tmp_path / "copy", protocols=("debate",), budget=6))["board"]
    with Workspace.open(workspace, create=False, write=False) as ws:
        boards = {plan.body["board"] for plan in ws.ledger.events("plan")}
    assert len(boards) == 2
    assert key in boards
    assert recount(workspace).findings == ()


def test_a_plan_sealed_after_the_fact_is_a_finding(tmp_path, monkeypatch):
    append = Ledger.append

    def late(self, type, body, *, actor):
        if type == "plan" and not list(self.events("stage")):
            return None
        return append(self, type, body, actor=actor)

    monkeypatch.setattr(Ledger, "append", late)
    play_board(config(tmp_path, protocols=("oracle",)))
    monkeypatch.undo()
    monkeypatch.setenv("SUPERALIGN_KEYS", str(tmp_path / "keys"))
    assert any("before its plan was sealed" in finding.what for finding in recount(tmp_path / "ws").findings)
