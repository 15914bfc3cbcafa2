"""Language models as explainers, judges and simulators: prompts, strict answers, garbage counted, exact simulation."""

from __future__ import annotations

import copy
import json
import re
import shutil
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from superalign.interpretability.compiled import UNDERSTOOD, spoken
from superalign.interpretability.completers import (
    KEY,
    Asked,
    Garbage,
    Messages,
    Schema,
    completer_at,
    local,
    paragraphs,
    parsed,
)
from superalign.interpretability.conditions import lexicon
from superalign.interpretability.corpus import packed
from superalign.interpretability.described import EXPLANATION, describe, judge, window_text
from superalign.interpretability.explanation import Sample, words_of
from superalign.interpretability.judging import areas, detection, highlights, shown_windows
from superalign.interpretability.prompt_files import load_prompt, parse_prompt
from superalign.interpretability.simulated import numbers_of, simulate, surprisal
from superalign.interpretability.units import Site
from superalign.models import LocalModel, family_path, load_model
from superalign.models.remote import KeyRefused, Terms, WrongAddress
from superalign.models.speaker import Ask, Reply

WORDS = tuple(f"w{i}" for i in range(30))


def sample(split: str) -> Sample:
    """Unit 0 fires on w3, unit 1 on w4."""
    rng = np.random.default_rng(0)
    corpus = packed(
        {f"d{i}": rng.integers(1, len(WORDS), (6, 24)).tolist() for i in range(40)}, length=24, pad=0, skip=1
    )
    rows = corpus.rows(split)
    counted = corpus.counted(rows)
    values = np.stack([corpus.ids[rows] == 3, corpus.ids[rows] == 4], axis=-1)[counted].astype(np.float32)
    site = Site(kind="neuron", layer=0, units=2, module="none")
    return Sample(corpus=corpus, site=site, words=WORDS, rows=rows, counted=counted, values=values)


def reader(messages: Messages, *, schema: Schema, seed: int) -> str:
    """An honest model: names the marked word; judges windows by the word in backticks of the explanation."""
    asked = messages[-1]["content"]
    if "explanation" in schema["properties"]:
        marked = re.findall(r"«(\w+) \d+»", asked)
        return json.dumps({"explanation": f"fires on `{max(set(marked), key=marked.count)}`"})
    word = re.search(r"`(\w+)`", asked)
    assert word is not None
    lines = [line for line in asked.splitlines() if re.match(r"\d+\. ", line)]
    marks = "marks are right" in messages[0]["content"]
    said = [int((f"«{word[1]}»" in line) if marks else (word[1] in line.split())) for line in lines]
    return json.dumps({"active": said})


def test_described_compiled_and_judged_from_end_to_end() -> None:
    train, held = sample("train"), sample("validation")
    told = describe(reader, train, shown_windows(train, radius=6, seed=0), units=(0, 1), seed=0, understood=UNDERSTOOD)
    assert told.texts == {0: "fires on `w3`", 1: "fires on `w4`"}
    assert (told.garbage, told.calls) == ({}, 2)
    right = spoken([told.texts[u] for u in range(2)], lexicon(held)).predict(held.ids, held.lengths)
    assert np.array_equal(right[held.counted], held.values)
    shown = shown_windows(held, radius=6, seed=0)
    found = judge(reader, "detect", told.texts, shown, held, seed=0)
    assert (detection(shown, found.scores).value == 1).all()
    assert found.windows == shown.touched
    fuzz = judge(reader, "fuzz", told.texts, shown, held, seed=0)
    which, marked = highlights(shown, seed=0)
    documents = np.where(marked.any(1), shown.documents[which], -1)
    label = np.arange(len(which)) < len(which) // 2
    score = areas(fuzz.scores.max(1), np.broadcast_to(label[:, None], documents.shape), documents, windows=fuzz.windows)
    assert (score.value == 1).all()
    with pytest.raises(ValueError, match="no judgement is called 'guess'"):
        judge(reader, "guess", told.texts, shown, held, seed=0)


