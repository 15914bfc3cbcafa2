"""The house itself: rooms import downwards only, importing is light, files are small and name no machine."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "src").rglob("*.py"))
in_git = pytest.mark.skipif(shutil.which("git") is None or not (ROOT / ".git").exists(), reason="not a git checkout")


EXTRAS = ("inspect_ai", "trl", "ray", "vllm", "peft", "datasets", "openai")
"""What no import of the core may load."""


def optional(room: re.Match[str]) -> str:
    folder = ROOT / "src" / room.group().replace(".", "/")
    exists = folder.with_suffix(".py").exists() or (folder / "__init__.py").exists()
    return room.group() if exists else f"({room.group()})"


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_rooms_import_from_floors_below_only(tmp_path: Path) -> None:
    """The contract of pyproject.toml over the rooms that are built; `make lint` insists on all of them."""
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    (floors,) = (entry["layers"] for entry in contract["contracts"] if entry["type"] == "layers")
    assert len(floors) >= 7
    built = [re.sub(r"superalign\.\w+", optional, floor.replace("(", "").replace(")", "")) for floor in floors]
    config = tmp_path / "floors.ini"
    config.write_text(
        "[importlinter]\nroot_package = superalign\n[importlinter:contract:1]\nname = floors\ntype = layers\n"
        "layers =\n" + "".join(f"    {floor}\n" for floor in built)
    )
    lint = run(str(Path(sys.executable).parent / "lint-imports"), "--no-cache", "--config", str(config))
    assert lint.returncode == 0, lint.stdout + lint.stderr
    assert "0 broken" in lint.stdout


@pytest.mark.parametrize(
    ("imported", "heavy"),
    [
        ("superalign", ("torch", "numpy", "scipy", "transformers", "sklearn")),
        ("superalign.tasks", ("torch", "transformers", "sklearn", "scipy")),
        ("superalign.evidence", ("torch", "transformers", "sklearn")),
        ("superalign.models", ("torch", "numpy", "transformers", "httpx")),
        ("superalign.oversight", ("torch", "transformers")),
        ("superalign.models, superalign.training, superalign.pipeline.run, superalign.report, superalign.cli", ()),
    ],
)
def test_importing_is_light(imported: str, heavy: tuple[str, ...]) -> None:
    code = f"import sys, {imported}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    loaded = run(sys.executable, "-c", code)
    assert loaded.returncode == 0, loaded.stderr
    assert "sys" in loaded.stdout.split()
    assert not {*heavy, *EXTRAS} & set(loaded.stdout.split())


@in_git
@pytest.mark.parametrize("folder", ["work", "root", "home"])
def test_no_file_names_a_machine_path(folder: str) -> None:
    pattern = rf"(^|[^A-Za-z0-9_.)*?~/-])/{folder}/[A-Za-z0-9_.]"
    found = run("git", "grep", "--untracked", "-I", "-n", "-E", pattern, "--", ".", ":!src/superalign/tasks/data")
    assert found.returncode == 1, found.stdout or found.stderr


@pytest.mark.parametrize("path", SOURCES, ids=[path.relative_to(ROOT / "src").as_posix() for path in SOURCES])
def test_modules_are_small(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) < 400


@pytest.mark.parametrize("path", SOURCES, ids=[path.relative_to(ROOT / "src").as_posix() for path in SOURCES])
def test_modules_say_what_they_are(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not text or text.startswith(('"""', 'r"""')), f"{path.name} has no module docstring"


def test_test_files_have_unique_names() -> None:
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(set(names)) == sorted(names)
