"""Who can sit at a board's tables: a person, a prompted model, advisers that plan or are trained, stored nets."""

import dataclasses
import functools

import pytest

from superalign.cli import main
from superalign.evidence import SuperalignError, Workspace, verify
from superalign.oversight.advisers import PlanAdviser, SearchAdviser, TrainedAdviser
from superalign.oversight.judges import PersonJudge, Stopped
from superalign.oversight.referee import ExecutingReferee
from superalign.pipeline import board as board_module
from superalign.pipeline import board_seats
from superalign.pipeline.board import play_board
from superalign.pipeline.board_config import BoardSizes, OversightConfig, settled
from superalign.pipeline.board_scores import cells_of, chosen_protocols
from superalign.pipeline.recount import recount

TINY = BoardSizes(items=12, lesson=20, games=8, judge_steps=2, adviser_steps=2)


@pytest.fixture(autouse=True)
def tiny(monkeypatch, tmp_path):
    monkeypatch.setenv("SUPERALIGN_KEYS", str(tmp_path / "keys"))
    monkeypatch.setattr(board_module, "board_sizes", lambda preset: TINY)


def config(tmp_path, **changes):
    plain = {"workspace": tmp_path / "ws", "preset": "quick", "tasks": ("traces",), "advisers": "family:s"}
    return OversightConfig(**plain | changes)


def episodes(path, cell):
    with Workspace.open(path, create=False, write=False) as ws:
        (event,) = [e for e in ws.ledger.events("stage") if e.body["stage"] == f"traces: {cell}, seed 0"]
        return ws.store.get_json(ws.store.get_json(event.body["result"])["episodes"])["episodes"]


def answering(monkeypatch, answers):
    """A calibration fixture: somebody at the terminal who says this, and is kept count of."""
    asked = []

    def ask(prompt):
        asked.append(prompt)
        return answers(len(asked))

    monkeypatch.setattr(board_seats, "PersonJudge", functools.partial(PersonJudge, ask=ask))
    return asked


def test_a_person_judges_stops_and_goes_on_and_no_answer_is_asked_for_twice(tmp_path, monkeypatch):
    own = config(tmp_path, judge="person", protocols=("debate",))
    first = answering(monkeypatch, lambda count: "quit" if count > 15 else "skip" if count == 3 else "80")
    with pytest.raises(Stopped):
        play_board(own)
    second = answering(monkeypatch, lambda count: "80")
    play_board(own)
    debates = episodes(own.workspace, "debate")
    alone = episodes(own.workspace, "unaided")
    views = {str(e["messages"]) + e["item"] for name in ("unaided", "debate") for e in episodes(own.workspace, name)}
    assert len(first) - 1 + len(second) >= len(views)
    assert sum(e["belief"] is None for e in alone) == 1
    assert {tuple(e["belief"]) for e in debates} == {(0.8, 0.2)}
    assert all(len(e["answers"]) == 3 for e in debates), "two turns of talk, one verdict, nothing for the record"
    assert verify(own.workspace).ok
    assert recount(own.workspace).findings == ()
    with Workspace.open(own.workspace, create=False, write=False) as ws:
        nodes = [node for node in ws.state.graph.nodes.values() if node.name.startswith("person of traces")]
        made = {event.body["target"] for event in ws.ledger.events("edge")}
    assert len(nodes) == 4  # unaided, deference, ensemble, debate
    assert not {node.digest for node in nodes} & made, "nobody was fitted"


def test_a_person_is_spared_what_takes_hundreds_of_plays(tmp_path):
    person = settled(config(tmp_path, judge="person", preset="default"))
    chosen = chosen_protocols(person)
    assert person.curve == ()
    assert not {"market making", "prover-verifier", "recursive reward modelling"} & set(chosen)
    assert not any(cell.adapts for cell in cells_of("traces", chosen))
    with pytest.raises(SuperalignError, match="prover-verifier trains its judge by hundreds of plays"):
        chosen_protocols(dataclasses.replace(person, protocols=("prover-verifier",)))


def test_a_prompted_model_judges_and_its_prompt_is_known(tmp_path):
    own = config(tmp_path, judge="prompt:family:s", prompt="short", protocols=("debate",), budget=2)
    play_board(own)
    assert verify(own.workspace).ok
    assert recount(own.workspace).findings == ()
    weights = set()
    with Workspace.open(own.workspace, create=False, write=False) as ws:
        for event in ws.ledger.events("node"):
            if event.body["name"] == "judge of traces, unaided":
                weights.add(event.body["meta"]["weights"])
    assert len(weights) == 1
    with pytest.raises(SuperalignError, match=r"judged by prompt:family:s: .* prompts fits into the model's"):
        play_board(dataclasses.replace(own, prompt="verdict"))


