"""Answers as they are kept: log-odds to half precision, as text."""

from __future__ import annotations

import base64

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
