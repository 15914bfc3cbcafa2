"""`superalign interpret`: record every unit, explain it, score that beside its controls, look for causes and concepts.

What was finished is found again: the recording goes on at its last block, sites and parts are stages of their own.
Explanations and their scores are a Signal of validation: no model of this ledger can be fitted to it.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import superalign
from superalign.evidence import Signal, SuperalignError, Workspace
from superalign.interpretability.corpus import SPLITS, Corpus, Split
from superalign.pipeline.desk import Desk, listed, register
from superalign.pipeline.interpret_asked import answers, asks_elsewhere, check_explainer, foreseen, settled
from superalign.pipeline.interpret_config import SETTINGS, InterpretConfig, InterpretSizes, interpret_sizes
from superalign.pipeline.interpret_corpus import corpus_for, corpus_to_bytes
from superalign.pipeline.interpret_kept import NEURONS, explained_stage, explanations_of, fresh_seeds
from superalign.pipeline.interpret_parts import FURTHER, scored_parts
from superalign.pipeline.interpret_scores import Sheet, score_explanations
from superalign.pipeline.spending import Estimate
from superalign.pipeline.stored import OfKey, Stored

if TYPE_CHECKING:
    from superalign.interpretability.units import Site
    from superalign.models import LocalModel

Say = Callable[[str], None]
USED: Mapping[Split, str] = {"train": "fit", "dev": "select", "validation": "read"}
"""How explanations, and their agreement with activations, come from each part of the text; one part is set apart."""
TOLD = 10
"""How often the recording says how far it is."""


def interpret(
    config: InterpretConfig, *, say: Say = lambda text: None, tell: Callable[[Estimate], None] = lambda estimate: None
) -> dict[str, Any]:
    """Measure everything that `parts` names; returns where the ledger stands. What was finished is not done again.

    Where an explainer is asked elsewhere, `tell` is told what that will cost at most before the first request.

    Raises SuperalignError for workspaces, models, dictionaries or text that can't be used, and for an explainer that
    can't be asked: a refused key, a limit that is reached; its replies are kept, and the same call goes on from them.
    """
    from superalign.pipeline.interpret_work import do, jobs_of  # torch loads here, not where scores are recounted

    check(config)
    terms, config = config, settled(config)
    sizes, (model, sites) = interpret_sizes(config), looked_into(config)
    say("what is read")
    corpus = corpus_for(model, config, sizes)
    with Workspace.open(config.workspace, create=True) as ws:
        desk = Desk(ws=ws, config=config, sizes=sizes, say=say)  # type: ignore[arg-type]
        begin(desk, config, sizes, model, corpus)
        why = "what is looked into: trained before any signal of this ledger was drawn"
        register(desk, model, base=why, address=config.model)
        stored = desk.stage("corpus", lambda: corpus_kept(desk, corpus))
        kept = desk.stage("recording", lambda: recorded(desk, config, model, sites, corpus))
        at = ws.store.path(stored["corpus"]), ws.store.path(kept["recording"])
        names = [site.name for site in sites]
        said = answers(desk, terms, names, at[0], tell)
        jobs = jobs_of(desk, config, *at) | site_jobs(desk, config, names, *at, said=said)
        desk.stages(do, {name: (job, "") for name, job in jobs.items()})
        score(desk, config, model.identity)
        return {
            "workspace": str(config.workspace),
            "interpretation": desk.key("run"),
            "head": ws.ledger.head,
            "events": len(ws.ledger),
        }


def estimated(config: InterpretConfig) -> Estimate:
    """What asking the explainer would cost, for `--dry-run`: nothing is sent, nothing is written.

    Raises SuperalignError as `interpret` does, and where no explainer is asked elsewhere.
    """
    check(config)
    if not asks_elsewhere(config):
        raise SuperalignError(
            "--dry-run says what asking a model elsewhere would cost, and --explainer names "
            + ("one that is read on this machine" if config.explainer else "none")
            + ": leave it out"
        )
    sizes, (model, sites) = interpret_sizes(config), looked_into(config)
    return foreseen(config, sizes, [site.name for site in sites], corpus_for(model, config, sizes))


def looked_into(config: InterpretConfig) -> tuple[LocalModel, tuple[Site, ...]]:
    """The model, and its sites. Raises SuperalignError for a model or dictionaries that can't be used."""
    from superalign.models import load_model
    from superalign.pipeline.interpret_explain import sites_of

    model = load_model(config.model)
    try:
        return model, sites_of(model, config.dictionaries)
    except ValueError as error:
        raise SuperalignError(str(error)) from error


def check(config: InterpretConfig) -> None:
    """Raises SuperalignError for options that can't be played."""
    if "explanations" not in config.parts:
        raise SuperalignError("--parts must name `explanations`: the other parts stand beside them")
    if config.seed < 0 or config.described < 0 or config.workers < 1:
        raise SuperalignError("--seed and --described are 0 or more, --workers 1 or more")
    check_explainer(config)


def expected_stages(config: InterpretConfig) -> int:
    """How many times `say` is called from nothing, about: what a progress bar counts to."""
    sizes = interpret_sizes(config)
    sites = 4
    fresh = sizes.untrained * sites if "untrained" in config.parts else 0
    asked = sites + 1 if asks_elsewhere(config) else 0
    return 4 + TOLD + 2 * sites + fresh + asked + len(set(config.parts) & set(FURTHER)) + 2


