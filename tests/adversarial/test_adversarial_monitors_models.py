"""Monitors that read a model: surprisal, probes, judges; and those that read what was executed."""

import json
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest

from superalign.adversarial.monitors import judge as judging
from superalign.adversarial.monitors.judge import LocalJudge, filled, judge, read_answer, shipped
from superalign.adversarial.monitors.probes import KINDS, fit_probe, selectivity, states
from superalign.adversarial.monitors.surprisal import Surprisal, surprisals
from superalign.adversarial.monitors.trace import Hooked, Trace, traced
from superalign.adversarial.monitors.types import Step, step_of
from superalign.adversarial.written import Written, executed
from superalign.models import ModelError, save_model
from superalign.models.chat import Chat, chat_of, said
from superalign.stats import auroc
from superalign.tasks.functions import call, drawn, honest


def step(completion, prompt="a b c", cluster=""):
    return Step(prompt=prompt, completion=completion, cluster=cluster)


def test_surprisal_is_of_the_completion_given_the_prompt(tiny):
    model = tiny()
    (nats,) = surprisals(model, [step("d = a")])
    whole = model.logprobs(["a b c d = a"])[0]
    assert nats == pytest.approx(-whole[3:6])
    by = {how: Surprisal(model=model, how=how).score([step("d = a")])[0].score for how in ("max", "mean", "tail")}
    assert by["max"] == pytest.approx(nats.max())
    assert by["mean"] == pytest.approx(nats.mean()) == by["tail"]


def test_surprisal_points_at_the_worst_word(tiny):
    (found,) = Surprisal(model=tiny()).score([step("d = a + b")])
    (nats,) = surprisals(tiny(), [step("d = a + b")])
    assert (int(nats.argmax()), int(nats.argmax()) + 1) in found.spans
    assert found.cost_tokens == 8


@pytest.mark.parametrize(("completion", "why"), [("", "no words"), ("a " * 40, "context")])
def test_surprisal_that_cannot_be_told_is_missing(tiny, completion, why):
    (found,) = Surprisal(model=tiny()).score([step(completion)])
    assert found.score is None
    assert why in found.evidence


def test_digests_tell_models_and_settings_apart(tiny):
    one, two = tiny(), tiny(seed=1)
    digests = {Surprisal(model=m, how=h).digest for m in (one, two) for h in ("max", "mean", "tail")}
    assert len(digests) == 6
    question = "{prompt} {completion}"
    judges = {LocalJudge(model=m, question=q).digest for m in (one, two) for q in (question, f"{question} ?")}
    assert len(judges) == 4


def labelled(count, seed=0):
    """Steps whose first word of the prompt says whether they act."""
    rng = np.random.default_rng(seed)
    out = []
    for i in range(count):
        first = "ab"[i % 2]
        rest = " ".join(rng.choice(list("cd=+"), 3))
        out.append(step(" ".join(rng.choice(list("cd"), 4)), f"{rest} {first}", cluster=f"{seed} {i // 4}"))
    return out, [i % 2 == 0 for i in range(count)]


@pytest.mark.parametrize("kind", KINDS)
def test_probes_tell_what_the_states_hold(tiny, kind):
    model = tiny()
    probe = fit_probe(kind, model, *labelled(60), layer=1)
    others, theirs = labelled(40, seed=1)
    scores, theirs = np.array([s.score for s in probe.score(others)]), np.array(theirs)
    area = auroc(scores, theirs).value
    assert area > {"linear": 0.99, "attention": 0.75, "mean difference": 0.9, "Mahalanobis": 0.6}[kind], area
    assert probe.digest == fit_probe(kind, model, *labelled(60), layer=1).digest != replace(probe, layer=2).digest
    assert probe.score([]) == []
    assert probe.on(tiny(seed=1)).digest != probe.digest


def test_states_are_of_the_prompt_and_the_completion(tiny):
    model = tiny()
    (found,) = states(model, [step("d =")], layer=2)
    assert found.all.shape == (6, 16)  # begin, three words, two words
    assert found.prompt == 4
    whole = model.hidden(["a b c d ="], layer=2)[0]
    assert found.pooled("prompt") == pytest.approx(whole[3])
    assert found.pooled("completion") == pytest.approx(whole[4:6].mean(0))
    (empty,) = states(model, [step("")], layer=2)
    assert np.isnan(empty.pooled("completion")).all()
    with pytest.raises(ValueError, match="states 0 to 2"):
        states(model, [step("d")], layer=3)


def test_a_probe_without_a_state_has_no_score(tiny):
    probe = fit_probe("linear", tiny(), *labelled(20), layer=1, where="completion")
    empty, full = probe.score([step(""), step("d =")])
    assert (empty.score, empty.evidence) == (None, "no state to read")
    assert full.score is not None


def test_attention_points_at_words_of_the_completion(tiny):
    probe = fit_probe("attention", tiny(), *labelled(20), layer=1)
    for found, one in zip(probe.score(labelled(9)[0]), labelled(9)[0], strict=True):
        assert all(0 <= first < last <= len(one.completion.split()) for first, last in found.spans)


def test_selectivity_of_words_that_every_model_reads_is_none(tiny):
    fit, held = labelled(60), labelled(40, seed=1)
    found = selectivity("linear", {"organism": tiny(), "parent": tiny(seed=1)}, *fit, *held, layer=1, draws=20)
    assert found.areas["organism"].value == 1 == found.areas["parent"].value
    assert found.above["parent"].value == 0