def test_a_prompt_that_there_is_not_is_named(tmp_path):
    with pytest.raises(SuperalignError, match="no prompt is called gut"):
        play_board(config(tmp_path, judge="prompt:family:s", prompt="gut", protocols=("debate",)))
    assert not (tmp_path / "ws").exists()


def test_a_judge_that_is_down_is_no_accuracy(tmp_path, monkeypatch):
    """Judge outage scored as accuracy: nothing is stored, and the cells before it stay."""
    answering(monkeypatch, lambda count: "50" if count <= 12 else "skip")
    own = config(tmp_path, judge="person", protocols=("debate",))
    with pytest.raises(SuperalignError, match=r"traces, ensemble: no verdict in 12 of 12 plays \(.*they are not kept"):
        play_board(own)
    with Workspace.open(own.workspace, create=False, write=False) as ws:
        stages = {e.body["stage"] for e in ws.ledger.events("stage")}
    assert {name for name in stages if name.startswith("traces: ")} == {
        "traces: unaided, seed 0",
        "traces: deference, seed 0",
    }


@pytest.mark.parametrize(("advise", "kind"), [("search", SearchAdviser), ("plan", PlanAdviser)])
def test_advisers_argue_as_asked(tmp_path, monkeypatch, advise, kind):
    seated, found = board_seats.seated, []

    def watched(*args):
        found.append(seated(*args))
        return found[-1]

    monkeypatch.setattr(board_module, "seated", watched)
    own = config(tmp_path, advise=advise, protocols=("consultancy",))
    play_board(own)
    assert {type(players["adviser"]) for players in found} == {kind}
    assert recount(own.workspace).findings == ()


def test_trained_advisers_are_trained_in_the_protocol_that_they_play(tmp_path, monkeypatch):
    made, train = [], board_seats.train_adviser

    def quick(*args, **options):
        made.append((options["protocol"].name, train(*args, **options, rounds=2)))
        return made[-1][1]

    monkeypatch.setattr(board_seats, "train_adviser", quick)
    own = config(tmp_path, advise="trained", protocols=("debate", "open consultancy"))
    play_board(own)
    assert {type(adviser) for _, adviser in made} == {TrainedAdviser}
    assert {name for name, _ in made} == {"debate", "consultancy"}
    assert verify(own.workspace).ok
    assert recount(own.workspace).findings == ()


def test_claims_about_faults_are_checked_by_running_a_test(tmp_path, monkeypatch):
    asked, holds = [], ExecutingReferee.holds

    def counted(self, case, charge):
        asked.append((self.split, holds(self, case, charge)))
        return asked[-1][1]

    monkeypatch.setattr(ExecutingReferee, "holds", counted)
    play_board(config(tmp_path, tasks=("mutants",), protocols=("critique",), checks="executed"))
    stored = recount(tmp_path / "ws")
    assert len(asked) == 12
    assert {split for split, _ in asked} == {"validation"}
    assert stored.findings == (), "what was executed is what the stored verdicts say"


def test_a_net_is_trained_once_and_taken_from_the_store(tmp_path, monkeypatch):
    train, asked = board_seats.train_pixel_judge, []

    def quick(**options):
        asked.append(options["pixels"])
        return train(**options, steps=5)

    monkeypatch.setattr(board_seats, "train_pixel_judge", quick)
    own = config(tmp_path, tasks=("pixels",), protocols=("debate",), curve=(2,))
    play_board(own)
    assert sorted(asked) == [2, 4]
    play_board(dataclasses.replace(own, protocols=("debate", "oracle")))
    assert sorted(asked) == [2, 4], "another board of the same workspace"
    play_board(own)
    with Workspace.open(own.workspace, create=False, write=False) as ws:
        stages = [e.body["stage"] for e in ws.ledger.events("stage")]
    assert sum(name.startswith("judge of pictures") for name in stages) == 4, "entered for either"
    assert recount(own.workspace).findings == ()


def test_the_options_are_those_of_the_command_line(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["oversight", "--advise", "shout", "--workspace", str(tmp_path / "ws")])
    assert "search" in capsys.readouterr().err
