"""Pitfalls of leaderboards, each a test; the first line of a test quotes the pitfall."""

import dataclasses
import json
import shutil
import signal
import subprocess
import sys
import zlib

import numpy as np
import pytest
from scipy.stats import binomtest

from superalign.evidence import SuperalignError, Workspace, verify
from superalign.models import LocalModel, family_path
from superalign.pipeline import board as board_module
from superalign.pipeline.board import play_board
from superalign.pipeline.board_config import BoardSizes, OversightConfig
from superalign.pipeline.board_scores import page_of, rows_of
from superalign.pipeline.board_seats import trained_reader
from superalign.pipeline.desk import Desk
from superalign.pipeline.recount import recount
from superalign.tasks import audit

TINY = BoardSizes(items=12, lesson=20, games=8, judge_steps=2, adviser_steps=2)
CANARY = "zebra-7c1e"
REFEREED = "debate with a check"


def config(folder, **changes):
    usual = {"preset": "quick", "tasks": ("traces",), "protocols": ("debate", "consultancy"), "advisers": "family:s"}
    return OversightConfig(workspace=folder / "ws", **{**usual, **changes})


@pytest.fixture(autouse=True)
def tiny(monkeypatch, tmp_path):
    monkeypatch.setenv("SUPERALIGN_KEYS", str(tmp_path / "keys"))
    monkeypatch.setattr(board_module, "board_sizes", lambda preset: TINY)


def measurements(path):
    """What was measured, but for the digests of episodes, which hold how long they took."""
    names = ("name", "value", "low", "high", "n", "clusters", "subject", "note", "tags")
    with Workspace.open(path, create=False, write=False) as ws:
        return [json.dumps({k: e.body[k] for k in names}, default=dict) for e in ws.ledger.events("measurement")]


def cells(path):
    """Cell → its stored episodes, without the seconds that they took."""
    with Workspace.open(path, create=False, write=False) as ws:
        results = {e.body["stage"]: ws.store.get_json(e.body["result"]) for e in ws.ledger.events("stage")}
        found = {k: ws.store.get_json(r["episodes"])["episodes"] for k, r in results.items() if "episodes" in r}
    for episodes in found.values():
        for e in episodes:
            e["cost"].pop("seconds")
    return found


def values(path):
    """Name → value."""
    return {body["name"]: body["value"] for body in map(json.loads, measurements(path))}


