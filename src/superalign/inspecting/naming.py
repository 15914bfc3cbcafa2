"""Names of models inside Inspect: an address and the first 16 digits of the weights' digest, `family:xs@00ff…`.

    named = split_name("family:xs@0123456789abcdef")          # Named(address="family:xs", digest="0123456789abcdef")
    model_at("hf:/models/small")                              # an Inspect model whose name carries its digest

Inspect remembers models, caches answers and reuses logs by name. A name without a digest is resolved when the model is
loaded; one whose digest is not that of the weights is refused. Weights that change under a model that is loaded end it:
every further use of it raises, and nothing is ever answered by, or under the name of, other weights.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from superalign.evidence import SuperalignError

if TYPE_CHECKING:
    from inspect_ai.model import Model

    from superalign.models import LocalModel

DIGITS = 16
"""Of the digest, in a name."""
LIVE = "live:"
"""Addresses of models that this process offered itself."""
_NAMED = re.compile(r"(?P<address>.+?)@(?P<digest>[0-9a-f]{8,64})", re.ASCII | re.DOTALL)
_LIVE: dict[str, LocalModel] = {}
"""Address and digest → a copy of the model, as it was when it was offered."""


class Renamed(SuperalignError):
    """A name and the weights behind it do not, or no longer, belong together."""


class Named(NamedTuple):
    """A model's name, in its parts."""

    address: str
    digest: str
    """Empty where the name has none."""


def split_name(name: str) -> Named:
    """Address and digest of a name.

    >>> split_name("family:xs"), split_name("hf:/m@rk@0123456789abcdef")
    (Named(address='family:xs', digest=''), Named(address='hf:/m@rk', digest='0123456789abcdef'))
    """
    found = _NAMED.fullmatch(name)
    return Named(found["address"], found["digest"]) if found else Named(name, "")


def canonical_name(address: str, digest: str) -> str:
    """The name under which Inspect knows the model at an address, by its whole digest."""
    return f"{address}@{digest[:DIGITS]}"


def check_name(named: Named, digest: str) -> None:
    """Raise Renamed unless the weights' digest begins as the name says."""
    if not digest.startswith(named.digest):
        raise Renamed(
            f"{named.address}@{named.digest}: the weights there digest to {digest[:DIGITS]}, so they are others than "
            f"were asked for: name {canonical_name(named.address, digest)}, or put the former weights back"
        )


@dataclass(frozen=True, slots=True)
class Stamp:
    """Files of a model's folder, as they lay when it was loaded."""

    seen: tuple[tuple[str, int, int, int], ...]
    """Path, size, time of change in ns, and inode."""
    content: str
    """SHA-256 over all their bytes."""


def places(address: str) -> list[Path]:
    """Folders that a model's weights come from, as far as they lie on this machine: its own, and its adapter's."""
    scheme, _, rest = address.partition(":")
    path, _, options = rest.partition("?")
    if scheme == "family":
        from superalign.models import family_path

        return [family_path(path)]
    named = [path, *(o.partition("=")[2] for o in options.split("&") if o.startswith("adapter="))]
    return [Path(name) for name in named if name and Path(name).is_dir()]


def stamped(address: str) -> Stamp | None:
    """The stamp of the files at an address; None where none of them lies on this machine."""
    folders = places(address)
    return Stamp(_seen(folders), _content(folders)) if folders else None


def unchanged(address: str, stamp: Stamp | None) -> Stamp | None:
    """The stamp as it is now, if what it stands for is the same; raises Renamed where the files' bytes are others."""
    if stamp is None or stamp.seen == _seen(places(address)):
        return stamp
    now = stamped(address)
    if now is None or now.content != stamp.content:
        raise Renamed(
            f"{address}: its files changed since they were loaded, and Inspect remembers this model by its name: get "
            f"the new one by superalign.inspecting.naming.model_at({address!r}), which names it by its digest, or "
            "begin a new process"
        )
    return now


def offered(model: LocalModel) -> str:
    """Keep a copy of a model as it is now, and return the name by which Inspect finds it in this process.

    What is done to the model afterwards does not reach the copy. `inspect eval` in another process does not find it.
    """
    import copy
    from dataclasses import replace

    address = LIVE + re.sub(r"[^A-Za-z0-9._-]", "-", model.name)
    kept = replace(model, network=copy.deepcopy(model.network).eval(), head=copy.deepcopy(model.head)).sealed()
    name = canonical_name(address, kept.digest)
    _LIVE[name] = kept
    return f"superalign/{name}"


def live_model(named: Named) -> LocalModel:
    """The copy that was offered under this name. Raises Renamed where there is none."""
    kept = [(split_name(name), model) for name, model in _LIVE.items()]
    found = [m for known, m in kept if known.address == named.address and m.digest.startswith(named.digest)]
    if len(found) != 1 or not named.digest:
        raise Renamed(f"{named.address}@{named.digest}: no such model was offered in this process: call offered(model)")
    return found[0]


def model_at(address: str, **more: Any) -> Model:
    """The Inspect model at an address of superalign, by the digest that its weights have now.

    What was loaded before under another digest stays what it is. `more` goes to Inspect's `get_model`. Raises what
    loading raises.
    """
    from inspect_ai.model import get_model

    from superalign.models import load_model

    given = more.get("allow_organism", False)
    named = split_name(address)
    # of this first load the digest alone is kept: two copies may not fit
    digest = load_model(named.address, allow_organism=str(given).lower() == "true").digest
    check_name(named, digest)
    return get_model(f"superalign/{canonical_name(named.address, digest)}", **more)


def _files(folders: list[Path]) -> list[Path]:
    return sorted(path for folder in folders for path in folder.iterdir() if path.is_file())


def _seen(folders: list[Path]) -> tuple[tuple[str, int, int, int], ...]:
    told = ((path, path.stat()) for path in _files(folders))
    return tuple((str(path), s.st_size, s.st_mtime_ns, s.st_ino) for path, s in told)


def _content(folders: list[Path]) -> str:
    whole = hashlib.sha256()
    for path in _files(folders):
        with path.open("rb") as file:
            whole.update(f"{path.name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return whole.hexdigest()
