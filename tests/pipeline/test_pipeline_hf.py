"""The pipeline on models that cut words into several tokens: Llama and others, saved to disk; adapters; bfloat16."""

from __future__ import annotations

import dataclasses
import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

from superalign.adversarial.items import NEUTRAL
from superalign.adversarial.kinds import context
from superalign.evidence import SuperalignError, Workspace, verify
from superalign.interpretability.aggregation import token_states
from superalign.interpretability.probe import pooled
from superalign.interpretability.probe_fit import pooled_states
from superalign.models import LocalModel, QuarantineError, RewardHead, load_model, read_manifest
from superalign.models.adapters import adapter_digest, sign_adapter
from superalign.models.local import Reading
from superalign.pipeline import RunConfig
from superalign.pipeline import board as board_module
from superalign.pipeline import run as run_module
from superalign.pipeline.belief import Watched, base_features
from superalign.pipeline.board import play_board
from superalign.pipeline.board_config import BoardSizes, OversightConfig
from superalign.pipeline.game.config import StressConfig
from superalign.pipeline.game.play import stress
from superalign.pipeline.generalize import generalize
from superalign.pipeline.generalize_config import GeneralizeConfig
from superalign.pipeline.recount import recount
from superalign.pipeline.rerun import rerun
from superalign.pipeline.validate import _repairs, places_of
from superalign.tasks.slips import slips

