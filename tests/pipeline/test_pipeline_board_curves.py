"""Further budgets, seeds in the intervals, errors beside the adviser's, and going on only where there is a board."""

import dataclasses
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from superalign import stats
from superalign.cli import main
from superalign.evidence import SuperalignError, Workspace, WorkspaceLocked, verify
from superalign.oversight.agreement import capa
from superalign.oversight.costs import cost_per_correct
from superalign.oversight.incentives import agent_score_difference
from superalign.oversight.rows import episode_rows
from superalign.oversight.scores import accuracy, bits_gained, calibration, correct, mean_score
from superalign.oversight.twoway import ONE, crossed_mean
from superalign.pipeline import board as board_module
from superalign.pipeline.board import play_board, played_before
from superalign.pipeline.board_config import BoardSizes, OversightConfig, settled
from superalign.pipeline.board_curves import at_budget, budget_cells, cells_in_all
from superalign.pipeline.board_parts import error_similarity, parts_of, reliability
from superalign.pipeline.board_scores import chosen_protocols
from superalign.pipeline.board_talks import worst
from superalign.pipeline.recount import recount
from superalign.report.leaderboard import write_leaderboard

TINY = BoardSizes(items=14, lesson=20, games=8, judge_steps=2, adviser_steps=2)


@pytest.fixture(scope="module")
def curved(tmp_path_factory):
    """A board of two seeds and one further budget, stopped in the middle of it, resumed and finished."""
    folder, said, rest = tmp_path_factory.mktemp("curved"), [], []
    config = OversightConfig(
        workspace=folder / "ws", preset="quick", tasks=("traces",), protocols=("debate",), advisers="family:s",
        seeds=2, curve=(2,),
    )  # fmt: skip

    class Stop(Exception):
        pass

    def say(text):
        said.append(text)
        if "budget 2, seed 0" in text:
            raise Stop

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SUPERALIGN_KEYS", str(folder / "keys"))
        patch.setattr(board_module, "board_sizes", lambda preset: TINY)
        with pytest.raises(Stop):
            play_board(config, say=say)
        before = played_before(config)
        play_board(dataclasses.replace(config, resume=True), say=rest.append)
        yield config, said, rest, before


def found_in(config):
    with Workspace.open(config.workspace, create=False, write=False) as ws:
        return {e.body["name"]: e.body for e in ws.ledger.events("measurement")}


def test_a_resumed_board_plays_what_was_left_and_nothing_else(curved):
    config, said, rest, (done, total) = curved
    assert (done, total) == (len(said) - 1, len(cells_in_all(settled(config), chosen_protocols(config))))
    assert not set(said[:-1]) & set(rest)
    assert len(said[:-1]) + len(rest) == total
    assert played_before(config) == (total, total)


def test_every_further_budget_is_measured_beside_the_boards_own(curved):
    config, *_ = curved
    found = found_in(config)
    for name in ("unaided", "debate, adapted judge"):
        few, usual = (found[f"board.traces.{which}.judge tokens per play"] for which in (at_budget(name, 2), name))
        assert few["value"] < usual["value"], "who may read less reads less"
        assert few["tags"]["curve"] == name
        assert (few["tags"]["budget"], usual["tags"]["budget"]) == (2, 4)
        assert 0 <= found[f"board.traces.{at_budget(name, 2)}.accuracy"]["value"] <= 1


def test_seeds_are_in_the_intervals_that_a_stranger_recomputes(curved):
    config, *_ = curved
    assert verify(config.workspace).ok
    counted = recount(config.workspace)
    assert counted.findings == ()
    found = found_in(config)
    assert counted.followed == len(found) + 1
    assert all(
        "2 seeds are in the interval" in found[f"board.traces.debate.{p}"]["note"] for p in ("accuracy", "brier")
    )
    assert "2 seeds are in the interval" in found["board.traces.debate - unaided"]["note"]
    assert found["board.traces.debate.calibration error"]["note"] == "2 seeds pooled"
    assert {"corrected", "same", "verdict", "seeds"} <= found["board.traces.debate - unaided"]["tags"].keys()


