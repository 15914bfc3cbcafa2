"""The layers of isolation: what each enforces, whether it stands here, and the command that starts a program in it.

bwrap: namespaces (mounts, processes, network, IPC), a dropped user, rlimits, the system-call filter, cgroups where
writable. landlock: file and network rules instead of namespaces, the rest alike. There is no third: without either,
nothing that a model wrote is run.
"""

from __future__ import annotations

import functools
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from superalign.sandbox import landlock, stage
from superalign.sandbox.cgroups import groups
from superalign.sandbox.limits import Limits, SandboxUnavailable
from superalign.sandbox.seccomp import AUDIT_ARCH, assembled

BOX = "/box"
"""Working folder inside: a temporary file system of its own."""
PYTHON = "/python"
"""Where this Python lies inside: its own path may be closed to the user that is dropped to."""
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/etc/alternatives")
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "HOME": BOX, "TMPDIR": "/tmp", "LANG": "C.UTF-8"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolation:
    """One layer that stands on this machine."""

    name: str
    """bwrap or landlock."""
    enforces: tuple[str, ...]
    staged: bool = False
    """bwrap: its folders are capped in number of files too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """One layer that doesn't stand here: why, and what to do."""

    name: str
    why: str
    do: str


def python_home() -> Path:
    """The folder of this Python's standard library and binaries."""
    return Path(sys.base_prefix).resolve()


def interpreter(layer: str, readable: Sequence[Path] = ()) -> str:
    """Path, inside that layer, of a Python that programs can run: this one, or one of the system like it.

    Where `readable` holds a virtual environment of this Python, its own. Raises SandboxUnavailable where the user that
    is dropped to may read no Python of this version.
    """
    own = Path(sys.executable)
    if any(own.is_relative_to(path) for path in readable):
        return str(own)
    if layer == "bwrap":
        return str(Path(PYTHON) / own.resolve().relative_to(python_home()))
    if not is_root() or _open_to_all(own.resolve()):
        return str(own.resolve())
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    if found := shutil.which(name, path="/usr/bin:/usr/local/bin"):
        return found
    raise SandboxUnavailable(f"{own.resolve()} lies where other users may not read: install {name} in /usr/bin")


def _open_to_all(path: Path) -> bool:
    return all(place.stat().st_mode & 0o005 == 0o005 for place in (path, *path.parents))


def is_root() -> bool:
    """Is this process the machine's root?"""
    return os.geteuid() == 0


