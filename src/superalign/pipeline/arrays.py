"""Named arrays as one file: the same bytes for the same arrays, and nothing that would have to be unpickled."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np


def arrays_to_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Arrays without objects as one npz: numbers as float32 at most, words as they are."""
    kept = {k: v.astype(np.float32) if v.dtype == np.float64 else v for k, v in arrays.items()}
    with io.BytesIO() as file:
        np.savez_compressed(file, **kept)  # type: ignore[arg-type]
        return file.getvalue()


def arrays_from_bytes(data: bytes) -> dict[str, np.ndarray]:
    """What `arrays_to_bytes` wrote; nothing is unpickled. Raises ValueError for anything else."""
    with io.BytesIO(data) as file, np.load(file, allow_pickle=False) as held:
        return {name: held[name] for name in held.files}