def begin(desk: Desk, config: InterpretConfig, sizes: InterpretSizes, model: LocalModel, corpus: Corpus) -> None:
    """The run event, once. Raises SuperalignError where the same options met other weights or text."""
    import torch

    body = {
        "interpretation": {name: value for name, value in listed(config).items() if name not in SETTINGS},
        "sizes": asdict(sizes),
        "model": model.identity,
        "corpus": corpus.digest,
        "version": superalign.__version__,
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "torch": torch.__version__},
    }
    for event in desk.ws.ledger.events("run"):
        if event.body.get("interpretation") != body["interpretation"] or event.body.get("sizes") != body["sizes"]:
            continue
        for part, what in (("model", "weights"), ("corpus", "text")):
            if event.body.get(part) != body[part]:
                raise SuperalignError(
                    f"this interpretation was begun with other {what} at the same address (event {event.seq}): "
                    "look into these in a workspace of their own"
                )
    if not any(event.body == body for event in desk.ws.ledger.events("run")):
        desk.ws.ledger.append("run", body, actor="notary")


def corpus_kept(desk: Desk, corpus: Corpus) -> dict[str, Any]:
    """The corpus in the store; its splits as data, its held-out part as the signal that scores are made with."""
    kept, task = desk.ws.store.put(corpus_to_bytes(corpus)), f"interpret-{corpus.digest[:12]}"
    signal, tokens = explanation_signal(corpus.digest), dict[str, int]()
    desk.ws.signal(signal)
    for split in SPLITS:
        rows = corpus.rows(split)
        names = sorted({corpus.names[i] for i in corpus.documents[rows].tolist()})
        clusters, data = desk.ws.store.put_json(names), hashlib.sha256(f"{corpus.digest}/{split}".encode()).hexdigest()
        desk.ws.contains(data, families=[("text", task, split)], clusters_digest=clusters, name=f"{task}/{split}")
        if split in USED:
            desk.ws.use(data, signal.digest, USED[split])
        tokens[split] = int(corpus.counted(rows).sum())
    return {"corpus": kept, "digest": corpus.digest, "tokens": tokens, "documents": len(corpus.names)}


def explanation_signal(corpus: str) -> Signal:
    """Agreement of explanations with activations on a corpus' held-out documents."""
    of = f"activations/interpret-{corpus[:12]}/validation"
    digest = hashlib.sha256(f"agreement with {of}".encode()).hexdigest()
    name = f"agreement with activations on held-out text ({corpus[:12]})"
    return Signal(name=name, digest=digest, family=of, role="validation", kind="explanation")


def tokens_of(corpus: Corpus) -> int:
    """Counted tokens of all sequences."""
    return int((corpus.lengths - corpus.skip).sum())


def recorded(
    desk: Desk, config: InterpretConfig, model: LocalModel, sites: Sequence[Site], corpus: Corpus
) -> dict[str, Any]:
    """Every unit of every site in one pass over all of the corpus; the file in the store."""
    from superalign.interpretability.record import STATE, record

    folder = desk.ws.path / "recordings" / desk.key("run")[:16]
    seen = 0

    def progress(sequences: int) -> None:
        nonlocal seen
        before, seen = seen, seen + sequences
        if seen * TOLD // len(corpus) > before * TOLD // len(corpus):
            desk.say(f"recording, {seen / len(corpus):.0%}")

    found = record(model, sites, corpus, seed=config.seed, workers=config.workers, folder=folder, progress=progress)
    kept = desk.ws.store.put_file(folder / STATE)
    shutil.rmtree(folder)
    told = [{"name": site.name, "units": site.units, "kind": site.kind, "layer": site.layer} for site in sites]
    return {"recording": kept, "digest": found.digest, "sites": told, "tokens": tokens_of(corpus)}


def site_jobs(
    desk: Desk,
    config: InterpretConfig,
    sites: Sequence[str],
    corpus: Path,
    recording: Path,
    *,
    said: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any]:
    """Stage → job: every site of the model, and the neurons of untrained networks. `said`: by an explainer before."""
    from superalign.pipeline.interpret_explain import SiteJob

    sizes: InterpretSizes = desk.sizes  # type: ignore[assignment]
    jobs = {}
    for fresh in (None, *fresh_seeds(desk, config)):
        for site in sites:
            if fresh is None or site.startswith(NEURONS):
                jobs[explained_stage(site, fresh)] = SiteJob(
                    objects=desk.ws.store.root,
                    address=config.model,
                    corpus=corpus,
                    recording=recording,
                    site=site,
                    seed=config.seed,
                    train=sizes.train,
                    dev=sizes.dev,
                    held=sizes.held,
                    untrained=fresh,
                    simulated=sizes.simulated,
                    patterned=sizes.patterned,
                    dictionaries=config.dictionaries,
                    explainer=config.explainer,
                    described=config.described,
                    said=dict(said),
                )
    return jobs


def score(desk: Desk, config: InterpretConfig, subject: str) -> None:
    """Measurements of every part, each once."""
    done = Stored(desk.ws, OfKey(desk.key("run")))
    for part, work in scored(desk, config, subject, done).items():
        with desk.together(f"scores, {part}") as new:
            if new:
                desk.say(f"scores, {part}")
                work()


def scored(desk: Desk, config: InterpretConfig, subject: str, done: Any) -> Mapping[str, Callable[[], None]]:
    """Part → what measures it, from stored arrays alone."""
    told = done("corpus")
    signal = explanation_signal(told["digest"])
    desk.ws.signal(signal)
    sheet = Sheet(desk=desk, subject=subject, signal=signal.digest, corpus=told["corpus"])
    found: dict[str, Callable[[], None]] = {
        "explanations": lambda: score_explanations(sheet, explanations_of(desk, config, done))
    }
    return found | scored_parts(sheet, config, done)