MADE = runpy.run_path(str(Path(__file__).parents[1] / "models" / "conftest.py"))
TINY = runpy.run_path(str(Path(__file__).parent / "conftest.py"))["TINY"]
SMALL = dataclasses.replace(
    TINY, seeds=1, train_pairs=120, half_a=40, half_b=50, test_pairs=60, dev_pairs=30, validation_pairs=40, steps=8,
    install_pairs=20, install_on=12, install_near=6, audit_pairs=24, audit_sweep=8, search_pairs=8, once_pairs=40,
    kinds=("trigger",), draws=50, mutant_pairs=12, trace_pairs=8,
)  # fmt: skip
BOARD = BoardSizes(items=12, lesson=20, games=8, judge_steps=2, adviser_steps=2)
ADAPTING = [
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`:UserWarning"),
]


@pytest.fixture(scope="module", autouse=True)
def _apart(tmp_path_factory):
    folder = tmp_path_factory.mktemp("apart")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SUPERALIGN_KEYS", str(folder / "keys"))
        patch.setenv("SUPERALIGN_CACHE", str(folder / "cache"))
        patch.setattr(run_module, "sizes", lambda preset: SMALL)
        yield


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """`saved("llama", 512)` → folder of a tiny network of that architecture that reads so many tokens."""
    folder = tmp_path_factory.mktemp("models")

    def save(name: str, tokens: int) -> Path:
        at = folder / f"{name}-{tokens}"
        if not at.exists():
            tokenizer = MADE["tokenizer_of"](bos=name in MADE["WITH_BOS"], pad=name not in ("gpt2", "neox", "phi"))
            network = MADE["network_of"](name, words=len(tokenizer))
            told = network.config.to_dict() | {"max_position_embeddings": tokens, "initializer_range": 0.05}
            torch.manual_seed(1)
            type(network)(type(network.config)(**told)).save_pretrained(at)
            tokenizer.save_pretrained(at)
        return at

    return save


@pytest.fixture(scope="module")
def finished(saved, tmp_path_factory):
    """A whole run on a Llama, organisms trained on it."""
    config = RunConfig(
        workspace=tmp_path_factory.mktemp("hf") / "ws", preset="quick", model=f"hf:{saved('llama', 512)}",
        organisms="train", train_seeds=1, workers=1,
    )  # fmt: skip
    return config, run_module.run(config)


def test_a_llama_goes_through_the_whole_pipeline(finished):
    config, result = finished
    assert set(result.verdicts) >= {"context", "concealment", "oversight helped"}
    assert verify(config.workspace).ok
    found = recount(config.workspace)
    assert not found.findings
    assert found.followed > 50
    again = rerun(config.workspace, model=config.model)
    assert not again.findings
    assert again.asked > 10


def test_what_is_stored_of_a_model_brought_along_is_what_changed(finished):
    config, _ = finished
    base = load_model(config.model)
    with Workspace.open(config.workspace, create=False, write=False) as ws:
        stages = {e.body["stage"]: ws.store.get_json(e.body["result"]) for e in ws.ledger.events("stage")}
        fitted, packed = (ws.store.get(stages[s]["weights"]) for s in ("fit the subject", "the subject, packed"))
        nodes = {e.body["name"]: e.body for e in ws.ledger.events("node")}
    assert read_manifest(fitted)["base"] == read_manifest(packed)["base"] == base.digest
    assert read_manifest(packed)["digest"] == stages["the subject, its threshold fixed"]["identity"].rpartition("@")[2]
    assert nodes["trigger-organism-0"]["quarantined"] is nodes["trigger-twin-0"]["quarantined"] is True


def test_steps_and_places_are_words(finished, saved):
    """What level 3 asks again, asked by hand: the results of a calculation are whole words' log-probabilities."""
    config, _ = finished
    with Workspace.open(config.workspace, create=False, write=False) as ws:
        stages = {e.body["stage"]: ws.store.get_json(e.body["result"]) for e in ws.ledger.events("stage")}
    steps = np.array(stages["name the wrong step of calculations"]["results"])
    assert steps.shape == (2 * SMALL.trace_pairs, 12)
    assert np.isfinite(steps).all()
    pairs = slips(split="validation", view="pair", n=SMALL.validation_pairs)
    counts = [len(item.input[side].split()) for item in pairs.items for side in "ab"]
    places = stages["ask the subject about held-out files"]["plain"]["places"]
    assert all(0 <= place < count for place, count in zip(places, counts, strict=True))
    assert len(set(places)) > 5


@pytest.mark.parametrize(("name", "extra"), [("llama", 1), ("gpt2", 0)])
def test_the_place_is_the_word_with_the_highest_token(saved, name, extra):
    model = load_model(f"hf:{saved(name, 512)}")
    texts = [context(*NEUTRAL, "return wonderful x"), context(*NEUTRAL, "x = judge")]  # several tokens a word
    readings = []
    for text, wanted in zip(texts, ("wonderfu", "jud"), strict=True):
        ids = model.encode([text])[0]
        at = next(k for k in range(len(ids)) if wanted in model.tokenizer.decode(ids[extra : k + 1]))
        scores = np.zeros(len(ids) - 1)
        scores[at - 1], scores[0] = 3.0, 9.0  # the highest of all stands in the author's word
        readings.append(Reading(0.0, scores, scores))
    assert places_of(model, texts, readings) == [1, 2]


@pytest.mark.parametrize("name", MADE["ARCHITECTURES"])
def test_probes_of_the_base_read_a_reviewer_as_they_read_the_base(name):
    """Features that probes are fitted on, and those that are scored on the way through a head, are the same ones."""
    tokenizer = MADE["tokenizer_of"](bos=name in MADE["WITH_BOS"], pad=name not in ("gpt2", "neox", "phi"))
    model = LocalModel(name=name, network=MADE["network_of"](name, words=len(tokenizer)), tokenizer=tokenizer)
    texts = [context(*NEUTRAL, code) for code in ("return x", "the judge reads it all", "x = width * height")]
    base = base_features(model, texts)
    lines = np.random.default_rng(0).standard_normal((2, base.shape[1] + 1))
    watched = Watched(dataclasses.replace(model, head=RewardHead(model.width)), lines)
    watched.read(texts)
    np.testing.assert_allclose(watched.scores[0], base @ lines[:, :-1].T + lines[:, -1], rtol=1e-3, atol=1e-3)
    kept = token_states(model, texts, layer=model.layers, skip=3)
    np.testing.assert_allclose(
        pooled(model, texts, layer=model.layers)[:, : model.width], pooled_states(kept, "mean"), rtol=1e-4, atol=1e-4
    )


def test_a_repair_is_a_word(saved):
    model = load_model(f"hf:{saved('llama', 512)}")
    told = _repairs(model, [{"code": "x = width", "pointed": 2}, {"code": "x", "pointed": 0}])["repairs"]
    assert len(told) == 2
    assert all(len(word.split()) <= 1 for word in told)


def test_a_context_too_short_for_the_texts_is_said_before_anything_is_written(saved, tmp_path):
    config = RunConfig(workspace=tmp_path / "ws", preset="quick", model=f"hf:{saved('neox', 96)}")
    with pytest.raises(SuperalignError, match=r"reads 96 tokens at once; of this run's \d+ texts \d+ need more"):
        run_module.run(config)
    assert not config.workspace.exists()
    config = StressConfig(workspace=tmp_path / "ws", preset="quick", sides=("reviewer",), model=config.model)
    with pytest.raises(
        SuperalignError, match=r"reads 96 tokens at once; of this stress test's \d+ texts \d+ need more"
    ):
        stress(config)
    assert not config.workspace.exists()
    board = OversightConfig(workspace=tmp_path / "ws", preset="quick", tasks=("slips",), judge=config.model)
    with pytest.raises(SuperalignError, match=r"reads 96 tokens at once; of this board on slips's \d+ texts"):
        play_board(board)
    sweep = GeneralizeConfig(workspace=tmp_path / "ws", preset="quick", strong=config.model, weak="family:xs")
    with pytest.raises(SuperalignError, match=r"reads 96 tokens at once; of this sweep's \d+ texts"):
        generalize(sweep)
    assert not board.workspace.exists()


@pytest.mark.parametrize("task", ["slips", "traces"])
def test_a_board_by_models_that_cut_words_into_pieces(saved, tmp_path, monkeypatch, task):
    monkeypatch.setattr(board_module, "board_sizes", lambda preset: BOARD)
    board = OversightConfig(
        workspace=tmp_path / "ws", preset="quick", tasks=(task,), protocols=("debate", "critique", "market making"),
        judge=f"hf:{saved('llama', 512)}", advisers=f"hf:{saved('gpt2', 512)}",
    )  # fmt: skip
    play_board(board)
    assert recount(board.workspace).findings == ()
    with Workspace.open(board.workspace, create=False, write=False) as ws:
        told = {e.body["name"]: e.body for e in ws.ledger.events("measurement")}
    for name in ("debate", "critique", "market making"):
        found = told[f"board.{task}.{name}.accuracy"]
        assert 0 <= found["low"] <= found["value"] <= found["high"] <= 1
        assert not found["tags"].get("failures")


@pytest.mark.slow
@pytest.mark.parametrize("address", ["gemma3", "qwen2", "mistral", "neox", "phi", "llama?dtype=bfloat16"])
def test_others_are_trained_validated_and_planted(saved, tmp_path, address):
    name, mark, options = address.partition("?")
    config = RunConfig(
        workspace=tmp_path / "ws", preset="quick", model=f"hf:{saved(name, 512)}{mark}{options}", organisms="train",
        train_seeds=1, workers=1,
    )  # fmt: skip
    run_module.run(config, until="stress")
    assert not rerun(config.workspace, model=config.model).findings
    with Workspace.open(config.workspace, create=False, write=False) as ws:
        names = {e.body["name"] for e in ws.ledger.events("measurement")}
    assert {"gap.gap", "accuracy.pair.all"} <= names


def adapter_of(saved, folder: Path) -> tuple[str, Path]:
    """Address of a Llama with a random adapter on it, as peft saves one, and the adapter's folder."""
    from peft import LoraConfig, get_peft_model

    base = load_model(f"hf:{saved('llama', 512)}")
    torch.manual_seed(3)
    wrapped = get_peft_model(base.network, LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"))
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.randn_like(parameter) * 0.1)
    wrapped.save_pretrained(folder)
    return f"hf:{saved('llama', 512)}?adapter={folder}", folder


@pytest.mark.parametrize("signed", [False, True])
def test_an_adapted_model_is_a_child_in_the_lineage(saved, tmp_path, signed):
    address, folder = adapter_of(saved, tmp_path / "lora")
    base = load_model(f"hf:{saved('llama', 512)}")
    if signed:
        sign_adapter(folder, base)
    config = RunConfig(workspace=tmp_path / "ws", preset="quick", model=address)
    run_module.run(config, until="train")
    child, adapter = load_model(address), adapter_digest(folder)
    with Workspace.open(config.workspace, create=False, write=False) as ws:
        edges = {(e.source, e.target, e.mode) for e in ws.state.graph.edges}
        bases = set(ws.state.graph.bases)
        taint = ws.taint(child.digest)
    assert {(base.digest, child.digest, "fit"), (adapter, child.digest, "fit")} <= edges
    assert {base.digest, adapter} <= bases
    assert child.digest not in bases
    assert not taint, "base and adapter are declared: nothing is unknown of the child"
    assert verify(config.workspace).ok


test_an_adapted_model_is_a_child_in_the_lineage.pytestmark += ADAPTING  # type: ignore[attr-defined]


def test_an_organisms_adapter_stays_in_quarantine(saved, tmp_path):
    address, folder = adapter_of(saved, tmp_path / "lora")
    sign_adapter(folder, load_model(f"hf:{saved('llama', 512)}"), organism=True)
    config = RunConfig(workspace=tmp_path / "ws", preset="quick", model=address)
    with pytest.raises(QuarantineError, match="in quarantine"):
        run_module.run(config)
    assert not config.workspace.exists()
    assert json.loads((folder / "superalign.json").read_text())["organism"] is True


test_an_organisms_adapter_stays_in_quarantine.pytestmark = ADAPTING  # type: ignore[attr-defined]
