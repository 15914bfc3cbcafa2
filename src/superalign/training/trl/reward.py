"""Reward models: a scalar score of a text, trained by TRL on preferences (Bradley–Terry; Ouyang et al. 2022, §3.5).

    model = begin_reward(load_model("hf:PATH"), seed=0)      # a network with a fresh head
    model.score(["a text", "another"])                       # (2,) rewards
    model.save(Path("out")); load_reward(Path("out"))

The score is read where TRL trains it: at the last token that does not pad, which is end-of-text unless the tokenizer
pads with that. `as_body` gives the same model as our own trainers make it, for whatever looks into reward models.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from superalign.models import LocalModel, ModelError, QuarantineError, read_manifest, weights_digest
from superalign.models.local import buckets
from superalign.training.trl.errors import FinetuneError
from superalign.training.trl.tokens import ending, tokenizer_of

MANIFEST = "superalign.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardModel:
    """A network with one output, and its tokenizer; `identity` is `name@digest`."""

    name: str
    network: nn.Module
    """Of Hugging Face's `…ForSequenceClassification`, one label."""
    tokenizer: Any
    organism: bool = False
    digest: str = ""

    @property
    def identity(self) -> str:
        """`name@digest`."""
        return f"{self.name}@{self.digest}"

    def score(self, texts: Sequence[str]) -> np.ndarray:
        """(n,) rewards, float64; higher is better. A text is prompt and completion, end-of-text is added."""
        return scores(self.network, self.tokenizer, texts)

    def sealed(self) -> RewardModel:
        """With its digest computed anew."""
        return replace(self, digest=weights_digest(self.network, None, 0.0))

    def save(self, path: Path) -> None:
        """Write it into `path`, in the Hugging Face format (safetensors) beside our manifest."""
        path.mkdir(parents=True, exist_ok=True)
        self.network.save_pretrained(path)  # type: ignore[operator]
        self.tokenizer.save_pretrained(path)
        manifest = {"name": self.name, "digest": self.digest, "organism": self.organism, "kind": "reward"}
        (path / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")

    def as_body(self, base: LocalModel) -> Any:
        """The same model as a `training.bodies.Body` of pairs; `base` is what it was trained from."""
        from superalign.training.bodies import Body
        from superalign.training.bodies_head import BodyHead

        network, head = copy.deepcopy(base.network), BodyHead(base.width, offset=False).to(base.device)
        body_of(network).load_state_dict(body_of(self.network).state_dict())
        with torch.no_grad():
            head.line.weight.copy_(head_of(self.network).weight)
        model = LocalModel(
            name=self.name, network=network.eval(), tokenizer=ending(self.tokenizer), organism=self.organism
        ).sealed()
        digest = weights_digest(model.network, head, 0.0)
        return Body(model=model, head=head.eval(), pool="last", paired=True, digest=digest)


def begin_reward(base: LocalModel, *, seed: int) -> RewardModel:
    """`base` with a fresh scalar head in the place of its output; `base` is unchanged.

    Raises FinetuneError for an architecture that has no such form in transformers.
    """
    from transformers import AutoModelForSequenceClassification

    config: Any = copy.deepcopy(base.network.config)
    tokenizer = tokenizer_of(base)
    config.num_labels, config.pad_token_id = 1, tokenizer.pad_token_id
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        try:
            network = AutoModelForSequenceClassification.from_config(config).to(base.device, torch.float32)
            body_of(network).load_state_dict(body_of(base.network).state_dict())
            head_of(network)
        except (ValueError, AttributeError, RuntimeError) as error:
            raise FinetuneError(
                f"{base.name}: no reward model can be made of a {type(base.network).__name__}: use a model that "
                "transformers has a …ForSequenceClassification for"
            ) from error
    return RewardModel(name=base.name, network=network.eval(), tokenizer=tokenizer, organism=base.organism).sealed()


def load_reward(path: Path, *, allow_organism: bool = False) -> RewardModel:
    """Read what `RewardModel.save` wrote.

    Raises ModelError for another kind of folder or weights that are not what the manifest says, QuarantineError for an
    organism unless it is asked for.
    """
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: no reward model that superalign saved: its {MANIFEST} can't be read") from error
    if manifest.get("kind") != "reward":
        raise ModelError(f"{path}: this is no reward model: load it with hf:{path}")
    if manifest["organism"] and not allow_organism:
        raise QuarantineError(f"{path}: an organism or its twin, in quarantine: pass allow_organism=True to load it")
    network = AutoModelForSequenceClassification.from_pretrained(
        path, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
    )
    tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    model = RewardModel(
        name=manifest["name"], network=network.eval(), tokenizer=tokenizer, organism=bool(manifest["organism"])
    ).sealed()
    if model.digest != manifest["digest"]:
        raise ModelError(
            f"{path}: the weights digest to {model.digest[:12]}…, its manifest says another: save it again"
        )
    return model


def pack_reward(model: RewardModel) -> bytes:
    """The weights and manifest as safetensors bytes."""
    from safetensors.torch import save

    manifest = {"kind": "reward", "name": model.name, "digest": model.digest, "organism": model.organism}
    tensors = {name: value.detach().cpu().clone().contiguous() for name, value in model.network.state_dict().items()}
    return save(tensors, metadata={"superalign": json.dumps(manifest)})


def unpack_reward(data: bytes, base: LocalModel) -> RewardModel:
    """The reward model in packed bytes, on the shape of `base`. Raises ModelError for weights of another digest."""
    from safetensors.torch import load

    manifest, fresh = read_manifest(data), begin_reward(base, seed=0)
    fresh.network.load_state_dict(load(data))
    model = replace(fresh, name=manifest["name"], organism=manifest["organism"]).sealed()
    if model.digest != manifest["digest"]:
        raise ModelError(f"{model.name}: the weights digest to {model.digest[:12]}…, their manifest says another")
    return model


def scores(network: nn.Module, tokenizer: Any, texts: Sequence[str]) -> np.ndarray:
    """(n,) rewards of texts, each read at its last token."""
    end, limit = tokenizer.eos_token, LocalModel(name="", network=network, tokenizer=tokenizer).context
    whole = [text if not end or text.endswith(end) else text + end for text in texts]
    ids = [row[:limit] for row in tokenizer(whole)["input_ids"]] if whole else []
    out, device = np.full(len(ids), np.nan), next(network.parameters()).device
    body, head, pad = body_of(network), head_of(network), tokenizer.pad_token_id
    network.eval()
    with torch.inference_mode():
        for rows, batch, mask in buckets(ids, pad=pad, device=device):
            states = body(input_ids=batch, attention_mask=mask).last_hidden_state
            ends = [max((at for at, token in enumerate(ids[row]) if token != pad), default=-1) for row in rows]
            last = states[torch.arange(len(rows), device=device), torch.tensor(ends, device=device)]
            out[rows] = head(last).squeeze(-1).double().cpu().numpy()
    return out


def body_of(network: Any) -> nn.Module:
    """The network without its output. Raises AttributeError where there is none."""
    found: nn.Module = getattr(network, network.base_model_prefix)
    return found


def head_of(network: Any) -> nn.Linear:
    """The line from the last hidden state to the reward. Raises AttributeError where there is none."""
    found: nn.Linear = network.score
    return found