def bwrap_command(
    command: Sequence[str],
    *,
    readable: Sequence[Path],
    limits: Limits,
    uid: int,
    fds: dict[str, int],
    where: Path | None,
    writable: bool = True,
    proc: bool = True,
) -> list[str]:
    """The whole command line of a start in bubblewrap; `fds` are the filter's (`seccomp`) and the files' by name.

    With a stage at `where` its folders are bound; without, bubblewrap mounts its own, which cap bytes and not files.
    """
    out = ["bwrap", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
    out += ["--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL"]
    if is_root():  # a real user is dropped to below; inside a user namespace that would be root outside
        out += [word for cap in ("SETUID", "SETGID", "SETPCAP") for word in ("--cap-add", f"CAP_{cap}")]
    else:
        out += ["--unshare-user", "--disable-userns", "--uid", str(uid), "--gid", str(uid)]
    for name, value in ENVIRONMENT.items():
        out += ["--setenv", name, value]
    for path in SYSTEM:
        if os.path.islink(path):
            out += ["--symlink", os.readlink(path), path]
        else:
            out += ["--ro-bind-try", path, path]
    out += ["--dev", "/dev", *(("--proc", "/proc") if proc else ())]
    out += _temporary(limits, where)
    out += ["--ro-bind", str(python_home()), PYTHON]
    for path in dict.fromkeys(map(str, readable)):
        for parent in reversed(Path(path).parents[:-1]):
            out += ["--perms", "0755", "--dir", str(parent)]
        out += ["--ro-bind", path, path]
    for name, fd in fds.items():
        if name != "seccomp":
            out += ["--perms", "0644", "--file", str(fd), f"{BOX}/{name}"]
    # what bubblewrap made for itself, / and /dev, is a file system in memory that nothing caps
    for path in ("/dev", "/", *(() if writable else ("/tmp", BOX, "/dev/shm"))):
        out += ["--remount-ro", path]
    out += ["--chdir", BOX, "--seccomp", str(fds["seccomp"]), "--"]
    if is_root():
        out += ["setpriv", "--reuid", str(uid), "--regid", str(uid), "--clear-groups", "--no-new-privs"]
        out += ["--bounding-set=-all", "--inh-caps=-all", "--"]
    return [*out, *command]


def _temporary(limits: Limits, where: Path | None) -> list[str]:
    out: list[str] = []
    for folder, name in (("/tmp", "tmp"), (BOX, "box"), ("/dev/shm", "shm")):
        if where is not None:
            out += ["--bind", str(where / name), folder]
        else:
            out += ["--perms", "0777" if folder == BOX else "1777", "--size", str(limits.file), "--tmpfs", folder]
    return out


@functools.cache
def standing() -> tuple[Isolation | Absent, ...]:
    """Each layer, best first, with whether it stands here: tried, not guessed."""
    return (_bwrap(), _landlock())


def best_isolation() -> Isolation:
    """The best layer that stands here; SandboxUnavailable says why there is none and how to mend it."""
    for layer in standing():
        if isinstance(layer, Isolation):
            return layer
    reasons = "; ".join(f"{layer.name}: {layer.why}; {layer.do}" for layer in standing() if isinstance(layer, Absent))
    raise SandboxUnavailable(f"no sandbox stands on this machine ({reasons}); see `superalign doctor`")


def chosen(name: str | None) -> Isolation:
    """The layer of that name, or the best; SandboxUnavailable where it doesn't stand."""
    if name is None:
        return best_isolation()
    for layer in standing():
        if layer.name == name:
            if isinstance(layer, Isolation):
                return layer
            raise SandboxUnavailable(f"{name} does not stand on this machine: {layer.why}; {layer.do}")
    raise SandboxUnavailable(f"there is no layer {name!r}: use bwrap or landlock")


_SHARED = ("rlimits", "system-call filter", "no new privileges", "scrubbed environment", "capped output")


def _unknown_machine() -> str | None:
    machine = platform.machine()
    return None if sys.platform == "linux" and machine in AUDIT_ARCH else f"{sys.platform} on {machine}"


def _elsewhere(layer: str, strange: str) -> Absent:
    why = f"it needs Linux on x86-64 or aarch64, and this is {strange}"
    return Absent(name=layer, why=why, do="run there, or without executing anything")


def _bwrap() -> Isolation | Absent:
    if strange := _unknown_machine():
        return _elsewhere("bwrap", strange)
    install = "install bubblewrap (Debian, Ubuntu: `apt-get install bubblewrap`)"
    missing = [tool for tool in ("bwrap", *(["setpriv"] if is_root() else [])) if shutil.which(tool) is None]
    if missing:
        return Absent(name="bwrap", why=f"{' and '.join(missing)} not found", do=install)
    where = stage.place()
    staged = where is not None and _trial(where) is None
    if not staged and (said := _trial(None)) is not None:
        do = (
            "allow user namespaces (Ubuntu: `sysctl kernel.apparmor_restrict_unprivileged_userns=0` or an AppArmor "
            "profile for bwrap; Debian: `sysctl kernel.unprivileged_userns_clone=1`; Docker: --security-opt "
            "seccomp=unconfined)"
        )
        return Absent(name="bwrap", why=f"namespaces are refused here ({said:.120})", do=do)
    dropped = "dropped user" if is_root() else "user namespace, nested ones refused"
    capped = f"folder capped in size{' and files' if staged else ''}"
    spaces = ("mount, process, network and IPC namespaces", dropped, capped)
    return Isolation(name="bwrap", enforces=(*spaces, *_shared()), staged=staged)


def _trial(where: Path | None) -> str | None:
    """Start `true` in bubblewrap; what it said where that failed."""
    read, write = os.pipe()
    os.write(write, assembled())
    os.close(write)
    limits = Limits()
    made = None if where is None else stage.Stage(where, size=limits.file, uid=65534, files={})
    command = bwrap_command(["true"], readable=(), limits=limits, uid=65534, fds={"seccomp": read}, where=where)
    try:
        tried = subprocess.run(
            command, pass_fds=(read,), capture_output=True, timeout=20, check=False, preexec_fn=made and made.make
        )
    except subprocess.TimeoutExpired:
        return "it hung for 20 s"
    except subprocess.SubprocessError:
        return "no mount namespace"
    finally:
        os.close(read)
    if tried.returncode == 0:
        return None
    return (tried.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no reason given"])[0]


def _shared() -> tuple[str, ...]:
    with groups(Limits()) as made:
        tree = ("control group over the tree",) if made.folders else ()
    return (*_SHARED, *tree)


def _landlock() -> Isolation | Absent:
    if strange := _unknown_machine():
        return _elsewhere("landlock", strange)
    version, root = landlock.abi(), is_root()
    if version < (landlock.FIRST_ABI if root else landlock.FOR_ONESELF):
        needs = "Linux 6.2 (ABI 3), or 6.12 (ABI 6) for an ordinary user"
        why = f"its ABI is {version} here, and it takes {needs}" if version else "this kernel has none, or forbids it"
        return Absent(name="landlock", why=why, do=f"use {needs}, or run as root in a container")
    try:
        interpreter("landlock")
    except SandboxUnavailable as error:
        return Absent(name="landlock", why="no Python that others may read", do=str(error))
    scope = ("signals",) if version >= 6 else ()
    user = ("dropped user",) if root else ()
    return Isolation(name="landlock", enforces=(f"file rules (ABI {version})", "no sockets", *scope, *user, *_shared()))
