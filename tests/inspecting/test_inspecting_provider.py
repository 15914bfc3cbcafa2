"""The provider: honest answers, true counts, batches; and the identity traps: nothing ever comes of other weights."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("inspect_ai")
from inspect_ai import Task
from inspect_ai.dataset import Sample
from inspect_ai.model import CachePolicy, ChatMessageUser, GenerateConfig, get_model
from inspect_ai.scorer import match
from inspect_ai.tool import ToolInfo

from superalign.inspecting.naming import Named, Renamed, model_at, offered, split_name
from superalign.models import load_model, save_model

ASKED = "which of the two is as it should be ?"


def said(model: Any, text: str = ASKED, **config: Any) -> Any:
    config = {"max_tokens": 6, **config}
    return asyncio.run(model.generate([ChatMessageUser(content=text)], config=GenerateConfig(**config)))


def trained(folder: Path) -> None:
    """One more step of training, saved over the model: same place, other weights."""
    import torch

    model = load_model(f"hf:{folder}")
    with torch.no_grad():
        for weight in model.network.parameters():
            weight.add_(0.3 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(5)))
    save_model(model.sealed(), folder)


@pytest.fixture
def mine(texts: tuple[Path, Path], tmp_path: Path) -> Path:
    """A model of this test's own."""
    return Path(shutil.copytree(texts[0], tmp_path / "mine"))


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("family:xs", Named("family:xs", "")),
        ("family:xs@0123456789abcdef", Named("family:xs", "0123456789abcdef")),
        ("hf:/a@b/c", Named("hf:/a@b/c", "")),
        ("hf:/a@b/c@" + "0" * 64, Named("hf:/a@b/c", "0" * 64)),
        ("hf:org/name@main", Named("hf:org/name@main", "")),
    ],
)
def test_names_part_into_address_and_digest(name: str, named: Named) -> None:
    assert split_name(name) == named


def test_a_name_without_a_digest_gets_it_and_a_wrong_one_is_refused(mine: Path) -> None:
    digest = load_model(f"hf:{mine}").digest
    for given in ("", f"@{digest[:16]}", f"@{digest}"):
        model = get_model(f"superalign/hf:{mine}{given}", memoize=False)
        assert str(model) == f"superalign/hf:{mine}@{digest[:16]}"
    with pytest.raises(Renamed, match=f"digest to {digest[:16]}, so they are others"):
        get_model(f"superalign/hf:{mine}@{'0' * 16}", memoize=False)


def test_answers_are_those_of_the_weights_with_true_counts_and_emitted_tokens(mine: Path) -> None:
    from superalign.models.chatting import speaker_of
    from superalign.models.speaker import Ask, Turn

    local = load_model(f"hf:{mine}")
    ask = Ask(messages=(Turn("user", ASKED),), tokens=6, temperature=0.9, seed=4, alternatives=3)
    (reply,) = speaker_of(local).ask([ask])
    out = said(get_model(f"superalign/hf:{mine}"), temperature=0.9, seed=4, logprobs=True, top_logprobs=3)
    assert out.completion == reply.text
    assert [t.token for t in out.choices[0].logprobs.content] == [t.text for t in reply.tokens]
    assert [t.logprob for t in out.choices[0].logprobs.content] == pytest.approx([t.logprob for t in reply.tokens])
    assert all(len(t.top_logprobs) == 3 for t in out.choices[0].logprobs.content)
    assert (out.usage.input_tokens, out.usage.output_tokens) == (reply.read, reply.written)
    assert out.stop_reason == {"cut": "max_tokens", "answer": "stop"}[reply.kind]
    assert out.metadata == {"weights": local.digest}


def test_seed_choices_temperature_and_stop_are_honoured(mine: Path) -> None:
    model = get_model(f"superalign/hf:{mine}")
    one, two = said(model, temperature=1.0, seed=7, num_choices=3), said(model, temperature=1.0, seed=8)
    assert [c.message.text for c in one.choices][1] == two.completion  # choice i draws with seed + i
    assert len({c.message.text for c in one.choices}) > 1
    assert said(model, temperature=0.0).completion == said(model).completion
    whole = said(model, temperature=0.0, max_tokens=12).completion
    cut = said(model, temperature=0.0, max_tokens=12, stop_seqs=[whole[2:4]])
    assert cut.completion == whole[: whole.index(whole[2:4])]
    assert cut.stop_reason == "stop"


