"""Why a model could not be loaded, in words that say what to do; and that name no key.

except OSError as error: raise refused("hf:org/name", error) from quiet(error)
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from superalign.models.errors import ModelError
from superalign.models.memory import out_of_memory

KEYS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_HUB_TOKEN")
"""Environment variables that hold a key of the hub."""
INDEX = "model.safetensors.index.json"
ADAPTER = "adapter_config.json"
"""Of peft: where it lies, transformers would load the base that it names from wherever that is, and adapt it."""


def failures() -> tuple[type[Exception], ...]:
    """What transformers raises where there is no model that it can load: it checks little of what it reads."""
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError

    broken = (StrictDataclassError, SafetensorError, RuntimeError, KeyError, TypeError)
    return (OSError, ValueError, ImportError, MemoryError, *broken)


def refused(where: str, error: BaseException) -> ModelError:
    """The ModelError for `error`, which loading `where` raised: gated, missing, not reachable, too large, or broken."""
    from huggingface_hub import errors

    name = where.partition(":")[2]
    chain = list(_chain(error))
    if any(isinstance(each, errors.GatedRepoError) for each in chain):
        return ModelError(
            f"{where}: a gated repository: ask for access at its page, then `huggingface-cli login` (or set HF_TOKEN)"
        )
    if any(isinstance(each, errors.RevisionNotFoundError) for each in chain):
        return ModelError(f"{where}: the repository has no such revision: look at its branches, or leave revision out")
    if any(isinstance(each, errors.RepositoryNotFoundError) for each in chain):
        return ModelError(
            f"{where}: the hub has no such repository, or it is private: check the name {name!r}; for a private one "
            "`huggingface-cli login` (or set HF_TOKEN)"
        )
    if any(isinstance(each, errors.LocalEntryNotFoundError | ConnectionError) for each in chain) or any(
        "couldn't connect" in str(each) for each in chain
    ):
        return ModelError(
            f"{where}: not on this machine, and the hub is not to be reached: check the connection, or download it "
            f"elsewhere (`huggingface-cli download {name}`) and give the folder: hf:FOLDER"
        )
    if any(out_of_memory(each) for each in chain):
        return ModelError(
            f"{where}: does not fit in memory: use a smaller dtype (?dtype=bfloat16), quantise=4bit, or another device"
        )
    told = repr(error) if isinstance(error, KeyError) else str(error).strip()  # a key alone says nothing
    first = without_keys((told.splitlines() or [type(error).__name__])[0])
    return ModelError(f"{where}: cannot load a causal language model: {first}; fetch it or save it again")


def quiet(error: BaseException) -> BaseException | None:
    """`error` as a cause to be shown; None where a key of this environment stands in it."""
    told = "".join(str(each) for each in _chain(error))
    return None if without_keys(told) != told else error


def without_keys(text: str) -> str:
    """`text` with every key of the environment blotted out."""
    for name in KEYS:
        key = os.environ.get(name, "")
        text = text.replace(key, "…") if key else text
    return text


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def complete(where: str, folder: Path) -> None:
    """Does `folder` hold all safetensors files that it needs? Raises ModelError that names the missing one.

    Pickled weights are never read; an index that points out of its folder is refused, and so is an adapter.
    """
    if (folder / ADAPTER).exists():
        raise ModelError(f"{where}: an adapter is no model by itself: write hf:BASE?adapter={folder}")
    if not list(folder.glob("*.safetensors")):
        raise ModelError(f"{where}: no *.safetensors weights in this folder: save with safe_serialization")
    if not (folder / INDEX).exists() or (folder / "model.safetensors").exists():
        return
    try:
        shards = sorted({str(each) for each in json.loads((folder / INDEX).read_text("utf-8"))["weight_map"].values()})
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ModelError(f"{where}: {INDEX} is no index of shards: fetch the folder again") from error
    for shard in shards:
        if Path(shard).name != shard:
            raise ModelError(f"{where}: {INDEX} names {shard!r}, which is not in this folder: do not trust it")
        if not (folder / shard).is_file():
            raise ModelError(f"{where}: shard {shard} of {len(shards)} is missing: fetch it again")
