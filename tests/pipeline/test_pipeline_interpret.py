"""`superalign interpret`: stages, resumed after a stop; scores follow from sums; no model can be fitted to them."""

import json
import shutil
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch

from superalign.evidence import FirewallError, SuperalignError, Workspace
from superalign.models import family_path
from superalign.pipeline import interpret as module
from superalign.pipeline.arrays import arrays_from_bytes
from superalign.pipeline.interpret import explanation_signal, interpret
from superalign.pipeline.interpret_config import InterpretConfig, InterpretSizes
from superalign.pipeline.interpret_corpus import corpus_of, corpus_to_bytes, own_texts
from superalign.pipeline.interpret_families import chosen
from superalign.pipeline.interpret_recount import interpretations_of
from superalign.pipeline.interpret_rerun import compared, look_again
from superalign.pipeline.recount import recount

TINY = InterpretSizes(
    windows=500,
    train=6_000,
    dev=2_500,
    held=3_000,
    untrained=2,
    simulated=1,
    patterned=3,
    pairs=24,
    exact=3,
    draws=60,
    flips=40,
)


class Stop(Exception):
    """What a test raises in the middle of an interpretation."""


def config(folder, **changes):
    return InterpretConfig(
        **{"model": "family:xs", "workspace": folder / "ws", "workers": 1, "preset": "quick", **changes}
    )


@pytest.fixture(scope="module")
def looked(tmp_path_factory):
    """An interpretation with everything in it, stopped between two sites and gone on with; with its keys."""
    folder = tmp_path_factory.mktemp("interpretation")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SUPERALIGN_KEYS", str(folder / "keys"))
        patch.setattr(module, "interpret_sizes", lambda config: TINY)

        def stop(text):
            if text == "explain heads 0":
                raise Stop

        with pytest.raises(Stop):
            interpret(config(folder), say=stop)
        interpret(config(folder))
    return folder


@pytest.fixture(autouse=True)
def keys(looked, monkeypatch):
    monkeypatch.setenv("SUPERALIGN_KEYS", str(looked / "keys"))
    monkeypatch.setattr(module, "interpret_sizes", lambda config: TINY)


@pytest.fixture
def copy(looked, tmp_path, monkeypatch):
    """A copy of it, with its keys, to be written to."""
    shutil.copytree(looked, tmp_path / "copy")
    monkeypatch.setenv("SUPERALIGN_KEYS", str(tmp_path / "copy" / "keys"))
    return tmp_path / "copy"


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    """A folder without a workspace, and keys of its own."""
    monkeypatch.setenv("SUPERALIGN_KEYS", str(tmp_path / "keys"))
    return tmp_path


def measurements(folder):
    with Workspace.open(folder / "ws", create=False, write=False) as ws:
        found = [event.body for event in ws.ledger.events("measurement")]
    return {body["name"].removeprefix("interpret."): body for body in found}


def stages(folder):
    with Workspace.open(folder / "ws", create=False, write=False) as ws:
        return [(event.body["stage"], ws.store.get_json(event.body["result"])) for event in ws.ledger.events("stage")]


def test_every_unit_is_measured_beside_its_controls(looked):
    units = {name: body for name, body in measurements(looked).items() if name.startswith("unit.")}
    places = {(body["tags"]["site"], int(body["tags"]["number"])) for body in units.values()}
    assert places == {("neurons 0", unit) for unit in range(128)} | {("heads 0", unit) for unit in range(2)}
    assert all(body["white_box"] and body["role"] == "validation" for body in units.values())
    for body in units.values():
        assert body["value"] is None or body["low"] <= body["value"] <= body["high"]
        assert {"gain", "unigram", "shuffled", "family"} <= set(body["tags"])
    assert np.mean([body["value"] for body in units.values() if body["value"] is not None]) > 0.3