def test_a_changed_curve_is_found(curved, tmp_path, monkeypatch):
    config, *_ = curved
    shutil.copytree(config.workspace.parent, tmp_path / "copy")
    monkeypatch.setenv("SUPERALIGN_KEYS", str(tmp_path / "copy" / "keys"))
    workspace = tmp_path / "copy" / "ws"
    with Workspace.open(workspace) as ws:
        stage = next(e for e in ws.ledger.events("stage") if "unaided, budget 2, seed 1" in e.body["stage"])
        result = ws.store.get_json(stage.body["result"])
        kept = ws.store.get_json(result["episodes"])
        kept["episodes"] = kept["episodes"][1:]
        digest = ws.store.put_json(result | {"episodes": ws.store.put_json(kept)})
        ws.ledger.append("stage", dict(stage.body) | {"result": digest}, actor="evaluator")
    assert any("plays are stored where" in finding.what for finding in recount(workspace).findings)


def test_the_page_shows_the_curve_and_the_seeds(curved, tmp_path):
    config, *_ = curved
    with Workspace.open(config.workspace, create=False, write=False) as ws:
        text = write_leaderboard(ws, tmp_path / "page.html").read_text()
    for part in (
        "At equal budgets",
        "2 pieces",
        "What it costs",
        "Liars, incentives, errors",
        "over 2 seeds",
        "p of not alike",
    ):
        assert part in text
    assert "<script" not in text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"budget": 6, "seeds": 3}, "--budget was 4 and is 6; --seeds was 2 and is 3. Repeat its options"),
        ({"tasks": ("slips", "traces")}, "--tasks was traces and is slips traces"),
        ({"curve": ()}, "--curve was 2 and is none"),
        ({"protocols": ()}, "--protocols was debate and is none"),
        ({"judge": "family:s"}, "--judge was family:xs and is family:s"),
    ],
)
def test_nothing_is_resumed_with_other_options(curved, changes, said):
    config, *_ = curved
    events = found_in(config)
    with pytest.raises(SuperalignError, match=said):
        play_board(dataclasses.replace(config, resume=True, **changes))
    assert found_in(config) == events


def test_nothing_is_resumed_where_there_is_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("SUPERALIGN_KEYS", str(tmp_path / "keys"))
    config = OversightConfig(workspace=tmp_path / "ws", preset="quick", resume=True)
    with pytest.raises(SuperalignError, match="no workspace"):
        play_board(config)
    assert not config.workspace.exists()
    Workspace.open(config.workspace).close()
    with pytest.raises(SuperalignError, match="it holds none; start one without --resume"):
        play_board(config)


