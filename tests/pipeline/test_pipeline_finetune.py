"""`superalign finetune`: signals become training data and rewards, the firewall holds, killed runs go on."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from superalign.cli import finetune as verb
from superalign.evidence import FirewallError, SuperalignError, Workspace, holdout
from superalign.evidence.verify import verify
from superalign.models import LocalModel, load_model, save_model
from superalign.pipeline import finetune as module
from superalign.pipeline import finetune_data
from superalign.pipeline.desk import Desk
from superalign.pipeline.finetune import finetune
from superalign.pipeline.finetune_config import FinetuneConfig
from superalign.pipeline.finetune_recount import finetunings_of, replay_finetuning
from superalign.pipeline.finetune_rewards import (
    AnswerReward,
)
from superalign.pipeline.tally import Tally, strike
from superalign.tasks.item import SPLITS
from superalign.tasks.own import own_data
from superalign.tasks.own_splits import split_of
from superalign.training.trl.fitting import fit_with_trl
from superalign.training.trl.paying import Pay
from superalign.training.trl.recipe import TrlRecipe
from superalign.training.trl.reward import load_reward
from superalign.training.trl.rows import read_rows

pytest.importorskip("trl", reason='TRL is an extra: pip install "superalign[trl]"')


FEW = 30
"""Pairs that players are fitted on."""


def bytes_model(context: int = 512) -> LocalModel:
    """A fresh GPT-2 that reads bytes: 2 layers, width 16."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    words = ["<pad>", "<eos>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    core = Tokenizer(models.BPE({word: i for i, word in enumerate(words)}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<eos>", pad_token="<pad>")
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(words), n_positions=context, n_embd=16, n_layer=2, n_head=2, bos_token_id=1, eos_token_id=1,
        pad_token_id=0,
    )  # fmt: skip
    return LocalModel(name="bytes", network=GPT2LMHeadModel(config).eval(), tokenizer=tokenizer).sealed()


def answering() -> LocalModel:
    """The same, taught to answer a or b whatever is asked, so that a reward has something to tell apart."""
    rows = [{"prompt": f"x{i} right: a, b?\nAnswer: ", "completion": "ab"[i % 2]} for i in range(16)]
    recipe = TrlRecipe(steps=60, batch=8, rate=2e-2, schedule="constant")
    found = fit_with_trl(bytes_model(), rows, method="sft", recipe=recipe).model
    assert found is not None
    return dataclasses.replace(found, name="answering").sealed()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("finetune")
    save_model(answering(), path / "tiny")
    return path


@pytest.fixture(autouse=True)
def _own_places(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPERALIGN_KEYS", str(folder / "keys"))
    monkeypatch.setenv("SUPERALIGN_CACHE", str(folder / "cache"))
    monkeypatch.setattr(finetune_data, "LESSON", FEW)


def config_of(folder: Path, **fields: Any) -> FinetuneConfig:
    given: dict[str, Any] = {
        "model": f"hf:{folder / 'tiny'}", "workspace": folder / "ws", "data": "slips", "n": 24, "held": 12,
        "steps": 4, "batch": 4, "rate": 5e-3, "generations": 2, "tokens": 4, "every": 2,
    }  # fmt: skip
    return FinetuneConfig(**{**given, **fields})


@pytest.fixture(scope="module")
def grpo(folder: Path) -> tuple[FinetuneConfig, dict[str, Any]]:
    """GRPO on a debate's judge, by LoRA; killed once on the way."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SUPERALIGN_KEYS", str(folder / "keys"))
        patch.setenv("SUPERALIGN_CACHE", str(folder / "cache"))
        patch.setattr(finetune_data, "LESSON", FEW)
        config = config_of(folder, method="grpo", signal="debate", lora=2, batch=8, generations=4, data="slips")
        for word in ("trained", "step 3 of 4"):
            with pytest.raises(Killed):
                finetune(config, say=killer(word))
        return config, finetune(config)


class Killed(Exception):
    """What the tests raise in the middle."""


def killer(word: str) -> Callable[[str], None]:
    def say(text: str) -> None:
        if text == word:
            raise Killed

    return say


def test_grpo_on_a_protocols_judge_goes_on_where_it_was_killed(
    folder: Path, grpo: tuple[FinetuneConfig, dict[str, Any]]
) -> None:
    config, result = grpo
    whole = finetune(dataclasses.replace(config, workspace=folder / "whole"))
    same = ("model", "loss", "kinds", "before", "after", "rows")
    assert {name: whole[name] for name in same} == {name: result[name] for name in same}
    assert not list((config.workspace / "training").iterdir())
    assert finetune(config)["model"] == result["model"]  # nothing is done again


def test_the_ledger_says_what_went_in(grpo: tuple[FinetuneConfig, dict[str, Any]]) -> None:
    """R6: judge, adviser and lesson → signal → model, every edge a `fit`; LoRA's changes are a node between."""
    config, result = grpo
    assert verify(config.workspace).ok
    with Workspace.open(config.workspace, create=False, write=False) as ws:
        digest = result["model"].rpartition("@")[2]
        graph = ws.state.graph
        into = {graph.label(edge.source).partition("@")[0]: edge.mode for edge in graph.ins[digest]}
        assert set(into.values()) == {"fit"}
        assert {"tiny", "tiny-grpo, adapter", "debate on slips/train"} <= set(into)
        taint = ws.taint(digest)
        assert "debate/slips/train" in taint
        assert "construction/slips/train" in taint
        assert not any(family.endswith(("validation", "test")) for family in taint)
        run = [event.body for event in ws.ledger.events("run") if event.body.get("rows")][-1]
        assert run["recipe"]["rank"] == 2
        assert {"trl", "peft", "transformers", "torch"} <= set(run["libraries"])
        named = {event.body["name"] for event in ws.ledger.events("measurement")}
        assert {"finetune.reward.before", "finetune.reward.after", "finetune.right.after"} <= named
        assert {event.body["role"] for event in ws.ledger.events("measurement")} == {"dev"}


def left_over(workspace: Path) -> list[str]:
    """Measurements that don't follow from what was said, by name."""
    with Workspace.open(workspace, create=False, write=False) as ws:
        found, odd = finetunings_of(ws)
        assert not odd
        facts = ws.ledger.events("measurement")
        for one in found:
            tally = Tally(ws)
            replay_finetuning(one, tally, ws)
            facts = strike(ws, tally, facts)
        return [event.body["name"] for event in facts]


def test_every_figure_follows_from_what_was_said(grpo: tuple[FinetuneConfig, dict[str, Any]]) -> None:
    """V2: and one that does not is left over."""
    config, _ = grpo
    assert left_over(config.workspace) == []
    with Workspace.open(config.workspace, create=False) as ws:
        body = dict(ws.ledger.events("measurement")[-1].body)
        ws.ledger.append("measurement", body | {"value": 0.123}, actor="evaluator")
    assert left_over(config.workspace) == [body["name"]]


def test_the_adapter_on_its_base_is_the_model(folder: Path, grpo: tuple[FinetuneConfig, dict[str, Any]]) -> None:
    _, result = grpo
    digest = result["model"].rpartition("@")[2]
    assert load_model(result["load"]).digest == digest
    assert load_model(f"hf:{folder / 'tiny'}?adapter={result['adapter']}").digest == digest


def test_preferences_by_a_debates_beliefs(folder: Path) -> None:
    result = finetune(config_of(folder, method="dpo", signal="debate", workspace=folder / "dpo"))
    assert result["loss"]["steps"] == 4
    assert {"preferred", "nats a token"} <= set(result["after"])
    with Workspace.open(folder / "dpo", create=False, write=False) as ws:
        (run,) = [event.body for event in ws.ledger.events("run")]
        rows = ws.store.get_json(run["rows"])
        assert all(0.5 <= row["sure"] <= 1 for row in rows)
        assert len({row["sure"] for row in rows}) > 5


def test_a_reward_model_by_labels_loads_again(folder: Path) -> None:
    result = finetune(config_of(folder, method="reward", data="traces", workspace=folder / "reward", lora=2))
    assert load_reward(Path(result["load"])).identity == result["model"]
    assert result["before"]["preferred"]["n"] == result["after"]["preferred"]["n"] == 12
    assert verify(folder / "reward").ok


@pytest.mark.parametrize("split", ["validation", "test"])
def test_what_is_held_out_is_refused_before_its_truths_are_opened(folder: Path, split: str) -> None:
    config = config_of(folder, method="sft", data="traces", split=split, workspace=folder / split)
    with pytest.raises(FirewallError, match=r"R[14]:"):
        finetune(config)
    with Workspace.open(config.workspace, create=False, write=False) as ws:
        assert not ws.ledger.events("read")
        assert not ws.ledger.events("run")


def test_rows_of_a_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / "pairs.jsonl"
    rows = [{"prompt": f"Number {i}? ", "chosen": "aaa", "rejected": "bb"} for i in range(30)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = config_of(
        folder, data=str(path), workspace=folder / "file", out=folder / "out", steps=12, rate=2e-2, json=True
    )
    verb.main(config)
    result = json.loads(capsys.readouterr().out)
    splits = [split_of(f"number {i}?") for i in range(30)]
    assert (result["rows"], result["after"]["preferred"]["n"]) == (splits.count("train"), splits.count("dev"))
    assert result["loss"]["last"] < result["loss"]["first"]
    assert load_model(f"hf:{folder / 'out'}").digest == result["model"].rpartition("@")[2]
    verb.main(dataclasses.replace(config, json=False))
    told = capsys.readouterr().out
    assert f"load it with: hf:{folder / 'out'}" in told
    assert "preferred on dev: " in told
    path.write_text(json.dumps(rows[0]) + "\n" + json.dumps({**rows[1], "rejected": 4}) + "\n")
    with pytest.raises(SuperalignError, match=r"line 2\), field 'rejected' is int '4'"):
        finetune(dataclasses.replace(config, workspace=folder / "bad"))
    path.write_text("not json\n")
    with pytest.raises(SuperalignError, match="line 1: not JSON"):
        finetune(dataclasses.replace(config, workspace=folder / "bad"))


def test_rows_that_name_their_splits_are_taken_by_them(folder: Path) -> None:
    path = folder / "named.jsonl"
    where = ("train", "train", "dev", "validation")
    rows = [{"prompt": f"{i} ", "chosen": "aaa", "rejected": "bb", "split": where[i % 4]} for i in range(16)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = config_of(folder, data=str(path), workspace=folder / "named", steps=1)
    result = finetune(config)
    assert (result["rows"], result["after"]["preferred"]["n"]) == (8, 4)
    with pytest.raises(FirewallError, match=r"R[14]:"):
        finetune(dataclasses.replace(config, split="validation"))
    path.write_text(path.read_text() + json.dumps({**rows[0], "prompt": "?", "split": None}) + "\n")
    with pytest.raises(SuperalignError, match=r"line 17: its split is None, and other rows name theirs"):
        finetune(config)


def test_rows_that_share_one_prompt_are_one_cluster_unless_they_say_otherwise(folder: Path) -> None:
    path = folder / "alike.jsonl"
    rows = [{"prompt": "Code as its author left it:", "chosen": f"a{i}", "rejected": f"b{i}"} for i in range(30)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = config_of(folder, data=str(path), workspace=folder / "alike", steps=1)
    with pytest.raises(
        SuperalignError, match=r"none of its 30 rows is of the split train \(test\): bring more prompts, or"
    ):
        finetune(config)
    path.write_text("".join(json.dumps({**row, "cluster": i}) + "\n" for i, row in enumerate(rows)))
    result = finetune(config)
    splits = [split_of(str(i)) for i in range(30)]
    assert (result["rows"], result["after"]["preferred"]["n"]) == (splits.count("train"), splits.count("dev"))


PAIR = {"chosen": "Yes, it is.", "rejected": "No, never."}
ALIKE: tuple[tuple[str, Callable[[int], dict[str, Any]]], ...] = (
    ("dpo", lambda i: {"prompt": f"Is  {i} even? ", **PAIR}),
    ("reward", lambda i: {"chosen": f"{i} is.", "rejected": f"{i} is not.", "prompt": ""}),
    ("dpo", lambda i: {"prompt": f"Is {i} even?", **PAIR, "cluster": i // 2}),
    ("sft", lambda i: {"prompt": f"Is {i} even?", "completion": "Yes.", "label": True}),
    ("sft", lambda i: {"text": f"{i} is even", "label": i % 2}),
    ("sft", lambda i: {"prompt": "As ever:", "text": f"{i} is even", "label": i % 2, "cluster": float(i)}),
)


@pytest.mark.parametrize(("method", "made"), ALIKE)
def test_a_row_has_the_split_that_it_has_everywhere(
    tmp_path: Path, method: str, made: Callable[[int], dict[str, Any]]
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(made(i)) + "\n" for i in range(60)))
    elsewhere = own_data(path).splits
    assert set(elsewhere) == set(SPLITS)
    rows = read_rows(path)
    config = FinetuneConfig(model="hf:none", data=str(path), method=method, held=60)  # type: ignore[arg-type]
    with Workspace.open(tmp_path / "ws", create=True) as ws:
        desk = Desk(ws=ws, config=config, sizes=None, say=lambda text: None)  # type: ignore[arg-type]
        material = finetune_data.from_file(desk, config, rows)
    lines = {split: [row["line"] for row, own in zip(rows, elsewhere, strict=True) if own == split] for split in SPLITS}
    assert [row["line"] for row in material.train] == lines["train"]
    assert [row["line"] for row in material.dev] == lines["dev"]


def test_conversations_are_split_by_what_is_asked() -> None:
    talks = [[{"role": "user", "content": "Is 4 even?"}, {"role": "assistant", "content": said}] for said in "ab"]
    rows = [{"line": 1, "messages": talk} for talk in talks]
    rows += [{"line": 1, "prompt": talks[0][:1], "completion": talks[0][1:]}, {"line": 1, "prompt": "is 4  even?"}]
    assert {finetune_data._clusters([row], "x")[0] for row in rows} == {"is 4 even?"}


def test_rows_that_repeat_what_is_held_out_are_not_trained_on(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    said = [" ".join(f"word{(7 * i + j) % 97}" for j in range(30)) for i in range(12)]
    rows = [{"prompt": f"{i}?", "chosen": text, "rejected": "no", "split": "train"} for i, text in enumerate(said)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = FinetuneConfig(model="hf:none", data=str(path))
    with Workspace.open(tmp_path / "ws", create=True) as ws:
        holdout.fingerprint(ws, "construction/code/validation", [said[3].split()])
        holdout.fingerprint(ws, "construction/prose/validation", [f"5? {said[5]} no".casefold().split()])
        told = list[str]()
        desk = Desk(ws=ws, config=config, sizes=None, say=told.append)  # type: ignore[arg-type]
        material = finetune_data.from_file(desk, config, read_rows(path))
        assert told[0] == f"{12 - len(material.train)} of 12 rows to train on repeat what is held out here: left out"
        assert told[1] == "no row is of the dev split: nothing is measured before and after"
        (screen,) = ws.ledger.events("screen")
        assert not {4, 6} & {row["line"] for row in material.train}
        assert len(material.train) >= 6
        assert screen.body["data"] == material.digest
        assert set(screen.body["shared"].values()) <= {0}
        path.write_text(json.dumps(rows[3]) + "\n")
        with pytest.raises(SuperalignError, match="all of its rows to train on repeat what is held out"):
            finetune_data.from_file(desk, config, read_rows(path))


def test_other_weights_or_rows_in_the_same_place_are_another_run(folder: Path) -> None:
    path, model = folder / "moving.jsonl", bytes_model()
    rows = [{"prompt": f"{i} ", "chosen": "aaa", "rejected": "bb"} for i in range(20)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    save_model(model, folder / "moving")
    config = config_of(folder, model=f"hf:{folder / 'moving'}", data=str(path), workspace=folder / "moved", steps=1)
    first = finetune(config)
    with torch.no_grad():
        next(model.network.parameters()).mul_(1.5)
    save_model(model.sealed(), folder / "moving")
    second = finetune(config)
    assert first["base"] != second["base"]
    assert first["before"] != second["before"], "what other weights said is not told as theirs"
    path.write_text("".join(json.dumps(row | {"chosen": "b"}) + "\n" for row in rows))
    assert finetune(config)["before"] != second["before"]
    assert left_over(config.workspace) == []
    table = module.Table(judge=model, adviser=bytes_model())
    told = module.named(config, model, table)
    assert (told.judge, told.adviser) == (table.judge.identity, table.adviser.identity)


SPLIT = ("dev", "train", "train", "train")


def test_questions_of_a_file_are_answered_for_their_labels(folder: Path) -> None:
    path = folder / "questions.jsonl"
    rows = [
        {"question": f"what comes after {i}?", "options": ["a", "b"], "answer": "a", "split": SPLIT[i % 4]}
        for i in range(24)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = config_of(
        folder, method="grpo", data=str(path), workspace=folder / "asked", batch=8, generations=4, steps=2, tokens=2
    )
    result = finetune(config)
    assert result["rows"] == 18
    assert {"reward", "judged", "right"} <= set(result["after"])


ODD: tuple[tuple[dict[str, Any], str], ...] = (
    ({"data": "nothing.jsonl"}, "neither a file nor a task"),
    ({"signal": "seance"}, "--signal seance: nothing to learn from on slips: use labels; "),
    ({"model": "inspect:openai/gpt"}, "weights are needed to train"),
    ({"method": "grpo", "says": "argument"}, "nobody speaks for a side"),
    ({"method": "grpo", "generations": 3}, "do not fill batches"),
)


@pytest.mark.parametrize(("fields", "message"), ODD)
def test_options_that_cannot_be_trained_with(folder: Path, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(SuperalignError, match=message):
        finetune(config_of(folder, workspace=folder / "odd", **fields))


def test_a_signal_that_tells_nothing_apart_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every completion earns the same: no weight moves, and that is no model to be given out."""

    class Flat(AnswerReward):
        def judged(self, prompts: Any, completions: Any, **columns: Any) -> list[Any]:
            return [Pay(1.0) for _ in completions]

    monkeypatch.setattr(module, "AnswerReward", Flat)
    with pytest.raises(SuperalignError, match="nothing was learned, the weights are still those of"):
        finetune(config_of(folder, method="grpo", data="traces", workspace=folder / "flat"))