def test_garbage_is_counted_and_is_no_evidence() -> None:
    train, held = sample("train"), sample("validation")
    answers = iter(["not json", '{"explanation": "x", "why": 1}', '{"explanation": ""}', '{"explanation": 3}', ""])
    shown = shown_windows(train, radius=6, seed=0)
    told = describe(lambda *a, **k: next(answers), train, shown, units=(0, 1, 0, 1, 0), seed=0)
    assert told.texts == {}
    assert told.garbage == {"not JSON": 1, "other fields": 1, "empty": 2, "another type": 1}
    wordy = describe(lambda *a, **k: json.dumps({"explanation": "word " * 26}), train, shown, units=(0,), seed=0)
    assert wordy.garbage == {"too long": 1}
    shown = shown_windows(held, radius=6, seed=0)
    found = judge(lambda *a, **k: "yes, all of them", "detect", {0: "fires on `w3`"}, shown, held, seed=0)
    assert found.garbage == {"not JSON": found.windows}
    assert (found.scores == 0.5).all(), "neither a yes nor a no"
    assert detection(shown, found.scores).value[0] == 0.5


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("[1, 0]", "not JSON"),
        ('{"other": [1, 0]}', "other fields"),
        ('{"active": [1]}', "empty"),
        ('{"active": [1, 0, 1]}', "too long"),
        ("I'm sorry, I can't.", "refused in words"),
        ('{"active": [1, 2]}', "out of range"),
        ('{"active": [true, false]}', "another type"),
        ('{"active": "10"}', "another type"),
        ('{"active": [1, 0]} and more', "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('Here: ```json\n{"active": [1, 0]}\n```', "not JSON"),
        ("  ", "empty"),
    ],
)
def test_answers_are_read_strictly(said: str, kind: str) -> None:
    numbers = {"type": "array", "items": {"type": "integer", "enum": [0, 1]}, "minItems": 2, "maxItems": 2}
    schema = {"type": "object", "properties": {"active": numbers}, "required": ["active"]}
    assert parsed('{"active": [1, 0]}', schema) == {"active": [1, 0]}
    with pytest.raises(Garbage) as error:
        parsed(said, schema)
    assert error.value.kind == kind


def test_too_long_an_explanation() -> None:
    with pytest.raises(Garbage, match="too long"):
        parsed(json.dumps({"explanation": "x" * 401}), EXPLANATION)


def test_what_explains_never_sees_what_scores() -> None:
    held = sample("validation")
    with pytest.raises(ValueError, match="validation are offered"):
        describe(reader, held, shown_windows(held, radius=6, seed=0), units=(0,), seed=0)


def test_a_window_in_text() -> None:
    train = sample("train")
    shown = shown_windows(train, radius=2, seed=0)
    k = int(np.flatnonzero(shown.windows.rows[:, 0] >= 0)[0])
    text = window_text(train, shown, 0, k, shown.active[k, :, 0], strengths=True)
    assert "«w3 10»" in text
    row, place = shown.windows.rows[k, 0], shown.windows.places[k, 0]
    inside = train.corpus.ids[row, max(1, place - 2) : min(24, place + 3)]
    assert re.sub(r"«(\w+) 10»", r"\1", text).split(" ") == [WORDS[i] for i in inside]