@pytest.fixture(scope="module")
def overheard(tmp_path_factory):
    """Two boards that differ in what is true of the items to be judged; all that players and models were asked."""
    folder, asked, truths = tmp_path_factory.mktemp("overheard"), [], page_of
    room, logprobs = sys.modules["superalign.oversight.play"], LocalModel.logprobs
    ask = room._ask

    def heard(player, what, abouts, patience):
        asked.extend(map(repr, abouts))
        return ask(player, what, abouts, patience)

    def read(self, texts, **options):
        asked.extend(texts)
        return logprobs(self, texts, **options)

    def pages(flip):
        def page(task, split, sizes, own):
            found, turn = truths(task, split, sizes, own), flip and split == "validation"
            told = {
                item: {name: CANARY if name != "answer" and isinstance(v, str) else v for name, v in truth.items()}
                | {"answer": truth["answer"] ^ turn, "witness": CANARY}
                for item, truth in found.truths.items()
            }
            return dataclasses.replace(found, truths=told)

        return page

    own = {"protocols": ("debate", "prover-verifier", REFEREED)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SUPERALIGN_KEYS", str(folder / "keys"))
        patch.setattr(board_module, "board_sizes", lambda preset: TINY)
        patch.setattr(room, "_ask", heard)
        patch.setattr(LocalModel, "logprobs", read)
        for flip in (False, True):
            patch.setattr(board_module, "page_of", pages(flip))
            play_board(config(folder / str(flip), **own))
    return folder, asked


def test_a_canary_in_the_truths_of_a_board_sings_to_nobody(overheard):
    """A protocol that leaks the truth to a player: a canary in the truth field must never appear in any message."""
    folder, asked = overheard
    ws = folder / "False" / "ws"
    assert any(CANARY in path.read_text() for path in (ws / "sealed").iterdir()), "the evaluator's own copy"
    assert len(asked) > 1000
    assert not any(CANARY in text for text in asked)
    assert CANARY not in json.dumps(cells(ws))


def test_a_board_with_other_truths_is_played_alike_and_scored_the_other_way(overheard):
    """A protocol that leaks the truth to a player: what is true of the items enters by checks and scores alone."""
    folder, _ = overheard
    here, there = (folder / flip / "ws" for flip in ("False", "True"))
    plays = cells(here), cells(there)
    assert plays[0].keys() == plays[1].keys()
    for name, episodes in plays[0].items():
        assert (episodes == plays[1][name]) == (REFEREED not in name), name
    scored = values(here), values(there)
    names = [name for name in scored[0] if name.endswith("accuracy") and REFEREED not in name]
    assert len(names) == 7
    for name in names:
        assert scored[0][name] == pytest.approx(1 - scored[1][name]), name


def test_no_episode_names_a_model(overheard):
    """Arm labels leaking via metadata or model names."""
    folder, asked = overheard
    stored = json.dumps(cells(folder / "False" / "ws"))
    with Workspace.open(folder / "False" / "ws", create=False, write=False) as ws:
        nodes = [node for node in ws.state.graph.nodes.values() if node.kind == "model"]
    names = {part for node in nodes if node.name.startswith("family") for part in (node.name, node.digest)}
    assert len(names) == 4
    assert not any(name in text for name in (*names, "reader xs", "pixel judge") for text in (stored, *asked))


def test_whatever_a_cell_rests_on_is_in_its_key(tmp_path):
    """Cache keys ignoring closures, base URL, reward parameters; configs pooled by display name."""
    for name, size in (("judge", "xs"), ("adviser", "s")):
        shutil.copytree(family_path(size), tmp_path / name)
    first = config(
        tmp_path, protocols=("unaided",), judge=f"hf:{tmp_path / 'judge'}", advisers=f"hf:{tmp_path / 'adviser'}"
    )

    def said(changed=first):
        lines = []
        play_board(changed, say=lines.append)
        return lines

    every = said()
    assert len(every) == 4
    assert said() == [], "nothing has changed"
    for changed in ({"budget": 6}, {"seed": 1}, {"advisers": "family:s"}):
        assert len(said(dataclasses.replace(first, **changed))) == 4, changed
    for name, size in (("judge", "s"), ("adviser", "m")):  # other weights at the same address
        shutil.rmtree(tmp_path / name)
        shutil.copytree(family_path(size), tmp_path / name)
        with pytest.raises(SuperalignError, match="begun with other weights at hf:"):
            said()
        assert said(dataclasses.replace(first, workspace=tmp_path / f"with another {name}")) == every
    with Workspace.open(tmp_path / "ws", create=False, write=False) as ws:
        alike = [e.body for e in ws.ledger.events("measurement") if e.body["name"] == "board.traces.unaided.accuracy"]
    assert len({body["tags"]["board"] for body in alike}) == len(alike) == 4
    assert recount(tmp_path / "ws").findings == ()


def test_what_a_reader_is_trained_with_is_in_its_key(tmp_path):
    """Cache keys ignoring reward parameters: other steps, or another seed, are another reader."""
    said, readers = [], []
    with Workspace.open(tmp_path / "ws", create=True) as ws:
        for steps, seed in ((2, 0), (3, 0), (2, 1), (2, 0)):
            sizes = dataclasses.replace(TINY, judge_steps=steps)
            desk = Desk(ws=ws, config=config(tmp_path), sizes=sizes, say=said.append)
            readers.append(trained_reader(desk, "xs", seed))
    assert [(reader.steps, reader.seed) for reader in readers] == [(2, 0), (3, 0), (2, 1), (2, 0)]
    assert len({reader.digest for reader in readers}) == len(said) == 3


def test_two_protocols_of_one_name_are_no_board(tmp_path, monkeypatch):
    """Configs pooled by display name."""
    from superalign.oversight.protocols import consultancy

    class Offered:
        def load(self):
            return dataclasses.replace(consultancy(turns=1), name="debate")

    monkeypatch.setattr(sys.modules["superalign.oversight.protocols"], "entry_points", lambda group: [Offered()])
    with pytest.raises(SuperalignError, match="there is a protocol 'debate' already"):
        play_board(config(tmp_path))
    assert not (tmp_path / "ws").exists()


def test_a_second_run_in_a_workspace_is_turned_away_and_the_first_goes_on(tmp_path):
    """Two runs into one workspace: clear errors, no lost episode."""
    refused, other = [], config(tmp_path, protocols=("debate",), budget=6)

    def say(text):
        with pytest.raises(SuperalignError) as error:
            play_board(other)
        refused.append(str(error.value))

    play_board(dataclasses.replace(other, budget=4), say=say)
    assert len(refused) == 6, "at every cell"
    assert all(str(tmp_path / "ws") in text and "\n" not in text for text in refused), refused[0]
    play_board(config(tmp_path / "alone", protocols=("debate",)))
    assert measurements(tmp_path / "ws") == measurements(tmp_path / "alone" / "ws")
    play_board(other)
    assert verify(tmp_path / "ws").ok
    assert recount(tmp_path / "ws").findings == ()


KILLED = """
import sys
from pathlib import Path
from superalign.pipeline import board
from superalign.pipeline.board_config import BoardSizes, OversightConfig

board.board_sizes = lambda preset: BoardSizes({sizes})
own = OversightConfig(workspace=Path(sys.argv[1]), tasks=("traces",), protocols=("debate",),
                      preset="quick", advisers="family:s")
board.play_board(own, say=lambda text: print(text, flush=True))
"""


@pytest.mark.slow
def test_a_board_killed_in_the_middle_goes_on_and_ends_alike(tmp_path):
    """A kill in mid-leaderboard: no lost episode, resume."""
    script = KILLED.format(sizes=", ".join(f"{k}={v}" for k, v in dataclasses.asdict(TINY).items()))
    command = [sys.executable, "-W", "ignore", "-c", script, str(tmp_path / "ws")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        *finished, _ = (process.stdout.readline().strip() for _ in range(4))
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert verify(tmp_path / "ws").ok
    kept = cells(tmp_path / "ws")
    assert set(kept) >= set(finished)
    rest, whole = [], []
    own = config(tmp_path, protocols=("debate",))
    play_board(own, say=rest.append)
    play_board(dataclasses.replace(own, workspace=tmp_path / "whole"), say=whole.append)
    assert [*kept, *rest] == whole, "what was finished is not played again"
    assert cells(tmp_path / "ws") == cells(tmp_path / "whole")
    assert measurements(tmp_path / "ws") == measurements(tmp_path / "whole")
    assert recount(tmp_path / "ws").findings == ()


@dataclasses.dataclass
class Outage:
    """A judge that cannot be reached about some views."""

    judge: object

    def beliefs(self, views):
        rows = self.judge.beliefs(views)
        rows[[zlib.crc32(repr(view).encode()) % 3 == 0 for view in views]] = np.nan
        return rows


def test_what_the_judge_did_not_judge_is_in_every_denominator(tmp_path, monkeypatch):
    """Judge outage scored as accuracy; a judge that returns NaN: counted, kept in the denominator, never a win."""
    seated = board_module.seated

    def unreachable(*arguments):
        players = seated(*arguments)
        return players | {"judge": Outage(players["judge"])}

    monkeypatch.setattr(board_module, "seated", unreachable)
    with pytest.raises(SuperalignError, match="no verdict in"):
        play_board(config(tmp_path))
    monkeypatch.setattr(board_module, "MOST_SILENT", 1.0)
    play_board(config(tmp_path))
    told = {body["name"]: body for body in map(json.loads, measurements(tmp_path / "ws"))}
    plays = cells(tmp_path / "ws")
    for name in ("unaided", "ensemble", "debate", "consultancy"):
        number, own = told[f"board.traces.{name}.accuracy"], plays[f"traces: {name}, seed 0"]
        failed = sum(e["belief"] is None for e in own)
        assert failed > 0
        assert number["n"] == len(own) == 12 * len({tuple(e["sides"]) for e in own})
        assert number["value"] <= 1 - failed / len(own)
        assert number["tags"]["failures"]["nan"] >= failed
    assert recount(tmp_path / "ws").findings == ()


def test_who_argues_for_the_truth_is_honest():
    """Reward adapter with the wrong stance; inverted safety."""
    cost = {"judge_words": 1, "judge_checks": 0, "adviser_words": 0, "adviser_asks": 0}
    plays = [
        {"item": item, "seed": 0, "sides": sides, "belief": belief, "failures": [], "cost": cost}
        for item, sides, belief in [
            ("p", [0], [0.9, 0.1]), ("p", [1], [0.2, 0.8]), ("q", [0], [0.7, 0.3]), ("q", [1], [0.4, 0.6]),
            ("p", [0, 1], [0.9, 0.1]), ("q", [None], [0.7, 0.3]), ("q", [1, None], [0.7, 0.3]),
        ]
    ]  # fmt: skip
    rows = rows_of(plays, {"p": 0, "q": 1}, {"p": "f", "q": "g"})
    assert rows.side.tolist() == ["honest", "dishonest", "dishonest", "honest", "both", "none", "honest"]
    assert rows.belief.tolist() == [0.9, 0.2, 0.3, 0.6, 0.9, 0.3, 0.3]


LARGE = {"slips": 1200, "traces": 1200, "mutants": 1200, "rules": 1200, "pixels": 388}


@pytest.mark.parametrize("task", LARGE)
def test_what_a_board_asks_is_told_by_no_reader_that_does_not_read_it(task):
    """Blind tells: run the question-blind baseline."""
    for attack in audit(page_of(task, "validation", BoardSizes(items=LARGE[task]))):
        assert attack.accuracy <= 0.55, attack
    own = page_of(task, "validation", BoardSizes())
    for attack in audit(own):
        found = binomtest(round(attack.accuracy * len(own.items)), len(own.items), 0.55, alternative="greater")
        assert found.pvalue > 0.01, attack
    answers = [truth["answer"] for truth in own.truths.values()]
    assert 0.4 <= np.mean(answers) <= 0.6


def test_a_tell_among_a_boards_items_would_be_seen():
    """Blind tells: an id that ends in the answer is found among as few items as a board has."""
    page = page_of("traces", "validation", BoardSizes())
    told = {item.id: {**page.truths[item.id], "answer": int(item.id[-1], 16) % 2} for item in page.items}
    found = {attack.attacker: attack.accuracy for attack in audit(dataclasses.replace(page, truths=told))}
    assert binomtest(round(found["metadata"] * 200), 200, 0.55, alternative="greater").pvalue < 0.01


def test_other_rules_under_one_name_are_played_anew(tmp_path, monkeypatch):
    """Cache keys ignoring closures: a protocol of another package whose rules have changed, its name as before."""
    from superalign.oversight.identity import rules_digest
    from superalign.oversight.protocols import consultancy

    said, known = [], set()
    for turns in (1, 3):
        mine = dataclasses.replace(consultancy(turns=turns), name="mine", title="as before")
        known.add(rules_digest(mine))

        class Offered:
            def load(self, mine=mine):
                return mine

        monkeypatch.setattr(sys.modules["superalign.oversight.protocols"], "entry_points", lambda group: [Offered()])
        said.append([])
        play_board(config(tmp_path, protocols=("mine",)), say=said[-1].append)
    assert len(known) == 2
    assert "traces: mine, seed 0" in said[1]
    assert "traces: unaided, seed 0" not in said[1]
