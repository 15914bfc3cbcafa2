"""Leaderboards with models that speak: played over a real loopback server, kept, counted, and verified without one."""

import dataclasses
import json
import re
import shutil

import pytest

from superalign.evidence import SuperalignError, Workspace, verify
from superalign.models.remote import KeyRefused, SpendingLimit
from superalign.pipeline import board as board_module
from superalign.pipeline import spoken as spoken_module
from superalign.pipeline.board import play_board
from superalign.pipeline.board_config import BoardSizes, OversightConfig
from superalign.pipeline.board_scores import chosen_protocols, left_out
from superalign.pipeline.recount import recount
from superalign.pipeline.rerun import rerun

from .spoken_talker import Talker, faulty

SIZES = BoardSizes(items=12, lesson=20, games=6, judge_steps=2, adviser_steps=2)
PRICE = (100.0, 400.0)
KEY = "sk-very-secret-0123456789"


@pytest.fixture(autouse=True)
def tiny(monkeypatch, tmp_path):
    monkeypatch.setenv("SUPERALIGN_KEYS", str(tmp_path / "keys"))
    monkeypatch.setattr(board_module, "board_sizes", lambda preset: SIZES)


def config(folder, **changes):
    usual = {"preset": "quick", "tasks": ("traces",), "protocols": ("debate",), "advisers": "family:s", "price": PRICE}
    return OversightConfig(workspace=folder / "ws", **usual | changes)


def spoken(folder, server, **changes):
    at = faulty.at(server)
    return config(folder, **{"judge": at, "advisers": at} | changes)


def results(path):
    """Cell → its stage's result."""
    with Workspace.open(path, create=False, write=False) as ws:
        return {e.body["stage"]: ws.store.get_json(e.body["result"]) for e in ws.ledger.events("stage")}


def episodes(path, stage):
    with Workspace.open(path, create=False, write=False) as ws:
        return ws.store.get_json(results(path)[stage]["episodes"])["episodes"]


