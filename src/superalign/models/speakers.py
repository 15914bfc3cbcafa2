"""From an address to a Speaker, whoever it is.

    speaker_at("family:xs")                            # a model here; hf:NAME-OR-PATH and vllm:NAME-OR-PATH, too
    speaker_at("http://127.0.0.1:8000/v1#name", terms=Terms(concurrency=16, kept=Path("replies")))
    speaker_at("inspect:anthropic/claude-sonnet-4-0", terms=Terms(limit_usd=5, price_in=3, price_out=15))

Only what the address needs is imported: torch for a model here, Inspect for `inspect:`, neither for a server.
"""

from __future__ import annotations

from collections.abc import Callable

from superalign.models.errors import ModelError
from superalign.models.remote.calling import Line, RemoteSpeaker
from superalign.models.remote.keeping import Kept, KeptSpeaker
from superalign.models.remote.prices import price_of
from superalign.models.remote.spending import Purse
from superalign.models.remote.terms import Terms
from superalign.models.speaker import Speaker

FORMS = "family:SIZE, hf:NAME-OR-PATH, vllm:NAME-OR-PATH, inspect:PROVIDER/MODEL or http(s)://HOST/v1#MODEL"


def speaker_at(
    address: str, *, terms: Terms | None = None, purse: Purse | None = None, allow_organism: bool = False
) -> Speaker:
    """The speaker at an address. Raises ModelError for what is no address, or a missing extra, key or price.

    terms: how it is asked; of a local model only `kept` and `store` count, for it costs nothing.
    purse: a limit that several speakers share; else each has its own, of `terms.limit_usd`.

    Example: `speaker_at("http://127.0.0.1:8000/v1#name", terms=Terms(key_from="MY_SERVER_KEY"))`.
    """
    terms = terms or Terms()
    scheme = address.partition(":")[0]
    if scheme in ("http", "https", "inspect"):
        return _remote(address, terms, purse)
    if scheme not in _LOCAL:
        raise ModelError(f"{address!r} is no model's address: write {FORMS}")
    speaker = _LOCAL[scheme](address, allow_organism)
    return KeptSpeaker(speaker, Kept(terms.kept, terms.store)) if terms.kept else speaker


def _remote(address: str, terms: Terms, purse: Purse | None) -> RemoteSpeaker:
    line: Line
    model = None
    if address.startswith("inspect:"):
        from superalign.models.remote.inspected import InspectLine

        line = inspected = InspectLine(address, terms)
        model = inspected.model
    else:
        from superalign.models.remote.openai_http import OpenAILine

        line = OpenAILine(address, terms)
    kept = Kept(terms.kept, terms.store) if terms.kept else None
    return RemoteSpeaker(line, terms=terms, kept=kept, purse=purse, price=price_of(terms, model))


def _spoken(address: str, allow_organism: bool) -> Speaker:
    from superalign.models.chatting import speaker_of
    from superalign.models.load import load_model

    return speaker_of(load_model(address, allow_organism=allow_organism))


def _vllm(address: str, allow_organism: bool) -> Speaker:
    from superalign.models.vllm import vllm_speaker

    return vllm_speaker(address, allow_organism=allow_organism)


_LOCAL: dict[str, Callable[[str, bool], Speaker]] = {"family": _spoken, "hf": _spoken, "vllm": _vllm}
