"""What workers do for `superalign interpret --explainer` of a model elsewhere: put the questions about one site.

Everything that is to be asked is known, and kept, before anything is sent: so it can be priced, and is the same again
after a stop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from superalign.engine.threads import one_thread
from superalign.evidence.store import ObjectStore
from superalign.interpretability.compiled import UNDERSTOOD
from superalign.interpretability.completers import ask_of
from superalign.interpretability.described import EXPLANATION, questions
from superalign.interpretability.explanation import drawn, read_sample
from superalign.interpretability.judging import shown_windows
from superalign.interpretability.prompt_files import load_prompt
from superalign.models import load_model
from superalign.pipeline.interpret_config import InterpretConfig, InterpretSizes
from superalign.pipeline.interpret_corpus import corpus_at
from superalign.pipeline.interpret_described import units_asked
from superalign.pipeline.interpret_explain import sites_of


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionJob:
    """One site of the model that is looked into."""

    objects: Path
    """Folder of the store."""
    address: str
    corpus: Path
    site: str
    dictionaries: tuple[str, ...]
    seed: int
    train: int
    """Tokens of text, as they are for whoever explains the site here."""
    described: int
    """Units."""


@one_thread()
def put_questions(job: QuestionJob) -> dict[str, Any]:
    """The units that are asked about, the digest of the requests, one each, and that of their prompt's file."""
    model, corpus, prompt = load_model(job.address), corpus_at(job.corpus), load_prompt("explain")
    site = {site.name: site for site in sites_of(model, job.dictionaries)}[job.site]
    train = read_sample(model, corpus, site, drawn(corpus, "train", tokens=job.train, seed=job.seed))
    units, shown = units_asked(train, job.described), shown_windows(train, seed=job.seed)
    asked = questions(train, shown, units=units, understood=UNDERSTOOD, prompt=prompt)
    asks = [asdict(ask_of(messages, schema=EXPLANATION, seed=job.seed)) for _, messages in asked]
    store = ObjectStore(job.objects, job.objects.parent / "tmp")
    return {"units": units, "asks": store.put_json(asks), "prompt": prompt.digest}


def question_jobs(
    config: InterpretConfig, sizes: InterpretSizes, stages: Mapping[str, str], corpus: Path, objects: Path
) -> dict[str, QuestionJob]:
    """Stage → job; `stages` by the name of their site."""
    return {
        stage: QuestionJob(
            objects=objects,
            address=config.model,
            corpus=corpus,
            site=site,
            dictionaries=config.dictionaries,
            seed=config.seed,
            train=sizes.train,
            described=config.described,
        )
        for site, stage in stages.items()
    }
