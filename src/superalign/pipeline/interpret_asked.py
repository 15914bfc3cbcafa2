"""An explainer elsewhere, for `superalign interpret --explainer`: what asking it would cost, and asking it, once.

    told = foreseen(terms, sizes, sites, corpus)                 # for --dry-run: nothing is sent
    asked = answers(desk, terms, sites, corpus, tell=print)      # every raw response is in the store before it is read

All questions are put before the first is sent, and one process asks all of them: the limit is one for all sites. A
model behind an API is told windows of text and numbers, and nothing else; a server's key is in SUPERALIGN_EXPLAINER_KEY
unless `--key-from` names another variable.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from superalign.engine import run_parallel
from superalign.evidence import SuperalignError, Workspace
from superalign.evidence.store import ObjectStore
from superalign.interpretability.completers import KEY
from superalign.interpretability.corpus import Corpus
from superalign.models.errors import ModelError
from superalign.models.keyed import HERE, WORDS, keyed
from superalign.models.remote import Kept, RemoteSpeaker
from superalign.models.remote.refusals import CONTEXT_WHY
from superalign.models.remote.spending import MILLION
from superalign.models.speaker import Ask, Reply
from superalign.pipeline.desk import Desk
from superalign.pipeline.interpret_config import InterpretConfig, InterpretSizes
from superalign.pipeline.interpret_corpus import corpus_to_bytes
from superalign.pipeline.interpret_kept import explained_stage
from superalign.pipeline.interpret_said import SAID, asks_in
from superalign.pipeline.spending import (
    SPENDING,
    CellEstimate,
    Estimate,
    enough,
    estimate_of,
    priceless,
    terms_of,
    without_terms,
)
from superalign.pipeline.spoken import Voice
from superalign.pipeline.spoken_heard import Ear
from superalign.pipeline.spoken_pretend import Pretending

MOST_SILENT = 0.5
"""Share of questions to which nothing may come."""
GO_ON = "the same command goes on from what is kept"


def asks_elsewhere(config: InterpretConfig) -> bool:
    """Is the explainer one whose answers are kept, and may cost something? One that workers load is none."""
    return bool(config.explainer) and not config.explainer.startswith(HERE)


def settled(config: InterpretConfig) -> InterpretConfig:
    """The options as stages are named by them: on what terms an explainer is asked is no part of what is measured."""
    return without_terms(config, SPENDING)


def check_explainer(terms: InterpretConfig) -> None:
    """Raises SuperalignError for an address, a key or a limit that can't be, as far as that shows without loading."""
    if terms.limit is not None and not terms.limit >= 0:
        raise SuperalignError(f"--limit is {terms.limit}: give 0 or more USD")
    bare = terms.explainer.removeprefix(WORDS)
    if asks_elsewhere(terms) and not bare.startswith((*HERE, "vllm:")):
        with speaking(terms):
            pass


def voice_of(terms: InterpretConfig, ws: Workspace | None = None) -> Voice:
    """The explainer; with a workspace, its replies are kept there and its limit holds.

    Raises SuperalignError for an address, a key or a model that can't be, and for a limit without a price.
    """
    asked = terms_of(terms, price=terms.price, key_from=terms.key_from)
    if ws is not None:
        asked = replace(asked, limit_usd=terms.limit, kept=ws.path, store=ws.store)
    try:
        speaker = keyed(terms.explainer, KEY, terms=asked)
    except ModelError as error:
        raise SuperalignError(f"--explainer: {error}") from error
    if not isinstance(speaker, RemoteSpeaker):
        return Voice(address=terms.explainer, speaker=speaker, form="reply", price=(0.0, 0.0))
    price = (speaker.price.read, speaker.price.written) if speaker.price else None
    if price is None and terms.limit is not None:
        raise priceless(terms.explainer)
    return Voice(address=terms.explainer, speaker=speaker, form=speaker.line.form, price=price)


@contextmanager
def speaking(terms: InterpretConfig, ws: Workspace | None = None) -> Iterator[Voice]:
    """`voice_of` for a while: connections and the index of replies are let go at the end."""
    voice = voice_of(terms, ws)
    holder = voice.speaker if isinstance(voice.speaker, RemoteSpeaker) else getattr(voice.speaker, "kept", None)
    try:
        yield voice
    finally:
        if holder is not None:
            holder.close()


def answers(
    desk: Desk,
    terms: InterpretConfig,
    sites: Sequence[str],
    corpus: Path,
    tell: Callable[[Estimate], None],
) -> Mapping[str, Any]:
    """What the explainer was asked and said, asked now unless it was before; empty where nobody elsewhere explains.

    `tell` is told what it will cost at most before the first request. Returns identity, form, digests of `heard` and
    `silent` (as `spoken_heard` has them), and for each site its units and the digest of the requests about them. What
    the address, the key or the limit make impossible is a SuperalignError; what was answered until then is kept.
    """
    if not asks_elsewhere(terms):
        return {}
    told: Mapping[str, Any] | None = desk.finished(SAID)
    stages = {site: questions_about(site) for site in sites if _done(desk, explained_stage(site)) is None}
    if told is not None or not stages:
        return told or {}
    from superalign.pipeline.interpret_questions import question_jobs
    from superalign.pipeline.interpret_work import do

    jobs = question_jobs(desk.config, desk.sizes, stages, corpus, desk.ws.store.root)  # type: ignore[arg-type]
    put = desk.stages(do, {name: (job, "") for name, job in jobs.items()})  # "" is a part of each key, as in `_done`
    asked = {site: put[stage] for site, stage in stages.items()}
    found: Mapping[str, Any] = desk.stage(SAID, lambda: _answered(desk.ws, terms, asked, tell))
    return found