def test_prompts_ship_and_hold_all_that_is_read() -> None:
    shelf = files("superalign.interpretability").joinpath("prompts")
    names = sorted(entry.name[:-3] for entry in shelf.iterdir() if entry.name.endswith(".md"))
    assert names == ["detect", "explain", "fuzz", "simulate"]
    for name in names:
        prompt = load_prompt(name)
        assert (prompt.name, prompt.version) == (name, "1")
        assert len(prompt.digest) == 64
    filled = load_prompt("detect").fill("user", explanation="{{windows}}", windows="w", count=1)
    assert "{{windows}}" in filled, "what is filled in may look like a hole"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("## user\nx\n", "begin with a line ---"),
        ("---\nname: a\nversion: 1\n---\n## user\nx\n", "begin with a line ---"),
        ("---\nname: a\nversion: 1\nplaceholders: b\n---\n## user\n{{c}}\n", "are said to be b, and are c"),
    ],
)
def test_broken_prompts(text: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.md"
    path.write_text(text)
    with pytest.raises(ValueError, match=why):
        load_prompt(path)
    with pytest.raises(ValueError, match=why):
        parse_prompt(text.encode())
    with pytest.raises(ValueError, match="no prompt is called nope: use detect"):
        load_prompt("nope")


class Scripted:
    """A speaker that says what a function says."""

    identity = "small"

    def __init__(self, say: Callable[[Ask], Reply]) -> None:
        self.say, self.seen = say, list[Ask]()

    def ask(self, asks: Sequence[Ask]) -> list[Reply]:
        self.seen += asks
        return [self.say(ask) for ask in asks]


@pytest.fixture
def served(serving: Any) -> Callable[..., tuple[str, Scripted]]:
    """`served(say)`: address of a server on loopback that says what the function says, and what it was asked."""

    def start(say: Callable[[Ask], Reply], *, key: str = "") -> tuple[str, Scripted]:
        speaker = Scripted(say)
        return serving(speaker, key=key), speaker

    return start


def test_a_server_is_asked_for_json(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, "secret")
    address, speaker = served(lambda ask: Reply(kind="answer", text='{"explanation": "x"}'), key="secret")
    complete = completer_at(address)
    assert complete([{"role": "user", "content": "hi"}], schema=EXPLANATION, seed=5) == '{"explanation": "x"}'
    (asked,) = speaker.seen
    assert (asked.seed, asked.temperature, json.loads(asked.schema)) == (5, 0, EXPLANATION)
    assert asked.messages == (("user", "hi"),)
    assert "secret" not in repr(complete)
    monkeypatch.setenv(KEY, "expired")
    with pytest.raises(KeyRefused) as error:
        completer_at(address)([{"role": "user", "content": "hi"}], schema=EXPLANATION, seed=5)
    assert "expired" not in str(error.value).replace("is it expired", "")


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(kind="refused", why="content filter"), "refused"),
        (Reply(kind="cut", text='{"explanation": "x"}'), "cut"),
        (Reply(kind="none", why="overloaded"), "server error"),
        (Reply(kind="answer", text=""), "empty"),
    ],
)
def test_what_no_server_answers_is_garbage_of_its_kind(served: Any, reply: Reply, kind: str) -> None:
    address, _ = served(lambda ask: reply)
    complete = completer_at(address, terms=Terms(retries=0))
    train = sample("train")
    told = describe(complete, train, shown_windows(train, radius=6, seed=0), units=(0, 1), seed=0)
    assert (told.texts, told.garbage, told.calls) == ({}, {kind: 2}, 2)


def test_what_fails_for_all_is_an_error(served: Any) -> None:
    with pytest.raises(WrongAddress, match="nobody answers there"):
        completer_at("http://127.0.0.1:1/v1#judge", terms=Terms(retries=0))([], schema=EXPLANATION, seed=0)
    address, _ = served(lambda ask: Reply(kind="none", why="context"))
    with pytest.raises(ValueError, match="show fewer windows"):
        completer_at(address)([{"role": "user", "content": "hi"}], schema=EXPLANATION, seed=0)


def test_a_chat_model_here_is_asked_by_its_template(model: LocalModel, tmp_path: Path) -> None:
    shutil.copytree(family_path("xs"), tmp_path / "chat")
    template = "{% for m in messages %}{{ m['content'] }} {% endfor %}"
    (tmp_path / "chat" / "chat_template.jinja").write_text(template)
    complete = completer_at(f"hf:{tmp_path / 'chat'}", tokens=4)
    assert isinstance(complete, Asked)
    with pytest.raises(Garbage, match=r"cut|empty"):
        complete([{"role": "user", "content": "def v1 ("}], schema=EXPLANATION, seed=0)
    base = completer_at("family:xs", here=4)([{"role": "user", "content": "def v1 ("}], schema=EXPLANATION, seed=0)
    assert base == local(model, tokens=4)([{"role": "user", "content": "def v1 ("}], schema=EXPLANATION, seed=0)


