"""Does each extra install in one command beside the pinned torch, and without packages of CUDA?

    python benchmarks/extras.py [--json]

pip resolves `torch .[EXTRA]` under `constraints.txt` in a bare environment, and installs nothing (`--dry-run`). A row
says how many distributions each extra brings, which torch, and which packages for GPUs came along: none should.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
OWN_ENVIRONMENT = ("garak", "pyrit", "vllm")
"""Extras that pin other versions, and say so: resolved without the constraints."""
GPU = ("nvidia", "cuda", "triton", "cupy")


def resolved(python: Path, extra: str) -> dict[str, Any]:
    """What pip would install for one extra. Raises CalledProcessError where it finds no way."""
    pinned = [] if extra in OWN_ENVIRONMENT else ["-c", str(ROOT / "constraints.txt"), "torch"]
    target = f"{ROOT}[{extra}]" if extra else str(ROOT)
    asked = ["--dry-run", "--quiet", "--ignore-installed", "--report", "-", *pinned, target]
    done = subprocess.run([python, "-m", "pip", "install", *asked], check=True, capture_output=True, text=True)
    found = [entry["metadata"] for entry in json.loads(done.stdout)["install"]]
    names = {each["name"].lower(): each["version"] for each in found}
    return {
        "extra": extra or "(none)",
        "distributions": len(names),
        "torch": names.get("torch", ""),
        "for GPUs": sorted(name for name in names if name.startswith(GPU)),
    }


def main() -> None:
    """Print a row an extra; exit 1 where one brings packages of CUDA, or none is found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--all", action="store_true", help="also those that want an environment of their own")
    options = parser.parse_args()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [e for e in ("", *project["optional-dependencies"]) if options.all or e not in OWN_ENVIRONMENT]
    rows, failed = [], []
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        for extra in extras:
            try:
                rows.append(resolved(Path(folder, "bin", "python"), extra))
            except subprocess.CalledProcessError as error:
                failed.append(extra)
                print(f"{extra}: {error.stderr.strip().splitlines()[-1]}", file=sys.stderr)
    if options.json:
        print(json.dumps({"extras": rows, "failed": failed}))
    else:
        for row in rows:
            print(
                f"{row['extra']:10} {row['distributions']:4} distributions, torch {row['torch'] or '–'}",
                *row["for GPUs"],
            )
    sys.exit(1 if failed or any(row["for GPUs"] for row in rows) else 0)


if __name__ == "__main__":
    main()