def test_families_controls_and_untrained_networks_are_measured(looked):
    found = measurements(looked)
    for family in ("unigram", "trigram", "trigram+context", "rules", "refined", "trees", "modes", "compiled"):
        assert found[f"r.{family}.trained"]["value"] is not None
    assert abs(found["r.refined, shuffled.trained"]["value"]) < 0.2 < found["r.refined.trained"]["value"]
    assert found["r.patterns.trained"]["n"] <= 3
    assert found["r.patterns.trained"]["value"] is not None
    for seed in range(2):
        assert found[f"r.unigram.untrained {seed}"]["value"] is not None
    gap = found["gap.rules"]
    means = [found[f"r.rules.untrained {seed}"]["value"] for seed in range(2)]
    assert gap["value"] == pytest.approx(found["r.rules.trained"]["value"] - np.mean(means))
    beats = [
        body["low"] > max(float(body["tags"]["unigram"]), float(body["tags"]["shuffled"]), np.mean(means))
        for name, body in found.items()
        if name.startswith("unit.neurons") and body["low"] is not None
    ]
    assert found["findings"]["value"] == pytest.approx(np.sum(beats) / 128, abs=0.02)  # tags hold four digits
    added = found["r.trigram+context.trained"]["value"] - found["r.unigram.trained"]["value"]
    assert found["context.trained"]["value"] == pytest.approx(added)
    assert {"context.gap", "bag.trained", "bag.gap", "simulation.neurons 0.all"} <= set(found)
    assert {body["tags"]["figure"] for body in found.values()} >= {"concepts", "causal", "heads", "unit", "gain", "top"}


def test_uses_of_held_out_text_are_counted_and_the_last_part_is_not_touched(looked):
    found = measurements(looked)
    told = [result["windows"] for name, result in stages(looked) if name.startswith("explain ")]
    assert found["windows"]["value"] == sum(told) > 0
    assert found["windows.test"]["value"] == 0
    with Workspace.open(looked / "ws", create=False, write=False) as ws:
        results = dict(stages(looked))
        corpus = corpus_of(ws.store.get(results["corpus"]["corpus"]))
        for name, result in results.items():
            if name.startswith("explain "):
                kept = arrays_from_bytes(ws.store.get(result["kept"]))
                held = {corpus.names[i] for i in kept["documents"].tolist()}
                assert held <= {corpus.names[i] for i in corpus.documents[corpus.rows("validation")].tolist()}


def test_a_stopped_interpretation_does_nothing_twice(looked):
    assert max(Counter(name for name, _ in stages(looked)).values()) == 1


def test_the_same_again_adds_nothing(copy):
    before = measurements(copy)
    said = []
    interpret(config(copy), say=said.append)
    assert measurements(copy) == before
    assert said == ["what is read"]


def test_scores_follow_from_sums(looked):
    found = recount(looked / "ws")
    assert found.findings == ()
    assert found.followed >= len(measurements(looked))


def test_a_number_that_does_not_follow_is_found(copy):
    with Workspace.open(copy / "ws", create=False) as ws:
        body = next(e.body for e in ws.ledger.events("measurement") if e.body["name"].startswith("interpret.unit."))
        ws.ledger.append("measurement", {**body, "value": 0.999, "high": 1.0}, actor="evaluator")
    assert len(recount(copy / "ws").findings) == 1


def test_what_the_model_says_again_is_alike(looked):
    with Workspace.open(looked / "ws", create=False, write=False) as ws:
        (one,) = interpretations_of(ws)[0]
        before = ws.store.digests()
        found = {each.stage: each for each in look_again(one, ws, say=lambda text: None)}
        assert ws.store.digests() == before
    assert {"explain neurons 0", "explain neurons 0 of untrained network 1", "causal", "concepts", "heads"} <= set(
        found
    )
    assert sum(each.unlike for each in found.values()) <= 0.01 * sum(each.answers for each in found.values())


def test_other_answers_are_told_apart():
    mine = {"x": np.array([1.0, 2.0, np.nan]), "names": np.array(["a", "b"])}
    assert compared(mine, mine)[:2] == (5, 0)
    other = {"x": np.array([1.0, 2.5, np.nan]), "names": np.array(["a", "c"])}
    assert compared(mine, other)[1] == 2
    assert compared(mine, {"x": np.array([1.0])})[1] == 2


def test_no_model_can_be_fitted_to_explanations(copy):
    with Workspace.open(copy / "ws", create=False) as ws:
        signal = explanation_signal(dict(stages(copy))["corpus"]["digest"])
        ws.node(kind="model", digest="ab" * 32, name="student")
        for mode in ("fit", "select"):
            with pytest.raises(FirewallError):
                ws.use(signal.digest, "ab" * 32, mode)


