"""`superalign finetune`: a model, a signal, TRL; with firewall, lineage, and the figures before and after.

    finetune(FinetuneConfig(model="hf:PATH", method="dpo", signal="debate", lora=8))

Stages are found again by all that they depend on; the training itself keeps TRL's state in the workspace, and a run
that was killed ends with the same weights.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import superalign
from superalign.evidence import SuperalignError, Workspace
from superalign.models import LocalModel, load_model, pack, read_manifest, save_model, unpack
from superalign.pipeline.desk import Desk, listed, register
from superalign.pipeline.finetune_config import LABELS, FinetuneConfig, recipe_of
from superalign.pipeline.finetune_data import (
    Material,
    Pages,
    answers_of,
    asked_rows,
    by_beliefs,
    content_of,
    entered,
    from_file,
    given_rows,
    is_file,
    labelled,
    pages_of,
)
from superalign.pipeline.finetune_judged import Judged, first_of, judged
from superalign.pipeline.finetune_rewards import AnswerReward
from superalign.pipeline.finetune_scores import asked_about, kinds_said, measure
from superalign.training.record import plan_fit, record_fit
from superalign.training.trl.errors import need_trl
from superalign.training.trl.fitting import Fitted, fit_with_trl
from superalign.training.trl.recipe import TrlRecipe, resolved, versions
from superalign.training.trl.reward import RewardModel, begin_reward, pack_reward, unpack_reward

Say = Callable[[str], None]
BASE = "pretrained before any signal of this ledger was drawn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewards:
    """What completions earn on the rows to train on, and on those of dev; None but for GRPO."""

    train: Any = None
    dev: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Who sits at a protocol's table."""

    judge: LocalModel
    adviser: LocalModel


def finetune(config: FinetuneConfig, *, say: Say = lambda text: None) -> dict[str, Any]:
    """Train, measure before and after on dev, write the model; returns what was trained and where it lies.

    Raises SuperalignError for data, signals and models that can't be used, FirewallError for a signal that may not be
    trained on, FinetuneError as `fit_with_trl`.
    """
    need_trl()
    if not config.model.startswith(("hf:", "family:")):
        raise SuperalignError(f"--model {config.model}: weights are needed to train: use hf:NAME-OR-PATH")
    base = load_model(config.model)
    recipe = resolved(recipe_of(config), config.method, context=base.context)
    table = table_of(config)
    with Workspace.open(config.workspace, create=True) as ws:
        desk = Desk(ws=ws, config=named(config, base, table), sizes=recipe, say=say)  # type: ignore[arg-type]
        register(desk, base, base=BASE, address=config.model)
        material, rewards = gathered(desk, config, base, table)
        sources = [material.digest] + ([material.signal] if config.method == "grpo" else [])
        plan_fit(ws, name=f"{config.method} of {base.name}", base=base.digest, data=sources)
        _begin(desk, config, base, recipe, material)
        first = _fresh_reward(ws, base, config.seed) if config.method == "reward" else base
        before = desk.stage(
            "before training", lambda: asked_about(first, material, config, recipe, rewards.dev), material.digest
        )
        kept = trained(desk, config, base, recipe, material, rewards.train)
        fitted = restored(ws, kept, base)
        if fitted.digest == base.digest:
            raise SuperalignError(_unmoved(config, kept))
        entered_model(ws, config, base, fitted, kept, sources)
        after = desk.stage(
            "after training", lambda: asked_about(fitted, material, config, recipe, rewards.dev), fitted.digest
        )
        told = {"before": before, "after": after}
        figures = {when: scored(desk, config, material, asked, when) for when, asked in told.items()}
        out = config.out or config.workspace / "finetuned" / fitted.digest[:12]
        written(ws, fitted, kept, out)
        return {
            "workspace": str(config.workspace),
            "method": config.method,
            "signal": config.signal,
            "model": fitted.identity,
            "base": base.identity,
            "load": str(out) if config.method == "reward" else f"hf:{out}",
            "adapter": str(out / "adapter") if kept["adapter"] else "",
            "rows": kept["rows"],
            "left_out": kept["left_out"],
            "kinds": kept["kinds"],
            "loss": {"first": kept["losses"][0], "last": kept["losses"][-1], "steps": len(kept["losses"])},
            **figures,
            "head": ws.ledger.head,
        }


