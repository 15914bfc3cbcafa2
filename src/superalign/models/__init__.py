"""Models: white-box local ones, the embedded family, the quarantining loader, and whoever can be asked in words.

Importing this is light: what needs `[local]` is loaded when it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from superalign.models.adapters import Adapted, adapted, load_adapted, sign_adapter
    from superalign.models.addresses import ModelAddress
    from superalign.models.change import Change, apply_change, merged, pack_change, read_manifest, unpack_change
    from superalign.models.chatting import LocalSpeaker, speaker_of
    from superalign.models.errors import ModelError, QuarantineError, Unaskable
    from superalign.models.head import RewardHead
    from superalign.models.load import family_path, load_folder, load_model, save_model
    from superalign.models.local import LocalModel, Reading, reward_forward, token_logprobs, weights_digest
    from superalign.models.packing import pack, unpack
    from superalign.models.speaker import Ask, Reply, Speaker, Token, Turn

_NAMES = {
    "adapters": "Adapted adapted load_adapted sign_adapter",
    "addresses": "ModelAddress",
    "change": "Change apply_change merged pack_change read_manifest unpack_change",
    "chatting": "LocalSpeaker speaker_of",
    "errors": "ModelError QuarantineError Unaskable",
    "head": "RewardHead",
    "load": "family_path load_folder load_model save_model",
    "local": "LocalModel Reading reward_forward token_logprobs weights_digest",
    "packing": "pack unpack",
    "speaker": "Ask Reply Speaker Token Turn",
}
"""Module → what it offers here."""
_PLACES = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = [
    "Adapted",
    "Ask",
    "Change",
    "LocalModel",
    "LocalSpeaker",
    "ModelAddress",
    "ModelError",
    "QuarantineError",
    "Reading",
    "Reply",
    "RewardHead",
    "Speaker",
    "Token",
    "Turn",
    "Unaskable",
    "adapted",
    "apply_change",
    "family_path",
    "load_adapted",
    "load_folder",
    "load_model",
    "merged",
    "pack",
    "pack_change",
    "read_manifest",
    "reward_forward",
    "save_model",
    "sign_adapter",
    "speaker_of",
    "token_logprobs",
    "unpack",
    "unpack_change",
    "weights_digest",
]


def __getattr__(name: str) -> Any:
    """The public name, from the module that has it."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"superalign.models.{_PLACES[name]}"), name)
    return value
