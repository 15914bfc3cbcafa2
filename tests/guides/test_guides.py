"""Every guide in docs/guides is executed, end to end and in its order: what a reader would type, on a small model."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from superalign.models import save_model
from superalign.sandbox import Isolation, standing

ROOT = Path(__file__).parents[2]
GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))
BLOCK = re.compile(r"```(sh|python)\n(.*?)```", re.DOTALL)
MADE = "examples/tiny_chat_model.py"
"""What the fixture does in a reader's place, once for all guides."""


@pytest.fixture(scope="module")
def talker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chat model that the guides make."""
    spec = importlib.util.spec_from_file_location("tiny_chat_model", ROOT / MADE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["tiny_chat_model"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    folder: Path = tmp_path_factory.mktemp("guides") / "talker"
    save_model(module.trained(steps=160), folder)
    return folder


def steps_of(page: Path) -> list[tuple[str, str]]:
    """The blocks of a guide, all Python of a page as one program at its first place."""
    blocks = [(kind, text) for kind, text in BLOCK.findall(page.read_text(encoding="utf-8")) if MADE not in text]
    python = "\n".join(text for kind, text in blocks if kind == "python")
    first = next((at for at, (kind, _) in enumerate(blocks) if kind == "python"), len(blocks))
    shell = [("sh", text) if kind == "sh" else ("", "") for kind, text in blocks]
    return [step for step in (*shell[:first], *([("python", python)] if python else []), *shell[first:]) if step[0]]


def test_there_are_guides_and_each_has_something_to_run() -> None:
    assert {page.stem for page in GUIDES} >= {
        "oversee-your-own-model",
        "test-your-own-monitor",
        "run-our-tasks-under-inspect",
        "train-on-a-debate-signal",
    }
    assert all(steps_of(page) for page in GUIDES)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(
    not any(isinstance(layer, Isolation) for layer in standing()), reason="no sandbox stands on this machine"
)
@pytest.mark.parametrize("page", GUIDES, ids=[page.stem for page in GUIDES])
def test_a_guide_can_be_followed(page: Path, talker: Path, tmp_path: Path) -> None:
    (tmp_path / "talker").symlink_to(talker)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "SUPERALIGN_KEYS": str(tmp_path / "keys"),
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    for kind, text in steps_of(page):
        command = ["bash", "-euo", "pipefail", "-c", text] if kind == "sh" else [sys.executable, "-c", text]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=400, check=False
        )
        assert done.returncode == 0, f"{page.name}:\n{text}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
        assert done.stdout.strip(), f"{page.name}: nothing was printed by\n{text}"