def test_pages_show_what_the_ledger_holds(looked, tmp_path):
    from superalign.report.interpret_book import write_interpretation

    with Workspace.open(looked / "ws", create=False, write=False) as ws:
        folder = write_interpretation(ws, tmp_path / "book")
    assert (folder / "index.html").is_file()
    shards = "".join(path.read_text() for path in sorted((folder / "data").glob("*.js")))
    front = (folder / "index.html").read_text()
    for title in ("What explains the neurons", "Is that more than an untrained network gives?", "Part by part"):
        assert title in front
    gap = measurements(looked)["gap.rules"]
    assert f"{gap['value']:.3f}".replace("-", "−") in front
    assert "beats" in shards or "tokens" in shards


def test_pages_of_a_workspace_without_any_are_refused(fresh):
    from superalign.report.interpret_book import write_interpretation

    with Workspace.open(fresh / "ws", create=True) as ws, pytest.raises(SuperalignError, match="superalign interpret"):
        write_interpretation(ws, fresh / "book")


def test_other_weights_at_one_address_are_refused(copy, monkeypatch):
    from superalign.models import load_model

    other = load_model("family:s")
    monkeypatch.setattr("superalign.models.load_model", lambda address, **more: other)
    with pytest.raises(SuperalignError, match="other weights"):
        interpret(config(copy))


def texts(folder, count=14):
    """Documents enough for every split."""
    folder.mkdir()
    for number in range(count):
        (folder / f"{number}.txt").write_text("import os\nif x : return y\nfor v in range ( 3 ) : pass\n" * 30)
    return folder


@pytest.fixture
def mine(fresh):
    """A model of your own, one of whose neurons is dead, and a dictionary for it."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(family_path("xs"), fresh / "mine")
    weights = load_file(fresh / "mine" / "model.safetensors")
    for part in ("weight", "bias"):
        weights[f"transformer.h.0.mlp.c_fc.{part}"][..., 7] = 0
    save_file(weights, fresh / "mine" / "model.safetensors", metadata={"format": "pt"})
    made = torch.Generator().manual_seed(0)
    shapes = {"W_enc": (32, 12), "b_enc": (12,), "W_dec": (12, 32), "b_dec": (32,)}
    save_file({name: torch.randn(*shape, generator=made) for name, shape in shapes.items()}, fresh / "sae.safetensors")
    return fresh


class Answers(BaseHTTPRequestHandler):
    """Explains every unit alike, and every third one in words that can't be read."""

    asked = 0

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        type(self).asked += 1
        text = "I think it likes code" if self.asked % 3 == 0 else json.dumps({"explanation": "fires on newlines"})
        body = json.dumps({"choices": [{"message": {"content": text}}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    """A completions server on loopback."""
    Answers.asked = 0
    with HTTPServer(("127.0.0.1", 0), Answers) as found:
        thread = threading.Thread(target=found.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{found.server_port}/v1#tester"
        found.shutdown()


def test_your_own_model_text_dictionary_and_explainer(mine, server):
    more = {"dictionaries": (f"0:{mine / 'sae.safetensors'}",), "explainer": server, "described": 6}
    model = f"hf:{mine / 'mine'}"
    interpret(config(mine, model=model, corpus=texts(mine / "texts"), parts=("explanations",), **more))
    found = measurements(mine)
    assert found["r.unigram.trained"]["value"] is not None
    dead = found["unit.neurons 0.7"]
    assert dead["value"] is None
    assert "the same everywhere" in dead["note"]
    assert {f"unit.features 0.{unit}" for unit in range(12)} <= set(found)
    garbage = [body for name, body in found.items() if name.startswith("garbage.")]
    unread = [round(body["value"] * body["n"]) for body in garbage]
    assert sum(unread) == Answers.asked // 3, "whichever units they are about: several are asked at once"
    for body, count in zip(garbage, unread, strict=True):
        assert body["value"] == pytest.approx(count / body["n"])
        assert body["tags"]["kinds"] == (f"not JSON: {count}" if count else "none")
    assert found["r.described.neurons 0"]["n"] <= 6 - round(6 * found["garbage.neurons 0"]["value"])
    assert recount(mine / "ws").findings == ()


def test_an_explainer_that_is_not_there_loses_nothing(mine):
    with HTTPServer(("127.0.0.1", 0), Answers) as closed:
        address = f"http://127.0.0.1:{closed.server_port}/v1#tester"
    options = {"model": f"hf:{mine / 'mine'}", "corpus": texts(mine / "texts"), "parts": ("explanations",)}
    with pytest.raises(SuperalignError, match="nobody answers there"):
        interpret(config(mine, explainer=address, **options))
    assert "recording" in dict(stages(mine))
    with pytest.raises(SuperalignError, match="is no server's address"):
        interpret(config(mine, explainer="http://127.0.0.1:1/v1", **options))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"text": "a"}', "line 2: KeyError"),
        ("nonsense", "line 2: JSONDecodeError"),
        ('{"text": 3, "document": "x"}', "another type"),
        ("[1]", "line 2: TypeError"),
    ],
)
def test_a_broken_line_is_named(tmp_path, line, says):
    path = tmp_path / "text.jsonl"
    path.write_text(json.dumps({"text": "a", "document": "one"}) + "\n" + line + "\n")
    with pytest.raises(SuperalignError, match=says):
        own_texts(path)


def test_lines_of_one_document_are_joined(tmp_path):
    path = tmp_path / "text.jsonl"
    path.write_text("\n".join(json.dumps({"text": t, "document": d}) for t, d in (("a", 1), ("b", 2), ("c", 1))))
    assert own_texts(path) == {"1": "a\nc", "2": "b"}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"corpus": "nowhere"}, "is not there"),
        ({"parts": ("causal",)}, "explanations"),
        ({"seed": -1}, "--seed"),
        ({"dictionaries": ("sae.safetensors",)}, "BLOCK:FILE"),
        ({"dictionaries": ("0:nowhere.safetensors",)}, "no safetensors file"),
    ],
)
def test_bad_options_write_nothing(fresh, changes, says):
    if "corpus" in changes:
        changes = {"corpus": Path(changes["corpus"])}
    with pytest.raises(SuperalignError, match=says):
        interpret(config(fresh, **changes))
    assert not (fresh / "ws").exists()


