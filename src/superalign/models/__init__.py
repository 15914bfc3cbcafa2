"""Models: white-box local ones, the embedded family, and the quarantining loader. Importing this needs `[local]`."""

from superalign.models.adapters import Adapted, adapted, load_adapted, sign_adapter
from superalign.models.addresses import ModelAddress
from superalign.models.change import Change, apply_change, merged, pack_change, read_manifest, unpack_change
from superalign.models.chatting import LocalSpeaker, speaker_of
from superalign.models.errors import ModelError, QuarantineError, Unaskable
from superalign.models.head import RewardHead
from superalign.models.load import family_path, load_folder, load_model, save_model
from superalign.models.local import LocalModel, Reading, reward_forward, token_logprobs, weights_digest
from superalign.models.pack import pack, unpack
from superalign.models.speaker import Ask, Reply, Speaker, Token, Turn

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