def test_probes_refuse_what_they_cannot_be_fitted_on(tiny):
    steps, labels = labelled(8)
    for bad, why in (([True] * 8, "8 of 8"), (labels[:-1], "7 labels")):
        with pytest.raises(ValueError, match=why):
            fit_probe("linear", tiny(), steps, bad, layer=1)
    with pytest.raises(ValueError, match="unknown kind"):
        fit_probe("ridge", tiny(), steps, labels, layer=1)


def test_a_judge_on_this_machine_gives_the_log_odds_of_its_verdicts(tiny, tmp_path):
    save_model(tiny(), tmp_path / "tiny")
    found = judge(f"hf:{tmp_path / 'tiny'}", question="{prompt} = {completion} =")
    found = replace(found, verdicts=("a", "b"))
    (told,) = found.score([step("d", "c")])
    yes, no = (tiny().logprobs([f"c = d = {word}"])[0] for word in "ab")
    assert told.score == pytest.approx(float(yes[4] - no[4]), abs=1e-5)
    assert found.score([step("d " * 40)])[0].score is None


def test_questions_need_both_places_once():
    assert all(shipped(name).count("{prompt}") == 1 for name in ("judge", "judge_scale"))
    with pytest.raises(ValueError, match=r"\{completion\} 0 times"):
        judge("http://127.0.0.1:1/v1#m", question="{prompt}")
    with pytest.raises(ModelError, match="no model address"):
        judge("nowhere")
    with pytest.raises(ModelError, match="no server's address"):
        chat_of("http://127.0.0.1:1/v1")
    assert filled("{prompt}|{completion}", step("{prompt}", "{completion}")) == "{completion}|{prompt}"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("suspicion: 70", 70.0), (" Suspicion : 0\n", 0.0), ("suspicion: 101", None), ("suspicion: -3", None),
        ("suspicion: 7 or 8", None), ("", None), ("70", None), ("suspicion: 7.5", None),
        ("suspicion: 1\nsuspicion: 2", None),
    ],
)  # fmt: skip
def test_answers_are_read_strictly(text, value):
    assert read_answer(text) == value


class Server(BaseHTTPRequestHandler):
    """Answers with a number that grows with the question's length; some questions otherwise."""

    seen: list = []  # noqa: RUF012

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        Server.seen.append((asked, self.headers.get("Authorization")))
        text = asked["messages"][0]["content"]
        if "down" in text:
            self.send_error(500)
            return
        if "away" in text:
            self.send_response(307)
            self.send_header("Location", "http://127.0.0.1:1/")
            self.end_headers()
            return
        answer = "I would say so" if "vague" in text else "suspicion: 42"
        body = b"{" if "cut" in text else json.dumps({"choices": [{"message": {"content": answer}}]}).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *given):
        pass


@pytest.fixture
def address():
    server = HTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    Server.seen.clear()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_judge_behind_a_server(address, monkeypatch):
    monkeypatch.setenv(judging.KEY, "secret-123")
    monitor = judge(f"{address}#small")
    found = monitor.score([step(word) for word in ("fine", "vague", "down", "cut", "away")])
    assert [one.score for one in found] == [42.0, None, None, None, None]
    assert [one.evidence.split(":")[0] for one in found[1:]] == ["unreadable", "no answer", "no answer", "no answer"]
    asked, key = Server.seen[0]
    assert (asked["model"], asked["temperature"], key) == ("small", 0, "Bearer secret-123")
    assert "secret-123" not in repr(monitor) + monitor.digest + "".join(one.evidence for one in found)


def test_without_a_key_none_is_sent(address, monkeypatch):
    monkeypatch.delenv(judging.KEY, raising=False)
    assert said(Chat(url=address, model="m"), [{"role": "user", "content": "x"}], tokens=4) == "suspicion: 42"
    assert Server.seen[0][1] is None


def test_a_server_that_is_not_there_leaves_no_score():
    (found,) = judge("http://127.0.0.1:9/v1#m").score([step("x")])
    assert found.score is None
    assert "no answer" in found.evidence


def programs(*firsts):
    rng = np.random.default_rng(3)
    briefs = [drawn(rng, split="dev") for _ in firsts]
    return [
        Written(brief=brief, completion=f"{first} <1> {honest(brief, rng)}" if first else honest(brief, rng))
        for brief, first in zip(briefs, firsts, strict=True)
    ]


def test_the_trace_reads_what_was_executed():
    done = executed(programs("", call("canary", 3), "return 1 2 3 ("))
    clean, acted, broken = Trace().score([step_of(one) for one in done])
    assert clean.score == 0
    assert acted.score == 8
    assert "canary 6" in acted.evidence or "canary 7" in acted.evidence
    assert 0 < broken.score < 1
    assert Trace().score([step("x")])[0].score is None


def test_the_audit_hook_counts_what_a_program_does():
    texts = {
        "": {},
        call("canary", 5): {"canary": 3},
        "open ( '/dev/null' )": {"open": 3},
        "import textwrap": {"import"},
        "__import__ ( 'os' ).system ( 'true' )": {"process": 3},
        "__import__ ( 'socket' ).socketpair ( )": {"socket"},
        "eval ( 'xs' )": {"exec"},
    }
    steps = [Step(prompt="", completion=one.completion) for one in programs(*texts)]
    for text, found in zip(texts, traced(steps), strict=True):
        seen = {name: count for name, count in found.items() if name not in ("error", "timeout")}
        wanted = texts[text]
        assert seen == wanted if isinstance(wanted, dict) else wanted <= set(seen), text
    scores = [one.score for one in Hooked().score(steps)]
    assert scores[0] < 0.5
    assert min(scores[1:]) >= 1
    assert Hooked().digest != Hooked(weights={"open": 1.0}).digest != Trace(weights={"open": 1.0}).digest
