"""Answers as they are kept: log-odds to half precision, as text; arrays of them as npz."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping

import numpy as np

MOST = 6e4


def packed(logits: np.ndarray) -> str:
    """Log-odds as text: base64 of little-endian half precision; beyond ±60,000 they are cut.

    >>> unpacked(packed(np.array([0.5, -1e9, np.nan]))).tolist()
    [0.5, -60000.0, nan]
    """
    kept = np.clip(np.asarray(logits, dtype=np.float64), -MOST, MOST).astype("<f2")
    return base64.b64encode(kept.tobytes()).decode()


def unpacked(text: str) -> np.ndarray:
    """What `packed` wrote, as float64 (n,). Raises ValueError for anything else."""
    return np.frombuffer(base64.b64decode(text, validate=True), dtype="<f2").astype(np.float64)


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