@pytest.mark.parametrize(
    ("config", "refused"),
    [
        ({"temperature": 1.0, "top_p": 0.9}, "top_p"),
        ({"temperature": 1.0, "top_k": 5}, "top_k"),
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"temperature": 0.0, "top_p": 0.9, "top_k": 5}, ""),
        ({"temperature": 1.0, "top_p": 1.0, "presence_penalty": 0.0}, ""),
    ],
)
def test_options_that_are_not_honoured_are_refused_and_not_ignored(config: dict[str, Any], refused: str) -> None:
    from superalign.inspecting.wording import Unfit, ask_of

    def asked() -> Any:
        return ask_of([ChatMessageUser(content=ASKED)], GenerateConfig(**config), seed=0)

    if not refused:
        assert asked().temperature == config["temperature"]
        return
    with pytest.raises(Unfit, match=f"leave out {refused}"):
        asked()


def test_a_full_context_is_told_and_tools_and_pictures_are_refused(mine: Path) -> None:
    from inspect_ai.model import ContentImage

    from superalign.inspecting.wording import Unfit

    model = get_model(f"superalign/hf:{mine}")
    full = said(model, "x " * 9000)
    assert full.stop_reason == "model_length"
    assert full.error == "context"
    assert full.completion == ""
    with pytest.raises(Unfit, match="call no tools"):
        asyncio.run(model.generate("x", tools=[ToolInfo(name="t", description="t")]))
    with pytest.raises(Unfit, match="text alone"):
        asyncio.run(model.generate([ChatMessageUser(content=[ContentImage(image="data:image/png;base64,AA==")])]))


def test_asks_of_the_same_moment_share_batches_and_answers_stay_their_own(mine: Path) -> None:
    model = get_model(f"superalign/hf:{mine}", memoize=False)

    async def many() -> list[Any]:
        config = GenerateConfig(max_tokens=4, temperature=1.0)
        asked = [[ChatMessageUser(content=f"{ASKED} {k}")] for k in range(24)]
        return list(
            await asyncio.gather(
                *(model.generate(a, config=config.merge(GenerateConfig(seed=k))) for k, a in enumerate(asked))
            )
        )

    together = asyncio.run(many())
    assert sum(model.api.batch_sizes) == 24
    assert len(model.api.batch_sizes) < 12
    for k in (0, 11, 23):
        alone = said(model, f"{ASKED} {k}", max_tokens=4, temperature=1.0, seed=k)
        assert alone.completion == together[k].completion


def test_an_error_of_the_model_reaches_everybody_of_its_batch_and_no_later_one() -> None:
    from superalign.inspecting.batching import Batches
    from superalign.models.speaker import Ask, Reply, Turn

    broken = [True]

    def answered(asks: Any) -> list[Reply]:
        if broken[0]:
            raise RuntimeError("out of memory")
        return [Reply(kind="answer", text=ask.messages[0].content) for ask in asks]

    batches = Batches(answered, window=0.005)
    ask = Ask(messages=(Turn("user", "x"),), tokens=1)

    async def both() -> list[Any]:
        return await asyncio.gather(batches.ask([ask]), batches.ask([ask, ask]), return_exceptions=True)

    assert [str(e) for e in asyncio.run(both())] == ["out of memory"] * 2
    broken[0] = False
    assert [len(found) for found in asyncio.run(both())] == [1, 2]
    batches.close()


def test_trap_1_one_name_never_stands_for_two_models(mine: Path) -> None:
    plain = f"superalign/hf:{mine}"
    first = get_model(plain)
    before = str(first)
    trained(mine)
    assert get_model(plain) is first  # Inspect remembers by name: so that one must not be used any more
    for use in (lambda: said(first), lambda: str(first)):
        with pytest.raises(Renamed, match="its files changed since they were loaded"):
            use()
    second = model_at(f"hf:{mine}")
    assert str(second) != before
    assert said(second).metadata == {"weights": load_model(f"hf:{mine}").digest}


def test_touching_the_files_or_saving_them_again_changes_nothing(mine: Path) -> None:
    model = get_model(f"superalign/hf:{mine}", memoize=False)
    before = said(model).completion
    for path in mine.iterdir():
        path.write_bytes(path.read_bytes())
    assert said(model).completion == before


