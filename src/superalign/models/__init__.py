"""Models: white-box local ones, the embedded family, and the quarantining loader. Importing this needs `[local]`."""

from superalign.models.errors import ModelError, QuarantineError
from superalign.models.head import RewardHead
from superalign.models.load import family_path, load_folder, load_model, save_model
from superalign.models.local import LocalModel, Reading, reward_forward, token_logprobs, weights_digest
from superalign.models.pack import pack, unpack

__all__ = [
    "LocalModel",
    "ModelError",
    "QuarantineError",
    "Reading",
    "RewardHead",
    "family_path",
    "load_folder",
    "load_model",
    "pack",
    "reward_forward",
    "save_model",
    "token_logprobs",
    "unpack",
    "weights_digest",
]