def _unmoved(config: FinetuneConfig, kept: dict[str, Any]) -> str:
    """Why no weight has changed, and what to do."""
    told = ", ".join(f"{count} {kind}" for kind, count in kept["kinds"].items())
    why = "every completion of a prompt earned the same" + (f" (could not be judged: {told})" if told else "")
    why = why if config.method == "grpo" else "the labels are undecided, ½ each"
    return (
        f"nothing was learned, the weights are still those of {config.model}: {why}. Its "
        f"{len(kept['losses'])} steps are kept in the ledger: take a signal that tells answers apart, or a model that "
        "gives answers"
    )


def table_of(config: FinetuneConfig) -> Table | None:
    """Judge and adviser; None where labels are learned from."""
    if config.signal == LABELS:
        return None
    judge = load_model(config.judge)
    return Table(judge=judge, adviser=load_model(config.adviser) if config.adviser else judge)


def named(config: FinetuneConfig, base: LocalModel, table: Table | None) -> FinetuneConfig:
    """The config as stages are named by it: models by their weights and a file by its content, not by where they lie.

    So that nothing is found again that was made of other weights, or of other rows, in the same place.
    """
    data = f"{Path(config.data).name}@{content_of(Path(config.data))}" if is_file(config) else config.data
    told = replace(config, out=None, model=base.identity, data=data)
    return replace(told, judge=table.judge.identity, adviser=table.adviser.identity) if table else told


def gathered(desk: Desk, config: FinetuneConfig, base: LocalModel, table: Table | None) -> tuple[Material, Rewards]:
    """The rows and, for GRPO, what completions earn. Raises FirewallError before a refused page is opened."""
    if (rows := given_rows(config)) is not None:
        return from_file(desk, config, rows), Rewards()
    pages = pages_of(desk, config, base.digest)
    if table is not None:
        return _by_protocol(desk, config, pages, table)
    material = labelled(desk, config, pages)
    if config.method != "grpo":
        return material, Rewards()
    if config.says != "choice":
        raise SuperalignError(f"--says {config.says}: labels grade answers, nobody speaks for a side: use a protocol")
    found = [
        AnswerReward(answers=answers_of(desk, page, pages.digests[name]), options={i.id: i.options for i in page.items})
        for name, page in (("train", pages.train), ("dev", pages.dev))
    ]
    return material, Rewards(train=found[0], dev=found[1])


def _by_protocol(desk: Desk, config: FinetuneConfig, pages: Pages, table: Table) -> tuple[Material, Rewards]:
    for player, address in ((table.judge, config.judge), (table.adviser, config.adviser or config.judge)):
        register(desk, player, base=BASE, address=address)
    told: Judged = judged(desk, config, pages, table.judge, table.adviser)
    if config.method != "grpo":
        beliefs = first_of(told.beliefs("train"))
        return by_beliefs(desk, config, pages, beliefs, told.signal(beliefs)), Rewards()
    first = first_of(told.beliefs("train")) if config.says == "choice" else None
    rewards = Rewards(train=told.reward("train"), dev=told.reward("dev"))
    rows = asked_rows(pages.train.items, config.says, dict.fromkeys((i.id for i in pages.train.items), -1))
    return entered(desk, config, pages, rows, told.signal(first)), rewards


def _stated(recipe: TrlRecipe) -> dict[str, Any]:
    """The recipe as JSON."""
    return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(recipe).items()}


def _fresh_reward(ws: Workspace, base: LocalModel, seed: int) -> RewardModel:
    """What a reward model is before training: it comes of the base and of nothing else."""
    fresh = begin_reward(base, seed=seed)
    with ws.ledger.transaction():
        ws.node(kind="model", digest=fresh.digest, name=f"{base.name}, a fresh reward head")
        ws.use(base.digest, fresh.digest, "fit")
    return fresh