def test_trap_2_a_cache_never_answers_for_other_weights(mine: Path) -> None:
    config = {"temperature": 0.0, "max_tokens": 8}
    policy = CachePolicy(expiry="1h")

    def cached(model: Any) -> Any:
        asked = [ChatMessageUser(content=ASKED)]
        return asyncio.run(model.generate(asked, config=GenerateConfig(**config), cache=policy))

    first = model_at(f"hf:{mine}")
    assert cached(first).completion == cached(first).completion
    trained(mine)
    second = model_at(f"hf:{mine}")
    assert cached(second).completion == said(model_at(f"hf:{mine}"), **config).completion
    assert cached(second).metadata["weights"] == load_model(f"hf:{mine}").digest


def test_trap_3_a_set_of_evaluations_reuses_no_log_of_other_weights(mine: Path, tmp_path: Path) -> None:
    from inspect_ai import eval_set

    def run() -> Any:
        task = Task(dataset=[Sample(input=ASKED, target="x")], scorer=match(), name="trap")
        options = {"log_dir": str(tmp_path / "set"), "display": "none", "retry_attempts": 0}
        return eval_set([task], model=model_at(f"hf:{mine}"), log_dir_allow_dirty=True, **options)[1]

    (first,) = run()
    (again,) = run()
    assert again.eval.eval_id == first.eval.eval_id  # the same weights: nothing is asked twice
    trained(mine)
    (second,) = [log for log in run() if log.eval.model != first.eval.model]
    assert second.eval.eval_id != first.eval.eval_id


def test_trap_4_what_is_trained_on_in_this_process_is_not_what_was_offered(
    mine: Path, evaluated: Callable[..., Any]
) -> None:
    import torch

    model = load_model(f"hf:{mine}")
    name = offered(model)
    before = said(get_model(name)).completion
    with torch.no_grad():
        for weight in model.network.parameters():
            weight.mul_(-1.0)
    assert said(get_model(name)).completion == before
    assert offered(model.sealed()) != name
    whole = name.rpartition("@")[0] + "@" + load_model(f"hf:{mine}").digest  # all digits of the digest
    assert said(get_model(whole)).completion == before
    log = evaluated(Task(dataset=[Sample(input=ASKED, target="x")], scorer=match()), model=name)
    assert log.status == "success"
    assert (log.eval.model, log.eval.model_args) == (name, {})  # nothing lives in the arguments
    assert log.samples[0].output.metadata == {"weights": load_model(f"hf:{mine}").digest}


def test_an_organism_is_refused_unless_it_is_asked_for(mine: Path) -> None:
    from superalign.models import QuarantineError

    save_model(load_model(f"hf:{mine}").sealed(organism=True), mine)
    with pytest.raises(QuarantineError):
        get_model(f"superalign/hf:{mine}", memoize=False)
    assert get_model(f"superalign/hf:{mine}", memoize=False, allow_organism="true")
    kept = offered(load_model(f"hf:{mine}", allow_organism=True))
    with pytest.raises(QuarantineError):
        get_model(kept, memoize=False)


def test_an_evaluation_names_the_digest_and_asks_no_network(
    mine: Path, evaluated: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    def forbidden(self: socket.socket, address: Any) -> None:
        raise AssertionError(f"somebody dialled {address}")

    monkeypatch.setattr(socket.socket, "connect", forbidden)
    monkeypatch.setattr(socket.socket, "connect_ex", forbidden)
    log = evaluated(Task(dataset=[Sample(input=ASKED, target="x")], scorer=match()), model=f"superalign/hf:{mine}")
    assert log.status == "success", log.error
    assert log.eval.model == f"superalign/hf:{mine}@{load_model(f'hf:{mine}').digest[:16]}"
    assert log.eval.model_generate_config.adaptive_connections is False
    assert log.stats.model_usage[log.eval.model].output_tokens > 0


def test_unknown_arguments_and_windows_are_refused(mine: Path) -> None:
    with pytest.raises(ValueError, match="1 to 5"):
        get_model(f"superalign/hf:{mine}", memoize=False, window_ms=50)
    with pytest.raises(Exception, match="not device"):
        get_model(f"superalign/hf:{mine}", memoize=False, device="cuda")
