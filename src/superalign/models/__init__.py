"""Models: white-box local ones, the embedded family, and the quarantining loader. Importing this needs `[local]`."""

from superalign.models.change import Change, apply_change, merged, pack_change, read_manifest, unpack_change
from superalign.models.errors import ModelError, QuarantineError
from superalign.models.head import RewardHead
from superalign.models.load import family_path, load_folder, load_model, save_model
from superalign.models.local import LocalModel, Reading, reward_forward, token_logprobs, weights_digest
from superalign.models.pack import pack, unpack

__all__ = [
    "Change",
    "LocalModel",
    "ModelError",
    "QuarantineError",
    "Reading",
    "RewardHead",
    "apply_change",
    "family_path",
    "load_folder",
    "load_model",
    "merged",
    "pack",
    "pack_change",
    "read_manifest",
    "reward_forward",
    "save_model",
    "token_logprobs",
    "unpack",
    "unpack_change",
    "weights_digest",
]
