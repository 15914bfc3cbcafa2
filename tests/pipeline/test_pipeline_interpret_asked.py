"""An explainer behind an API: priced before it is asked, within its limit, asked nothing twice, whatever happens."""

import hashlib
import json
import shutil
import threading
from contextlib import closing
from dataclasses import fields, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from superalign.cli import main
from superalign.evidence import SuperalignError, Workspace
from superalign.models.remote import Kept, KeptSpeaker
from superalign.models.speaker import Reply
from superalign.pipeline import interpret as module
from superalign.pipeline import interpret_asked as asked_module
from superalign.pipeline.desk import Desk
from superalign.pipeline.interpret import estimated, interpret
from superalign.pipeline.interpret_asked import settled
from superalign.pipeline.interpret_config import InterpretConfig, InterpretSizes
from superalign.pipeline.interpret_said import SAID
from superalign.pipeline.recount import recount
from superalign.pipeline.spending import SPENDING

TINY = InterpretSizes(
    windows=500, train=3_000, dev=1_500, held=1_500, untrained=0, simulated=1, patterned=0, pairs=24, exact=3, draws=20,
    flips=20,
)  # fmt: skip
KEY = "sk-ends-on-no-day-0123456789"
CALLS = 6 + 2
"""Of the neurons, and of the heads, which are two."""


class Stop(Exception):
    """What a test raises in the middle."""


class Server:
    """What a server was asked, by the requests' bodies, and how it answers: with the status `fail(n)`, if it is one.

    `texts`: what the model reads that it explains.
    """

    def __init__(self):
        self.asked, self.keys, self.fail = [], [], lambda number: None
        self.url, self.texts = "", None
        self._lock = threading.Lock()

    def answer(self, body, key):
        """Status and body."""
        with self._lock:
            self.asked.append(body)
            self.keys.append(key)
            status = self.fail(len(self.asked))
        if isinstance(status, tuple):
            return status
        if status:
            return status, {"error": {"message": f"no {status}, {key}"}}
        token = hashlib.sha256(body).hexdigest()[0]
        said = "it likes code" if token < "4" else json.dumps({"explanation": f"fires on `{token}`, newlines"})
        usage = {"prompt_tokens": 100, "completion_tokens": 64}
        return 200, {"choices": [{"message": {"content": said}}], "usage": usage}


@pytest.fixture(scope="module")
def listening():
    """A server on loopback, the same for all tests: its address names their runs."""
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, told = state.answer(body, self.headers.get("Authorization", ""))
            sent = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as found:
        thread = threading.Thread(target=found.serve_forever, daemon=True)
        thread.start()
        state.url = f"http://127.0.0.1:{found.server_port}/v1#tester"
        yield state
        found.shutdown()
        thread.join()


@pytest.fixture
def server(listening):
    """The same, with nothing behind it."""
    listening.asked, listening.keys, listening.fail = [], [], lambda number: None
    return listening


@pytest.fixture(scope="module")
def begun(tmp_path_factory, listening):
    """A folder with text, and an interpretation that was stopped before its first request."""
    folder = tmp_path_factory.mktemp("asked")
    listening.texts = folder / "texts"
    listening.texts.mkdir()
    lines = "import os\nif x : return y\nfor v in range ( 3 ) : pass\nwhile not z : z = f ( z )\n"
    for number in range(14):
        (listening.texts / f"{number}.txt").write_text(lines * 25)

    def stop(estimate):
        raise Stop

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SUPERALIGN_KEYS", str(folder / "keys"))
        patch.setattr(module, "interpret_sizes", lambda config: TINY)
        with pytest.raises(Stop):
            interpret(config(folder, listening), tell=stop)
    return folder


