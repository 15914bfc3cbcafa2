"""A speaker for one purpose, whose key comes from that purpose's own environment variable where it is set.

    judge = keyed("http://127.0.0.1:8000/v1#small", "SUPERALIGN_JUDGE_KEY")
    judge = keyed("words:family:m", "SUPERALIGN_JUDGE_KEY")          # a model here, asked in words
    called(judge)                                                    # "small": for tables

`inspect:` has its provider's own variable, a model here has none. Not set: no key is sent.
"""

from __future__ import annotations

import os
import re
import weakref
from dataclasses import replace

from superalign.models.remote.calling import RemoteSpeaker
from superalign.models.remote.terms import Terms
from superalign.models.speaker import Speaker
from superalign.models.speakers import speaker_at

WORDS = "words:"
"""Before the address of a model here: it is asked in words, where it would be read by log-probabilities."""
HERE = ("family:", "hf:")
_FORM = re.compile(r"~[0-9a-f]{8}$")


def keyed(address: str, variable: str, *, terms: Terms | None = None) -> Speaker:
    """The speaker at an address. A key that `terms` names goes before the one in `variable`.

    Its connections are closed when nobody holds it any more. Raises ModelError as `speaker_at` does.
    """
    terms, bare = terms or Terms(), address.removeprefix(WORDS)
    if not terms.key_from and bare.startswith(("http://", "https://")) and os.environ.get(variable, "").strip():
        terms = replace(terms, key_from=variable)
    speaker = speaker_at(bare, terms=terms)
    if isinstance(speaker, RemoteSpeaker):
        weakref.finalize(speaker, speaker.line.close)
    return speaker


def called(speaker: Speaker) -> str:
    """A speaker's name for tables: without the server it is on, or its form and digest.

    >>> from types import SimpleNamespace
    >>> told = ("http://h/v1#small", "tiny~02ec28b3@3f1c", "inspect:p/m at http://h")
    >>> [called(SimpleNamespace(identity=name)) for name in told]
    ['small', 'tiny', 'inspect:p/m']
    """
    return _FORM.sub("", speaker.identity.partition(" at ")[0].rpartition("#")[2].partition("@")[0])