def measured(path):
    with Workspace.open(path, create=False, write=False) as ws:
        return {e.body["name"]: e.body for e in ws.ledger.events("measurement")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A board on which both speak, played once, some refusals and garbage among the answers."""
    folder = tmp_path_factory.mktemp("spoken")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SUPERALIGN_KEYS", str(folder / "keys"))
        patch.setattr(board_module, "board_sizes", lambda preset: SIZES)
        with faulty.running(Talker(refuses=0.15, garbles=0.15)) as server:
            own = spoken(folder, server, protocols=("debate", "critique", "consultancy"))
            told = []
            play_board(own, tell=told.append)
    return folder, own, server, told[0]


def test_it_verifies_without_any_server(whole):
    _, own, _, _ = whole
    assert verify(own.workspace).ok
    counted = recount(own.workspace)
    assert counted.findings == ()
    assert counted.followed == len(measured(own.workspace)) + 1
    (finding,) = rerun(own.workspace).findings
    assert "such boards end at level 2" in finding.what


def test_the_ledger_knows_the_model_by_its_address_and_the_prompts_by_their_digests(whole):
    _, own, _, _ = whole
    with Workspace.open(own.workspace, create=False, write=False) as ws:
        (run,) = ws.ledger.events("run")
        told = run.body["spoken"]
        assert told["who"]["judge"]["unseen"] is True
        assert set(told["prompts"]) == {"judge", "debater", "critic", "consultant", "helpful"}
        for prompt in told["prompts"].values():
            assert b"## system" in ws.store.get(prompt["digest"])
        names = {node.name for node in ws.state.graph.nodes.values() if node.kind == "model"}
        assert f"{own.judge}, weights unseen" in names
        assert "judge of traces, debate, weights unseen" in names
        assert any("weights unseen" in e.body["reason"] for e in ws.ledger.events("base"))
        assert "price" not in run.body["board"]
        assert run.body["board"]["judge_by"] == "auto"
    assert results(own.workspace)["traces: debate, seed 0"]["spoken"]["using"] == "logprob"


def test_refusals_and_garbage_are_failures_of_their_kind_and_the_debate_goes_on(whole):
    _, own, _, _ = whole
    played = episodes(own.workspace, "traces: debate, seed 0")
    kinds = [kind for e in played for kind in e["failures"]]
    assert {"refused: a", "not JSON: b"} <= set(kinds)
    assert len(played) == 2 * SIZES.items
    assert all(e["belief"] is not None for e in played), "whoever was refused an advocate is judged all the same"
    assert all(len(e["messages"]) == 4 for e in played)
    tags = measured(own.workspace)["board.traces.debate.accuracy"]["tags"]
    assert dict(tags["failures"]) == {kind: kinds.count(kind) for kind in sorted(set(kinds))}
    replies = {seat: dict(found) for seat, found in tags["replies"].items()}
    assert replies["a"]["refused"] >= 1
    assert sum(replies["a"].values()) == 2 * len(played), "two turns a play"
    assert tags["by"] == "logprob"


def test_costs_are_tokens_at_their_price_and_equal_requests_count_in_each_play(whole):
    _, own, server, told = whole
    found = measured(own.workspace)
    for cell in ("unaided", "debate", "critique"):
        read, written = (found[f"board.traces.{cell}.tokens {way} per play"]["value"] for way in ("read", "written"))
        usd = found[f"board.traces.{cell}.usd per play"]["value"]
        assert usd == pytest.approx((read * PRICE[0] + written * PRICE[1]) / 1e6)
        accuracy = found[f"board.traces.{cell}.accuracy"]["value"]
        assert found[f"board.traces.{cell}.usd per correct"]["value"] == pytest.approx(usd / accuracy)
    assert set(server.completed.values()) == {1}, "nothing was asked twice"
    assert told.calls >= sum(server.completed.values()), "an upper bound"
    paid = sum(found[f"board.traces.{c}.usd per play"]["value"] for c in ("unaided", "ensemble", "debate")) * 12
    assert told.usd > paid


def copied(whole, tmp_path, monkeypatch):
    shutil.copytree(whole[0], tmp_path / "copy")
    monkeypatch.setenv("SUPERALIGN_KEYS", str(tmp_path / "copy" / "keys"))
    return tmp_path / "copy" / "ws"


def replaced(raw):
    """The raw response of another answer: the letter that was less likely is the more likely one."""
    told = json.loads(raw)
    shown = told["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
    for row in shown:
        row["logprob"] = -3.0 if row["token"] == "A" else -0.05
    told["choices"][0]["logprobs"]["content"][0]["logprob"] = -3.0
    return json.dumps(told).encode()


@pytest.mark.parametrize("how", ["damaged", "replaced", "dropped", "silenced", "cheaper", "by another way"])
def test_a_raw_response_that_is_not_what_was_answered_is_found(how, whole, tmp_path, monkeypatch):
    workspace = copied(whole, tmp_path, monkeypatch)
    with Workspace.open(workspace) as ws:
        stage = next(e for e in ws.ledger.events("stage") if e.body["stage"] == "traces: unaided, seed 0")
        result = ws.store.get_json(stage.body["result"])
        told = result["spoken"]
        heard, silent = ws.store.get_json(told["heard"]), ws.store.get_json(told["silent"])
        key, raw = next(iter(heard.items()))
        if how == "damaged":
            path = ws.store.path(raw)
            path.chmod(0o644)
            path.write_bytes(replaced(path.read_bytes()))
        if how == "replaced":
            # all: where nothing that is shown differs, both orders are one request, and its answer tells nothing
            heard = {key: ws.store.put(replaced(ws.store.get(raw))) for key, raw in heard.items()}
        if how == "dropped":
            del heard[key]
        if how == "silenced":
            del heard[key]
            silent[key] = ["none", "timeout"]
        if how == "cheaper":
            bills = ws.store.get_json(told["bills"])
            bills["plays"][0]["judge"][0] -= 1
            told["bills"] = ws.store.put_json(bills)
        if how == "by another way":
            told["using"] = "samples"
        told |= {"heard": ws.store.put_json(heard), "silent": ws.store.put_json(silent)}
        digest = ws.store.put_json(result)
        ws.ledger.append("stage", dict(stage.body) | {"result": digest}, actor="evaluator")
    found = [finding.what for finding in recount(workspace).findings]
    assert any("can't be recomputed" in what for what in found), found


def test_a_judge_that_speaks_is_asked_for_verdicts_only_and_never_searched_against(tmp_path):
    with faulty.running(Talker()) as server:
        own = config(tmp_path, judge=faulty.at(server), protocols=("debate", "critique"))
        play_board(own)
        asked = sum(server.completed.values())
    with Workspace.open(own.workspace, create=False, write=False) as ws:
        heard = set()
        for result in results(own.workspace).values():
            if "spoken" in result:
                heard |= set(ws.store.get_json(result["spoken"]["heard"]))
    assert asked == len(heard) + 1, "what the cells heard, and its first answer"
    debates = episodes(own.workspace, "traces: debate, seed 0")
    assert all(len(e["answers"]) == 3 for e in debates), "two turns of talk, one verdict, nothing for the record"
    assert max(e["cost"]["adviser_asks"] for e in debates) > 0, "advisers search, against the stand-in"
    assert verify(own.workspace).ok
    assert recount(own.workspace).findings == ()


def test_advisers_that_speak_work_for_a_judge_of_this_machine(tmp_path):
    with faulty.running(Talker()) as server:
        own = config(
            tmp_path, judge="family:xs", advisers=faulty.at(server), protocols=("debate", "debate with a check")
        )
        play_board(own)
    assert {"traces: unaided, adapted judge, seed 0", "traces: debate, seed 0"} <= set(results(own.workspace))
    assert "traces: debate, adapted judge, seed 0" not in results(own.workspace)
    assert all("judge" not in measured(own.workspace)["board.traces.debate.accuracy"]["tags"]["replies"] for _ in "x")
    assert recount(own.workspace).findings == ()


def test_what_trains_players_by_hundreds_of_plays_is_left_out_with_the_reason():
    judged = OversightConfig(judge="inspect:openai/gpt-4o")
    advised = OversightConfig(advisers="http://127.0.0.1:1/v1#m")
    assert "market making" not in chosen_protocols(judged)
    assert "by hundreds of plays" in left_out(judged)["market making"]
    assert "recursive reward modelling" in left_out(judged)
    assert "recursive reward modelling" not in left_out(advised), "no adviser speaks in it"
    assert left_out(OversightConfig()) == {}
    with pytest.raises(SuperalignError, match="market making: it trains its players"):
        chosen_protocols(dataclasses.replace(judged, protocols=("market making",)))


def test_a_provider_without_log_probabilities_is_asked_for_samples(tmp_path):
    with faulty.running(Talker(gives=False)) as server:
        own = spoken(tmp_path, server, protocols=("critique",), samples=4)
        play_board(own)
    told = results(own.workspace)["traces: unaided, seed 0"]["spoken"]
    assert told["using"] == "samples"
    beliefs = {round(e["belief"][0], 6) for e in episodes(own.workspace, "traces: unaided, seed 0")}
    assert len(beliefs) > 1
    assert recount(own.workspace).findings == ()


def test_a_judge_can_be_tempered_on_the_lesson_and_its_scale_follows(tmp_path, monkeypatch):
    with faulty.running(Talker()) as server:
        own = spoken(tmp_path, server, protocols=("critique",), temper=6)
        told = []
        play_board(own, tell=told.append)
        assert told[0].calls >= sum(server.completed.values())
    scale = results(own.workspace)["traces: the judge in words, tempered, seed 0"]["scale"]
    assert {r["spoken"]["scale"] for r in results(own.workspace).values() if "spoken" in r} == {scale}
    assert recount(own.workspace).findings == ()
    with Workspace.open(own.workspace) as ws:
        stage = next(e for e in ws.ledger.events("stage") if "tempered" in e.body["stage"])
        result = ws.store.get_json(stage.body["result"]) | {"scale": scale + 0.5}
        ws.ledger.append("stage", dict(stage.body) | {"result": ws.store.put_json(result)}, actor="evaluator")
    assert any("scale" in finding.what for finding in recount(own.workspace).findings)


def test_a_limit_that_is_reached_ends_the_board_and_a_higher_one_goes_on_from_there(tmp_path):
    with faulty.running(Talker()) as server:
        free = spoken(tmp_path / "free", server)
        play_board(free)
        whole = sum(server.completed.values())
        with Workspace.open(free.workspace, create=False, write=False) as ws:
            bills = [
                ws.store.get_json(r["spoken"]["bills"])["plays"] for r in results(ws.path).values() if "spoken" in r
            ]
        read, written = (
            sum(tokens[i] for plays in bills for play in plays for tokens in play.values()) for i in (0, 1)
        )
        cost = (read * PRICE[0] + written * PRICE[1]) / 1e6
    with faulty.running(Talker()) as server:
        own = spoken(tmp_path, server, limit=0.85 * cost)
        told = []
        with pytest.raises(SpendingLimit, match="what was answered is kept"):
            play_board(own, tell=told.append)
        assert told[0].over.startswith("traces: ")
        part = sum(server.completed.values())
        assert 0 < part < whole
        done = set(results(own.workspace))
        play_board(dataclasses.replace(own, limit=3 * cost))
        assert set(server.completed.values()) == {1}, "nothing that was paid for was asked again"
        assert sum(server.completed.values()) == whole
        play_board(dataclasses.replace(own, limit=cost / 2), tell=told.append)
        assert told[-1].calls == 0, "nothing is left to ask: no limit is in the way"
        assert not told[-1].over
    assert done < set(results(own.workspace))
    assert recount(own.workspace).findings == ()
    with faulty.running(Talker()) as server:
        with pytest.raises(SpendingLimit, match=r"would cost at least .* nothing was sent"):
            play_board(spoken(tmp_path / "poor", server, limit=cost / 50))
        assert not server.received
    assert not (tmp_path / "poor" / "ws").exists()


def test_an_expired_key_is_said_and_no_key_is_ever_written(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_KEY", "sk-" + "expired-9876543210")
    with faulty.running(Talker(), key=KEY) as server:
        own = spoken(tmp_path, server, protocols=("critique",), key_from="MY_KEY")
        with pytest.raises(KeyRefused, match=r"the key in MY_KEY .401.: is it expired") as error:
            play_board(own)
        assert "expired-9876543210" not in str(error.value)
        monkeypatch.setenv("MY_KEY", KEY)
        play_board(own)
    held = b"".join(path.read_bytes() for path in (tmp_path / "ws").rglob("*") if path.is_file())
    assert KEY.encode() not in held
    assert b"expired-9876543210" not in held
    assert recount(own.workspace).findings == ()


def test_faults_of_a_server_become_counted_failures_or_are_tried_again(tmp_path):
    with faulty.running(Talker(), faults={"500": 0.12, "broken": 0.06, "drop": 0.04}, seed=4) as server:
        own = spoken(tmp_path, server, retries=2, judge_by="logprob")
        play_board(own)
    failures = {k for r in measured(own.workspace).values() for k in r["tags"].get("failures", {})}
    assert failures
    assert all(re.fullmatch(r"(server error|malformed|connection): (judge|a|b|adviser)", kind) for kind in failures)
    assert recount(own.workspace).findings == ()


def test_a_judge_that_is_silent_in_most_plays_stops_the_board_and_the_rest_stays(tmp_path):
    with faulty.running(Talker()) as server:
        own = spoken(tmp_path, server, retries=0)
        server.faults["500"] = 0.9
        with pytest.raises(SuperalignError, match=r"gave no first answer|no verdict in .* server error: judge"):
            play_board(own)
        server.faults.clear()
        play_board(own)
    assert recount(own.workspace).findings == ()


@pytest.mark.filterwarnings("ignore:The 'initial' parameter:DeprecationWarning")  # of tenacity, in Inspect
def test_a_model_behind_inspect_plays_the_same_board(tmp_path, monkeypatch):
    pytest.importorskip("inspect_ai")
    monkeypatch.setenv("LOOP_API_KEY", KEY)
    with faulty.running(Talker(), key=KEY) as server:
        monkeypatch.setenv("LOOP_BASE_URL", server.url)
        address = "inspect:openai-api/loop/talker"
        own = config(tmp_path, judge=address, advisers=address)
        play_board(own)
        with faulty.running(Talker()) as bare:
            other = spoken(tmp_path / "bare", bare)
            play_board(other)
    assert recount(own.workspace).findings == ()
    mine, its = (episodes(each.workspace, "traces: debate, seed 0") for each in (own, other))
    for ours, theirs in zip(mine, its, strict=True):
        assert ours["messages"] == theirs["messages"]
        assert ours["belief"] == pytest.approx(theirs["belief"])


class Here(Talker):
    """A talker that counts as a model of this machine: its identity has a digest of weights."""

    identity = "here@" + "ab" * 32


def test_a_model_of_this_machine_that_is_asked_in_words_is_played_again(tmp_path, monkeypatch):
    monkeypatch.setattr(spoken_module, "speaker_at", lambda address, terms: Here())
    own = config(tmp_path, judge="words:family:xs", advisers="words:family:xs", protocols=("debate", "critique"))
    play_board(own)
    assert verify(own.workspace).ok
    assert recount(own.workspace).findings == ()
    again = rerun(own.workspace)
    assert again.findings == ()
    assert (again.asked, again.largest) == (5, 0.0)
    monkeypatch.setattr(Here, "_value", lambda self, name, form, draw: "B" if name == "verdict" else [])
    assert any("are otherwise" in finding.what for finding in rerun(own.workspace).findings)
    monkeypatch.setattr(Here, "identity", "here@" + "cd" * 32)
    assert any("and here is here@cdcd" in finding.what for finding in rerun(own.workspace).findings)


def test_a_context_that_overflows_in_every_play_stops_the_board_and_says_so(tmp_path):
    with pytest.raises(SuperalignError, match=r"no verdict in 12 of 12 plays .context: adviser: 12"):
        play_board(config(tmp_path, advisers="words:family:xs"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"judge": "http://127.0.0.1:1/v1"}, "is no server's address: write http://HOST:PORT/v1#MODEL"),
        ({"judge": "words:inspect:a/b"}, "behind words: stands a model of this machine"),
        ({"judge": "inspect:none"}, "write inspect:PROVIDER/MODEL"),
        ({"samples": 3}, "an even number"),
        ({"judge_prompt": "judg"}, "no prompt is called judg"),
        ({"judge_prompt": "debater"}, "is one of an adviser"),
        ({"judge_prompt": "judge-reasons", "judge_by": "logprob"}, "choose by='samples'"),
        ({"advise": "trained"}, "by the thousand"),
        ({"adviser_prompts": ("critic=mine.md",)}, "are for advisers that speak"),
        ({"advisers": "words:family:xs", "adviser_prompts": ("nobody=critic",)}, "write SEAT=NAME or SEAT=FILE.md"),
        (
            {"advisers": "words:family:xs", "adviser_prompts": ("critic=judge",), "protocols": ("critique",)},
            "of a judge",
        ),
        ({"price": None, "limit": 1.0}, "--limit is set, but what http.* costs is unknown: give --price"),
        ({"key_from": "NO_SUCH_KEY"}, "the environment variable NO_SUCH_KEY holds no key"),
        ({"concurrency": 0}, "concurrency is 0"),
        ({"temper": -1}, "--temper -1"),
    ],
)
def test_bad_options_are_named_before_anything_is_written(changes, said, tmp_path):
    with pytest.raises(SuperalignError, match=said):
        play_board(config(tmp_path, **{"judge": "http://127.0.0.1:1/v1#m"} | changes))
    assert not (tmp_path / "ws").exists()