@pytest.fixture
def folder(begun, tmp_path, monkeypatch):
    """A copy of it to go on in; its texts stay where they are, for the run's name says where."""
    shutil.copytree(begun / "keys", tmp_path / "keys")
    shutil.copytree(begun / "ws", tmp_path / "ws")
    monkeypatch.setenv("SUPERALIGN_KEYS", str(tmp_path / "keys"))
    monkeypatch.setattr(module, "interpret_sizes", lambda config: TINY)
    return tmp_path


def config(folder, server, **changes):
    usual = {"model": "family:xs", "workers": 1, "preset": "quick", "parts": ("explanations",), "described": 6}
    return InterpretConfig(
        **{**usual, "workspace": folder / "ws", "corpus": server.texts, "explainer": server.url, **changes}
    )


def stages(folder):
    with Workspace.open(folder / "ws", create=False, write=False) as ws:
        return [event.body["stage"] for event in ws.ledger.events("stage")]


def holds(folder, text):
    """Is it in any file there?"""
    return [path for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def test_a_dry_run_sends_and_writes_nothing(folder, server, capsys, monkeypatch):
    fresh = replace(config(folder, server, price=(1.0, 4.0), limit=1e-3), workspace=folder / "none")
    told = estimated(fresh)
    assert (told.calls, told.written) == (CALLS, 256 * CALLS)
    assert [(cell.cell, cell.calls) for cell in told.cells] == [("neurons 0", 6), ("heads 0", 2)]
    assert told.usd == pytest.approx((told.read + 4 * told.written) / 1e6)
    assert told.over == "neurons 0"
    assert told.least < told.usd
    with monkeypatch.context() as patch:
        patch.setattr(asked_module, "_put_aside", None)
        again = estimated(config(folder, server, price=(1.0, 4.0)))
    assert replace(again, limit=told.limit, over=told.over) == told, "questions that were put are those that would be"
    options = {"model": "", "preset": "--preset", "corpus": "--corpus", "explainer": "--explainer"}
    line = [part for name, flag in options.items() for part in (flag, str(getattr(fresh, name))) if part]
    rest = ["--parts", "explanations", "--described", "6", "--workers", "1", "--dry-run"]
    main(["interpret", *line, *rest, "--workspace", str(folder / "none"), "--json"])
    said = json.loads(capsys.readouterr().out)
    assert (said["dry_run"], said["calls"], said["usd"]) == (True, CALLS, None)
    assert not server.asked
    assert not (folder / "none").exists()
    assert SAID not in stages(folder)


def test_the_estimate_comes_before_the_first_request_and_bounds_what_is_asked(folder, server):
    before = []
    interpret(config(folder, server, price=(1.0, 4.0)), tell=lambda found: before.append((found, len(server.asked))))
    ((told, asked),) = before
    assert asked == 0
    assert len(server.asked) == len(set(server.asked)) == told.calls == CALLS
    with closing(Kept(folder / "ws")) as kept:
        assert kept.paid(server.url).usd == pytest.approx((100 + 4 * 64) * CALLS / 1e6)
    assert recount(folder / "ws").findings == ()
    interpret(config(folder, server))
    assert len(server.asked) == CALLS
    assert estimated(config(folder, server)).calls == 0


def test_a_limit_in_mid_run_is_an_error_and_a_higher_one_goes_on(folder, server):
    dear = {"price": (0.0, 1e6 / 256), "concurrency": 1}  # a request is a dollar at most, and costs a quarter
    with pytest.raises(SuperalignError, match=r"spent 1\.2500 of 2\.0000 USD.*the same command goes on"):
        interpret(config(folder, server, limit=2.0, **dear))
    assert len(server.asked) == 5
    assert SAID not in stages(folder)
    left = estimated(config(folder, server, limit=2.0, **dear))
    assert (left.calls, left.spent) == (CALLS - 5, pytest.approx(1.25))
    with pytest.raises(SuperalignError, match="spent 1"):
        interpret(config(folder, server, limit=2.0, **dear))
    interpret(config(folder, server, limit=20.0, **dear))
    assert len(server.asked) == len(set(server.asked)) == CALLS
    assert recount(folder / "ws").findings == ()


def test_what_costs_too_much_at_the_least_is_not_begun(folder, server):
    with pytest.raises(SuperalignError, match=r"asking this explainer would cost at least .*nothing was sent"):
        interpret(config(folder, server, price=(0.0, 1e6), limit=1.0))
    assert not server.asked


def test_a_key_that_expires_in_mid_run_is_told_nowhere_and_a_new_one_goes_on(folder, server, monkeypatch, capfd):
    monkeypatch.setenv("MY_KEY", KEY)
    server.fail = lambda number: 401 if number > 3 else None
    with pytest.raises(SuperalignError, match=r"refuses the key in MY_KEY \(401\).*the same command goes on") as error:
        interpret(config(folder, server, key_from="MY_KEY", concurrency=1), say=print)
    assert server.keys == [f"Bearer {KEY}"] * 4
    assert KEY not in str(error.value) + "".join(capfd.readouterr())
    came, server.fail = server.asked[:3], lambda number: None
    monkeypatch.setenv("MY_KEY", f"{KEY}-renewed")
    interpret(config(folder, server, key_from="MY_KEY"))
    assert not set(came) & set(server.asked[4:])
    assert len(server.asked) == 4 + CALLS - 3
    assert server.keys[4:] == [f"Bearer {KEY}-renewed"] * (CALLS - 3)
    assert not holds(folder, KEY)


def test_a_key_without_a_name_is_the_explainers_own(folder, server, monkeypatch):
    monkeypatch.setenv("SUPERALIGN_EXPLAINER_KEY", KEY)
    server.fail = lambda number: 401
    with pytest.raises(SuperalignError, match=r"the key in SUPERALIGN_EXPLAINER_KEY"):
        interpret(config(folder, server))
    assert set(server.keys) == {f"Bearer {KEY}"}


def test_an_outage_is_no_result(folder, server):
    server.fail = lambda number: None if number <= 2 else 500
    with pytest.raises(SuperalignError, match=rf"answered 2 of {CALLS} questions \(server error: {CALLS - 2}\)"):
        interpret(config(folder, server, retries=0, concurrency=1))
    assert SAID not in stages(folder)
    first, server.fail = server.asked[:2], lambda number: None
    interpret(config(folder, server))
    assert sorted(server.asked[CALLS:]) == sorted(set(server.asked) - set(first))


def test_few_answers_that_never_came_are_counted(folder, server):
    server.fail = lambda number: 500 if number <= 2 else None
    interpret(config(folder, server, retries=0, concurrency=1))
    with Workspace.open(folder / "ws", create=False, write=False) as ws:
        (garbage,) = [e.body for e in ws.ledger.events("measurement") if "garbage.neurons 0" in e.body["name"]]
    assert "server error: 2" in garbage["tags"]["kinds"]
    assert recount(folder / "ws").findings == ()


def test_texts_that_the_raw_responses_do_not_say_are_found(folder, server):
    interpret(config(folder, server))
    with Workspace.open(folder / "ws", create=False) as ws:
        event = next(e for e in ws.ledger.events("stage") if e.body["stage"] == SAID)
        told = ws.store.get_json(event.body["result"])
        heard = ws.store.get_json(told["heard"])
        keys = sorted(heard)
        turned = dict(zip(keys, (heard[key] for key in (*keys[1:], keys[0])), strict=True))
        other = ws.store.put_json({**told, "heard": ws.store.put_json(turned)})
        ws.ledger.append("stage", {**event.body, "result": other}, actor="evaluator")
    assert any("not what the raw responses say" in finding.what for finding in recount(folder / "ws").findings)


def test_a_run_of_before_has_no_raw_responses_and_stays_as_it_is(folder, server, monkeypatch):
    """As an earlier version did it: each site's explainer asked where the site is explained."""
    with monkeypatch.context() as patch:
        patch.setattr(module, "answers", lambda *told: {})
        interpret(config(folder, server))
    asked = len(server.asked)
    assert SAID not in stages(folder)
    assert recount(folder / "ws").findings == ()
    interpret(config(folder, server, price=(1.0, 4.0), limit=1.0))
    assert (len(server.asked), estimated(config(folder, server)).calls) == (asked, 0)


def test_what_asking_may_cost_names_no_run(folder, server):
    usual = config(folder, server)
    other = {"concurrency": 2, "per_minute": 9, "tokens_per_minute": 9, "timeout": 3.0, "retries": 1, "limit": 2.0}
    other |= {"price": (1.0, 2.0), "key_from": "PATH", "dry_run": True}
    assert set(other) == set(SPENDING)
    assert settled(replace(usual, **other)) == usual
    with Workspace.open(folder / "ws", create=False, write=False) as ws:
        desk = Desk(ws=ws, config=settled(replace(usual, **other)), sizes=TINY, say=print)
        assert {event.body["run"] for event in ws.ledger.events("stage")} == {desk.key("run")}
        (told,) = [e.body["interpretation"] for e in ws.ledger.events("run") if "interpretation" in e.body]
    assert set(told) == {f.name for f in fields(usual)} - {"workspace", "json", "workers", *SPENDING}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"limit": 1.0}, "what .* costs is unknown: give --price"),
        ({"limit": -1.0, "price": (1.0, 1.0)}, "--limit is -1"),
        ({"concurrency": 0}, "concurrency is 0"),
        ({"key_from": "NO_SUCH_KEY"}, "NO_SUCH_KEY holds no key"),
        ({"explainer": "gpt"}, "is no model's address"),
        ({"explainer": "http://me:secret@127.0.0.1:9/v1#m"}, "holds no key or password"),
        ({"explainer": "", "dry_run": True}, "--explainer names none"),
        ({"explainer": "family:xs", "dry_run": True}, "names one that is read on this machine"),
    ],
)
def test_what_cannot_be_asked_is_said_before_anything_is_done(folder, server, changes, says):
    bad = replace(config(folder, server, **changes), workspace=folder / "none")
    with pytest.raises(SuperalignError, match=says) as error:
        estimated(bad) if bad.dry_run else interpret(bad)
    assert "secret" not in str(error.value)
    assert not (folder / "none").exists()