def questions_about(site: str) -> str:
    """Name of the stage in which they are put."""
    return f"questions about {site}"


def _done(desk: Desk, stage: str) -> Any | None:
    """What a worker's job came to, None where it was not done."""
    return desk.finished(stage, "")


def _answered(
    ws: Workspace, terms: InterpretConfig, asked: Mapping[str, Any], tell: Callable[[Estimate], None]
) -> dict[str, Any]:
    with speaking(terms, ws) as voice:
        asks = {site: asks_in(ws.store, told["asks"]) for site, told in asked.items()}
        costs = priced(asks, voice, voice.speaker.kept, terms.limit)  # type: ignore[attr-defined]
        tell(enough(costs, "asking this explainer", "ask about fewer units (--described)"))
        ear = Ear(voice.speaker)
        try:
            replies = ear.ask([ask for some in asks.values() for ask in some])
        except ModelError as error:
            raise SuperalignError(f"--explainer: {error}; {GO_ON}") from error
    _heard_enough(replies, voice.identity)
    return {
        "identity": voice.identity,
        "form": voice.form,
        "heard": ws.store.put_json(ear.heard),
        "silent": ws.store.put_json({key: list(kind) for key, kind in ear.silent.items()}),
        "sites": dict(asked),
    }


def _heard_enough(replies: Sequence[Reply], who: str) -> None:
    """Raises SuperalignError where nothing came to most questions: that is an outage, and says nothing of texts."""
    silent = Counter(reply.why or "nothing" for reply in replies if reply.kind == "none")
    if silent.total() <= MOST_SILENT * len(replies):
        return
    kinds = ", ".join(f"{kind}: {count}" for kind, count in silent.most_common(2))
    what = f"--explainer: {who} answered {len(replies) - silent.total()} of {len(replies)} questions ({kinds}); "
    longer = "its context is shorter than what it is asked: take a model that reads more"
    raise SuperalignError(what + (longer if silent[CONTEXT_WHY] > silent.total() / 2 else GO_ON))


def priced(asks: Mapping[str, Sequence[Ask]], voice: Voice, kept: Kept | None, limit: float | None) -> Estimate:
    """What asking these would cost, site by site: without what is there already."""
    most, least = (Pretending(voice.identity, long=long) for long in (True, False))
    cells, seen = [], set[str]()
    for site, some in asks.items():
        new = {key: ask for ask in some if (key := ask.key(voice.identity)) not in seen}
        seen |= set(new)
        there = {row.key for row in kept.rows(new)} if kept else set()
        left = [ask for key, ask in new.items() if key not in there]
        read, written, read_least, written_least = (
            sum(map(count, left)) for count in (most.read, most.written, least.read, least.written)
        )
        cells.append(
            CellEstimate(
                cell=site,
                calls=len(left),
                read=read,
                written=written,
                usd=_usd(voice, read, written),
                least=_usd(voice, read_least, written_least),
            )
        )
    return estimate_of(cells, spent=kept.paid(voice.identity).usd if kept else 0.0, limit=limit)


def _usd(voice: Voice, read: int, written: int) -> float | None:
    return None if voice.price is None else (read * voice.price[0] + written * voice.price[1]) / MILLION


def foreseen(terms: InterpretConfig, sizes: InterpretSizes, sites: Sequence[str], corpus: Corpus) -> Estimate:
    """The same before anything was done, for `--dry-run`: nothing is sent, and nothing written in the workspace."""
    there = (terms.workspace / "ledger.sqlite").is_file()
    with speaking(terms) as voice:
        asks = _put_before(terms, sizes, sites) if there else {}
        if left := [site for site in sites if site not in asks]:
            asks |= _put_aside(terms, sizes, left, corpus)
        if not (terms.workspace / "replies.sqlite").is_file():
            return priced(asks, voice, None, terms.limit)
        with closing(Kept(terms.workspace, write=False)) as kept:
            return priced(asks, voice, kept, terms.limit)


def _put_before(terms: InterpretConfig, sizes: InterpretSizes, sites: Sequence[str]) -> dict[str, list[Ask]]:
    """Site → what of it is left to ask, as far as the workspace says: nothing of one that was explained."""
    with Workspace.open(terms.workspace, create=False, write=False) as ws:
        desk = Desk(ws=ws, config=settled(terms), sizes=sizes, say=lambda text: None)  # type: ignore[arg-type]
        if desk.finished(SAID) is not None:
            return {site: [] for site in sites}
        found: dict[str, list[Ask]] = {}
        for site in sites:
            if _done(desk, explained_stage(site)) is not None:
                found[site] = []
            elif (put := _done(desk, questions_about(site))) is not None:
                found[site] = asks_in(ws.store, put["asks"])
        return found


def _put_aside(
    terms: InterpretConfig, sizes: InterpretSizes, sites: Sequence[str], corpus: Corpus
) -> dict[str, list[Ask]]:
    """Site → its questions, put in a store that is thrown away."""
    from superalign.pipeline.interpret_questions import question_jobs
    from superalign.pipeline.interpret_work import do

    with tempfile.TemporaryDirectory(prefix="superalign-questions-") as aside:
        store = ObjectStore(Path(aside) / "objects", Path(aside) / "tmp")
        at, stages = store.path(store.put(corpus_to_bytes(corpus))), {site: site for site in sites}
        jobs = list(question_jobs(terms, sizes, stages, at, store.root).values())
        done = {jobs[each.index].site: each.result for each in run_parallel(do, jobs, workers=terms.workers)}
        return {site: asks_in(store, done[site]["asks"]) for site in sites}