@pytest.fixture(scope="module")
def model() -> LocalModel:
    return load_model("family:xs")


def test_a_model_on_this_machine(model: LocalModel) -> None:
    asked = [{"role": "user", "content": "def v1 ("}]
    said = local(model, tokens=4)(asked, schema=EXPLANATION, seed=0)
    assert said == model.generate([paragraphs(asked)], tokens=4, seed=0)[0]
    with pytest.raises(Garbage):
        parsed(said, EXPLANATION)
    with pytest.raises(ValueError, match="show fewer windows"):
        local(model, tokens=90)([{"role": "user", "content": "x " * 20}], schema=EXPLANATION, seed=0)


def test_a_model_that_also_sees_has_the_context_of_its_text_part(model: LocalModel) -> None:
    """Such configurations hold one of the text part, and say nothing of positions and words themselves."""
    seeing = copy.deepcopy(model.network)
    text = seeing.config
    seeing.config = SimpleNamespace(get_text_config=lambda decoder: text)  # type: ignore[assignment]
    both = LocalModel(name="seeing", network=seeing, tokenizer=model.tokenizer)
    assert words_of(both) == words_of(model)
    with pytest.raises(ValueError, match=f"its context is {model.context}: show fewer windows"):
        local(both, tokens=90)([{"role": "user", "content": "x " * 20}], schema=EXPLANATION, seed=0)


def test_all_at_once_is_each_token_alone(model: LocalModel) -> None:
    """One forward pass gives what as many passes over prefixes do, from the whole distribution, exactly."""
    tokens = ["def", "v1", "(", "self", ")", ":", "return"]
    found = simulate(model, "fires on return", tokens)
    assert found.shape == (7,)
    assert ((found >= 0) & (found <= 10)).all()
    alone = [simulate(model, "fires on return", tokens[: i + 1])[-1] for i in range(7)]
    assert found == pytest.approx(alone, abs=1e-4)
    assert simulate(model, "fires on return", []).shape == (0,)
    assert not np.allclose(found, simulate(model, "fires on self", tokens), atol=1e-4), "the explanation is read"


def test_simulation_by_hand(model: LocalModel) -> None:
    numbers, values = numbers_of(model)
    assert values == [float(i) for i in range(10)], "the family has no token 10"
    head = load_prompt("simulate").fill("head", explanation="x") + "\n"
    text = f"{head} def"
    ids = [1, *model.tokenizer(text, add_special_tokens=False)["input_ids"]]
    with torch.inference_mode():
        p = torch.softmax(model.network(input_ids=torch.tensor([ids])).logits[0, -1, numbers], dim=-1).numpy()
    assert simulate(model, "x", ["def"])[0] == pytest.approx(float(p @ np.array(values)), abs=1e-4)


def test_simulation_refused(model: LocalModel) -> None:
    with pytest.raises(ValueError, match="show fewer"):
        simulate(model, "x", ["def"] * 60)


def test_surprisal_is_a_paired_difference_of_losses(model: LocalModel) -> None:
    active, quiet = ["return v1 <L1>", "return v2 <L1>", "return v3 <L2>"], ["import os <L0>", "v1 = v2", "( v1 )"]

    def loss(text: str, tokens: int) -> float:
        return -float(model.logprobs([text])[0][:-1][-tokens:].mean())

    gains = [
        loss(text, len(text.split())) - loss(f"def return {text}", len(text.split())) for text in (*active, *quiet)
    ]
    found = surprisal(model, "def return", active, quiet)
    assert found.value == pytest.approx(np.mean(gains[:3]) - np.mean(gains[3:]), abs=1e-5)
    same = surprisal(model, "def return", active, quiet, other="def return")
    assert same.value == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match="bring them in pairs"):
        surprisal(model, "x", active, quiet[:2])