def test_prompts_beyond_the_context_are_counted_unless_most_are(folder, server):
    told = {"message": "the prompt exceeds the context window"}
    server.fail = lambda number: (400, told) if number <= 2 else None
    interpret(config(folder, server, concurrency=1))
    with Workspace.open(folder / "ws", create=False, write=False) as ws:
        (garbage,) = [e.body for e in ws.ledger.events("measurement") if "garbage.neurons 0" in e.body["name"]]
    assert "context: 2" in garbage["tags"]["kinds"]
    server.fail = lambda number: (400, told)
    with pytest.raises(SuperalignError, match="its context is shorter than what it is asked"):
        interpret(config(folder, server, seed=1))


def test_what_a_model_here_says_in_words_is_kept_too(folder, server, monkeypatch):
    """It costs nothing; it is in the store like other answers, and texts follow from there."""
    asked = []

    class Here:
        identity = "m@" + "ab" * 32

        def ask(self, asks):
            asked.extend(asks)
            return [Reply(kind="answer", text='{"explanation": "fires on newlines"}') for _ in asks]

    def keyed(address, variable, *, terms):
        return KeptSpeaker(Here(), Kept(terms.kept, terms.store)) if terms.kept else Here()

    monkeypatch.setattr(asked_module, "keyed", keyed)
    here = config(folder, server, explainer="words:hf:somewhere", limit=0.0)
    interpret(here)
    assert len(asked) == CALLS
    assert estimated(here).usd == 0
    assert recount(folder / "ws").findings == ()