def test_two_at_once_into_one_workspace_is_a_sentence(tmp_path, monkeypatch):
    """Another process holds the workspace: the verb says which, changes nothing, and can be run again after it."""
    monkeypatch.setenv("SUPERALIGN_KEYS", str(tmp_path / "keys"))
    hold = (
        "import sys; from pathlib import Path; from superalign.evidence import Workspace\n"
        "with Workspace.open(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", hold, str(tmp_path / "ws")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(WorkspaceLocked, match=f"in use by process {other.pid}: wait until it has finished"):
            play_board(OversightConfig(workspace=tmp_path / "ws", preset="quick"))
        with pytest.raises(SystemExit, match=r"superalign: the workspace .* is in use by process"):
            main(["oversight", "--preset", "quick", "--workspace", str(tmp_path / "ws")])
        other.stdin.close()
    with Workspace.open(tmp_path / "ws") as ws:
        assert list(ws.ledger.events("run")) == []


def test_every_option_reaches_the_board(tmp_path, monkeypatch, capsys):
    """`--tasks --protocols --judge --advisers --budget --seeds --curve --json`: all of it is what the ledger says."""
    monkeypatch.setenv("SUPERALIGN_KEYS", str(tmp_path / "keys"))
    sizes = BoardSizes(items=12, lesson=16, games=6, judge_steps=2, adviser_steps=2)
    monkeypatch.setattr(board_module, "board_sizes", lambda preset: sizes)
    options = (
        "--preset quick --tasks slips traces --protocols critique --judge family:s --advisers family:xs --budget 3"
    )
    arguments = ["oversight", *options.split(), "--seeds", "1", "--seed", "5", "--workspace", str(tmp_path / "ws")]
    main([*arguments, "--json"])
    answer = json.loads(capsys.readouterr().out)
    tags = [row["tags"] for row in answer["measurements"]]
    assert {t["task"] for t in tags} == {"slips", "traces"}
    assert {t["protocol"] for t in tags} >= {"unaided", "deference", "ensemble", "critique"}
    assert {(t["budget"], t["seeds"]) for t in tags} == {(3, 1)}
    with Workspace.open(tmp_path / "ws", create=False, write=False) as ws:
        (run,) = ws.ledger.events("run")
        stated = run.body["board"]
        assert {
            e.body["stage"].rpartition(", seed ")[2] for e in ws.ledger.events("stage") if "seed" in e.body["stage"]
        } == {"5"}
    wanted = {"tasks": ["slips", "traces"], "protocols": ["critique"], "judge": "family:s", "advisers": "family:xs"}
    assert wanted.items() <= stated.items()
    assert (stated["budget"], stated["seeds"], stated["seed"], stated["curve"]) == ("3", "1", "5", [])
    main([*arguments, "--resume"])
    told = capsys.readouterr()
    assert told.err.startswith("resuming: 10 of 10 cells are played")
    with pytest.raises(SystemExit, match="--budget was 3 and is 4"):
        main([*arguments, "--resume", "--budget", "4"])


def test_further_budgets_are_those_of_the_preset_unless_they_are_named():
    assert settled(OversightConfig()).curve == (2, 8)
    assert settled(OversightConfig(preset="quick")).curve == ()
    assert settled(OversightConfig(budget=8)).curve == (2,)
    assert settled(OversightConfig(curve=(8, 2, 8, 4))).curve == (2, 8)
    assert settled(OversightConfig(curve=(4,))).curve == (), "how to have none"


def test_a_curve_holds_what_was_chosen_and_can_be_played():
    config = OversightConfig(protocols=("debate",))
    cells = budget_cells("pixels", 2, chosen_protocols(config))
    assert [cell.name for cell in cells] == [
        "unaided, budget 2", "ensemble, budget 2", "debate, adapted judge, budget 2",
    ]  # fmt: skip
    assert cells[2].protocol.title == "two advisers, 1 quote each, at once"


def played(seeds=1, n=60, number=0, sides=("honest", "dishonest")):
    """Plays of a consultant, of nobody, and what the adviser believes."""
    rng = np.random.default_rng(number)
    hard = np.tile(rng.normal(size=n), seeds)
    item = np.tile([f"q{i}" for i in range(n)], seeds)
    cluster, seed = np.tile([f"c{i % 45}" for i in range(n)], seeds), np.repeat(np.arange(seeds), n)

    def rows(shift, noise, **more):
        size = len(more.get("side", item))
        again = size // len(item)
        logit = np.repeat(hard, again) + shift + noise * rng.normal(size=size)
        columns = {"item": np.repeat(item, again), "cluster": np.repeat(cluster, again), "seed": np.repeat(seed, again)}
        costs = {"judge tokens": rng.integers(5, 40, size), "judge checks": np.zeros(size)}
        return episode_rows(**columns, belief=1 / (1 + np.exp(-logit)), costs=costs, **more)

    return rows(0.3, 1.0, side=list(sides) * len(item)), rows(0.2, 1.5), rows(2.0, 0.5)


def test_parts_of_one_seed_are_those_of_the_rooms_own_measures():
    rows, unaided, adviser = played()
    found, known = parts_of(rows, unaided, adviser), accuracy(rows)
    expected = {
        "accuracy": known.overall,
        "honest": known.honest,
        "dishonest": known.dishonest,
        "wrong conviction": known.wrong_conviction,
        "brier": mean_score(rows, "brier"),
        "bits gained": bits_gained(rows, unaided),
        "score difference": agent_score_difference(rows),
        "calibration error": calibration(rows).error,
        "judge tokens per correct": cost_per_correct(rows.costs["judge tokens"], correct(rows), clusters=rows.cluster),
    }
    for part, interval in expected.items():
        mine = found[part]
        assert (mine.value, mine.low, mine.high) == pytest.approx((interval.value, interval.low, interval.high))
        assert mine.note.endswith(ONE)
    assert found.keys() == expected.keys() | {"error similarity", "judge tokens per play"}
    assert "judge checks per correct" not in found


def test_with_seeds_intervals_are_those_over_both():
    rows, unaided, adviser = played(seeds=5)
    found = parts_of(rows, unaided, adviser)
    known = crossed_mean(rows.costs["judge tokens"], rows.cluster, rows.seed)
    assert found["judge tokens per play"] == known
    for part, interval in found.items():
        if part != "calibration error":
            assert "5 seeds are in the interval" in interval.note, part
            assert interval.low < interval.value < interval.high


def test_errors_are_compared_with_those_of_the_adviser_on_the_same_play():
    rows, _, adviser = played(seeds=1)
    at = {item: i for i, item in enumerate(adviser.item.tolist())}
    q = adviser.belief[[at[item] for item in rows.item.tolist()]]
    sides = (np.column_stack([p, 1 - p]) for p in (rows.belief, q))
    known, found = capa(*sides, np.zeros(len(rows), dtype=int), clusters=rows.cluster), error_similarity(rows, adviser)
    assert (found.value, found.low, found.high) == pytest.approx((known.value, known.low, known.high))
    assert found.value > 0.05, "both find the same items hard"


def test_who_never_errs_shares_no_errors():
    n = 50
    sure, unsure = (
        episode_rows(item=np.arange(n), cluster=np.arange(n), belief=np.full(n, p)) for p in (1 - 1e-14, 0.7)
    )
    for rows, adviser in ((sure, sure), (unsure, sure), (sure, unsure)):
        assert error_similarity(rows, adviser).value is None
        assert "no errors to compare" in error_similarity(rows, adviser).note


def test_an_adviser_without_that_play_is_an_error():
    rows, _, adviser = played()
    few = episode_rows(item=adviser.item[:9], cluster=adviser.cluster[:9], belief=adviser.belief[:9])
    with pytest.raises(KeyError):
        error_similarity(rows, few)


def test_reliability_is_over_both_options_and_adds_up_to_the_decomposition():
    rows = played(n=80)[1]
    bins = reliability(rows)
    assert sum(events for _, _, events in bins) == 2 * len(rows)
    known = calibration(rows)
    mine = sum(events * (said - came) ** 2 for said, came, events in bins) / (2 * len(rows))
    assert mine == pytest.approx(known.reliability)
    assert len(bins) == known.bins
    assert [said for said, _, _ in bins] == sorted(said for said, _, _ in bins)


def test_calibration_of_a_judge_that_says_half_is_one_bin():
    rows = episode_rows(item=np.arange(40), cluster=np.arange(40), belief=np.full(40, 0.5))
    assert reliability(rows) == [[0.5, 0.5, 80]]
    assert stats.calibration_error([0.5] * 20, [0, 1] * 10).value == 0


def test_conversations_can_be_read_by_themselves():
    from types import SimpleNamespace

    test = SimpleNamespace(page=SimpleNamespace(items=[SimpleNamespace(id="q", options=("a", "b"))]))
    message = {"speaker": "adviser", "side": 1, "text": "", "belief": [0.2, 0.8]}
    episode = {
        "protocol": "consultancy", "item": "q", "question": "which ?", "belief": [0.1, 0.9],
        "beliefs": [[0.4, 0.6], [0.1, 0.9]],
        "messages": [
            message | {"quotes": [[0, ["x = 1", "x = 2"], True], [1, ["y", "y"], False]], "charges": [[0, 3, False]]},
            message | {"quotes": [], "charges": [], "belief": []},
            message | {"quotes": [], "charges": [], "belief": [], "text": "<b>trust</b> me"},
        ],
    }  # fmt: skip
    (talk,) = worst(test, [episode], {"q": 0})
    assert [(line["who"], line["what"]) for line in talk["lines"]] == [
        ("question", "which ?"),
        ("truth", "a"),
        (
            "adviser, for b",
            "a: “x = 1”, b: “x = 2”; “y” in either (not in the text); a is wrong at piece 3: checked, it is not; "
            "believes a 0.200, b 0.800",
        ),
        ("adviser, for b", "(silence)"),
        ("adviser, for b", "in words: “<b>trust</b> me”"),
        ("judge, turn by turn", "believes a: 0.40 → 0.10"),
        ("verdict", "a 0.100, b 0.900"),
    ]
    assert worst(test, [episode], {"q": 1}) == [], "that one was right"
