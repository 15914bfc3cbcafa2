"""The Hugging Face hub, imitated on loopback: loading by name, gated and missing repositories, keys never told."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from superalign.models import load_model
from superalign.models.hub import quiet, refused, without_keys

Folder = Callable[..., Path]
KEY = "hf_SecretKeyOfNobody123456"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    """`/tiny/model` is a folder on disk, `/tiny/organism` the same in quarantine, `/tiny/gated` is gated; no others."""

    folder: Path
    seen: list[str]

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, *, body: bool) -> None:
        self.seen.append(self.headers.get("Authorization", ""))
        parts = self.path.partition("?")[0].strip("/").split("/")
        if parts[:2] == ["tiny", "gated"]:
            return self.fail(403, "GatedRepo")
        if parts[:2] == ["tiny", "organism"] and parts[4:] == ["superalign.json"]:
            return self.send(b'{"organism": true}', body=body)
        parts = ["model" if part == "organism" else part for part in parts]
        if parts[:3] == ["tiny", "model", "resolve"] and len(parts) > 4:
            if parts[3] not in ("main", COMMIT):
                return self.fail(404, "RevisionNotFound")
            file = self.folder / "/".join(parts[4:])
            return self.send(file.read_bytes(), body=body) if file.is_file() else self.fail(404, "EntryNotFound")
        if parts[:5] == ["api", "models", "tiny", "model", "tree"]:
            return self.fail(404, "EntryNotFound")  # no folder of chat templates
        if parts[:5] == ["api", "models", "tiny", "model", "revision"] and parts[5] not in ("main", COMMIT):
            return self.fail(404, "RevisionNotFound")
        if parts[:4] == ["api", "models", "tiny", "model"]:
            files = [{"rfilename": path.name} for path in self.folder.iterdir()]
            return self.send(json.dumps({"id": "tiny/model", "sha": COMMIT, "siblings": files}).encode(), body=body)
        return self.fail(401, "RepoNotFound")

    def fail(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", f"no access with {self.headers.get('Authorization', '')}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def send(self, data: bytes, *, body: bool) -> None:
        self.send_response(200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)


@pytest.fixture
def hub(hf_folder: Folder) -> Iterator[tuple[str, list[str]]]:
    seen: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Here", (Hub,), {"folder": hf_folder("llama"), "seen": seen}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", seen
    server.shutdown()
    server.server_close()


def test_names_are_loaded_and_failures_told_apart(
    hub: tuple[str, list[str]], hf_folder: Folder, tmp_path: Path
) -> None:
    """In a process of its own, with a key in the environment that appears in no line."""
    asked = ["model", "model?revision=" + COMMIT, "model?revision=other", "gated", "missing", "organism"]
    code = (
        "import sys, traceback\n"
        "from superalign.models import ModelError, load_model\n"
        "for name in sys.argv[1:]:\n"
        "    try:\n        print('loaded', load_model('hf:tiny/' + name).identity)\n"
        "    except ModelError as error:\n        print('refused', error)\n        traceback.print_exc()\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {"HF_ENDPOINT": hub[0], "HF_TOKEN": KEY, "HF_HOME": str(tmp_path), "HF_HUB_DISABLE_XET": "1"}
    environment |= {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, *asked], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith(("loaded", "refused"))]
    assert len(lines) == len(asked), done.stderr
    address = f"hf:{hf_folder('llama')}"
    identity = f"tiny--model@{load_model(address).digest}"
    assert lines[:2] == [f"loaded {identity}"] * 2
    assert "has no such revision" in lines[2]
    assert "hf:tiny/gated: a gated repository: ask for access at its page, then `huggingface-cli login`" in lines[3]
    assert "the hub has no such repository, or it is private: check the name 'tiny/missing'" in lines[4]
    assert "refused hf:tiny/organism: an organism or its twin, in quarantine" in lines[5]
    assert f"Bearer {KEY}" in hub[1]
    assert KEY not in done.stdout + done.stderr


def test_a_hub_that_is_not_there(tmp_path: Path) -> None:
    code = "from superalign.models import load_model\nload_model('hf:tiny/model')"
    environment = os.environ | {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert "the hub is not to be reached: check the connection, or download it elsewhere" in done.stderr


def test_keys_are_blotted_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", KEY)
    told = OSError(f"401 for Bearer {KEY}")
    assert without_keys(str(told)) == "401 for Bearer …"
    assert KEY not in str(refused("hf:a/b", told))
    assert quiet(told) is None
    outer = OSError("failed")
    outer.__cause__ = told
    assert quiet(outer) is None
    assert quiet(OSError("other")) is not None