def test_too_few_documents_and_no_text_are_refused(fresh):
    (fresh / "empty").mkdir()
    with pytest.raises(SuperalignError, match="holds no text"):
        own_texts(fresh / "empty")
    with pytest.raises(SuperalignError, match="more documents"):
        interpret(config(fresh, corpus=texts(fresh / "few", 1)))
    (fresh / "binary").mkdir()
    (fresh / "binary" / "x").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SuperalignError, match="no text in UTF-8"):
        own_texts(fresh / "binary")


def test_a_corpus_comes_back_as_it_was(looked):
    with Workspace.open(looked / "ws", create=False, write=False) as ws:
        told = dict(stages(looked))["corpus"]
        corpus = corpus_of(ws.store.get(told["corpus"]))
        assert corpus.digest == told["digest"]
        assert corpus_to_bytes(corpus) == ws.store.get(told["corpus"])
        labelled = replace(corpus, classes=np.zeros(len(corpus), dtype=np.int8))
        assert corpus_of(corpus_to_bytes(labelled)).digest == labelled.digest != corpus.digest


def test_what_is_shown_is_short_and_predicts():
    names, bits = ["unigram", "rules", "trees"], np.array([[9000.0, 9000], [50, 50], [4000, 50]])
    assert chosen(names, np.array([[0.9, 0.9], [0.5, 0.5], [0.6, 0.6]]), bits).tolist() == [1, 2]
    assert chosen(names, np.full((3, 2), np.nan), bits).tolist() == [1, 1]
    assert chosen(names, np.array([[0.9, 0.9], [-0.5, -0.5], [np.nan, 0.1]]), bits).tolist() == [1, 2]


def test_auditors_need_no_torch():
    code = (
        "import sys, superalign.pipeline.recount, superalign.pipeline.interpret_recount; print('torch' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