def _begin(desk: Desk, config: FinetuneConfig, base: LocalModel, recipe: TrlRecipe, material: Material) -> None:
    """The run in the ledger: options, resolved recipe, digests, versions of the libraries."""
    body = {
        "finetune": listed(replace(config, out=None)),
        "recipe": _stated(recipe),
        "models": {"base": base.digest},
        "rows": material.digest,
        "measured_by": material.measured_by,
        "key": desk.key("run"),
        "version": superalign.__version__,
        "libraries": versions(),
    }
    if not any(event.body == body for event in desk.ws.ledger.events("run")):
        desk.ws.ledger.append("run", body, actor="notary")


def trained(
    desk: Desk, config: FinetuneConfig, base: LocalModel, recipe: TrlRecipe, material: Material, reward: Any
) -> dict[str, Any]:
    """The training as a stage: weights, adapter, losses and samples in the store."""
    ws, key = desk.ws, desk.key("trained", material.digest, base.digest)

    def told(step: int, steps: int) -> None:
        if step == steps or step % max(1, steps // 10) == 0:
            desk.say(f"step {step} of {steps}")

    def work() -> dict[str, Any]:
        fitted: Fitted = fit_with_trl(
            base,
            material.train,
            method=config.method,
            recipe=recipe,
            reward=reward,
            resume=config.workspace / "training" / key[:16],
            progress=told,
        )
        packed = pack(fitted.model) if fitted.model else pack_reward(fitted.reward)  # type: ignore[arg-type]
        return {
            "weights": ws.store.put(packed),
            "adapter": {name: ws.store.put(data) for name, data in fitted.adapter.items()},
            "losses": [round(loss, 9) for loss in fitted.losses],
            "samples": ws.store.put_json([dict(sample) for sample in fitted.samples]),
            "kinds": fitted.kinds,
            "rows": fitted.rows,
            "left_out": fitted.left_out,
        }

    kept: dict[str, Any] = desk.stage("trained", work, material.digest, base.digest, actor="trainer")
    return kept


def restored(ws: Workspace, kept: dict[str, Any], base: LocalModel) -> LocalModel | RewardModel:
    """The fitted model, from the store."""
    data = ws.store.get(kept["weights"])
    return unpack_reward(data, base) if read_manifest(data).get("kind") == "reward" else unpack(data, base)


def entered_model(
    ws: Workspace,
    config: FinetuneConfig,
    base: LocalModel,
    fitted: LocalModel | RewardModel,
    kept: dict[str, Any],
    sources: list[str],
) -> None:
    """The fitted model as a node, `fit` edges from base, rows and, for GRPO, the signal; LoRA's changes between."""
    record_fit(ws, fitted, base=base.digest, data=sources)  # type: ignore[arg-type]
    if not kept["adapter"]:
        return
    text = "".join(f"{name} {digest}\n" for name, digest in sorted(kept["adapter"].items()))
    adapter = hashlib.sha256(text.encode()).hexdigest()
    with ws.ledger.transaction():
        meta = {"files": kept["adapter"], "rank": config.lora, "alpha": config.alpha}
        ws.node(kind="model", digest=adapter, name=f"{fitted.name}, adapter", meta=meta)
        for source in (base.digest, *sources):
            ws.use(source, adapter, "fit")
        ws.use(adapter, fitted.digest, "fit")


def scored(desk: Desk, config: FinetuneConfig, material: Material, asked: dict[str, Any], when: str) -> dict[str, Any]:
    """What was said as measurements; returns the figures, and what could not be judged or read."""
    name, part = f"figures {when} training", asked["subject"]
    done = desk.finished(name, part)
    if done is None:
        with desk.ws.ledger.transaction():
            by = {"method": config.method, "signal": config.signal, "measured_by": material.measured_by}
            done = desk.finish(name, measure(desk, asked, when=when, **by), part, seconds=0.0)
    return {**done, "kinds": kinds_said(asked["said"]), "left_out": asked["left out"]}


def written(ws: Workspace, fitted: LocalModel | RewardModel, kept: dict[str, Any], out: Path) -> None:
    """The model in `out`, to be loaded from there, and LoRA's changes beside it, for their base."""
    if isinstance(fitted, RewardModel):
        fitted.save(out)
    else:
        save_model(fitted, out)
    for name, digest in kept["adapter"].items():
        (out / "adapter").mkdir(exist_ok=True)
        (out / "adapter" / name).write_bytes(ws.store.get(digest))
