"""The self-test matrix: attempts to get out, reach in or use everything up, each with what shows that it worked.

A probe prints `GOT` when its attempt succeeded. Where it does no harm it is tried outside as well: a probe that can't
succeed there either shows nothing, and the matrix says so. None is an exploit: each asks the kernel for something in
the documented way.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from superalign.sandbox.limits import MIB, Limits

CALL = """
import ctypes, os
lib = ctypes.CDLL(None, use_errno=True)
def call(number, *given):
    return lib.syscall(number, *[ctypes.c_long(g) if isinstance(g, int) else g for g in given])
import platform
arm = platform.machine() == 'aarch64'
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One attempt. `{host}` in its script is filled with what the tester prepared outside (see `selftest`)."""

    name: str
    title: str
    group: str
    """reach, files, processes, kernel or exhaustion."""
    script: str
    bare: bool = True
    """It may be tried outside the sandbox: it harms nothing there."""
    limits: Limits = field(default_factory=lambda: Limits(wall=8.0))


def _syscall(name: str, title: str, body: str, *, bare: bool = True) -> Probe:
    return Probe(name=name, title=title, group="kernel", script=CALL + body, bare=bare)


PROBES: tuple[Probe, ...] = (
    # --- reach: what is outside
    Probe(
        name="tcp",
        title="connect to a listener on the host's loopback",
        group="reach",
        script="import socket; socket.create_connection(('127.0.0.1', {port}), 2); print('GOT')",
    ),
    Probe(
        name="udp",
        title="send a datagram to the host's loopback",
        group="reach",
        script="import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); "
        "s.sendto(b'x', ('127.0.0.1', {port})); print('GOT')",
    ),
    Probe(
        name="raw-socket",
        title="open a raw packet socket",
        group="reach",
        script="import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW); print('GOT')",
    ),
    Probe(
        name="netlink",
        title="ask the kernel about the host's network",
        group="reach",
        script="import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW); print('GOT')",
    ),
    Probe(
        name="abstract-socket",
        title="connect to an abstract Unix socket of the host",
        group="reach",
        script="import socket; s = socket.socket(socket.AF_UNIX); s.connect('\\0{abstract}'); print('GOT')",
    ),
    Probe(
        name="unix-socket",
        title="connect to a Unix socket in a host folder",
        group="reach",
        script="import socket; s = socket.socket(socket.AF_UNIX); s.connect('{folder}/socket'); print('GOT')",
    ),
    Probe(
        name="environment",
        title="read a secret from the parent's environment",
        group="reach",
        script="import os; print('GOT' if '{secret}' in str(dict(os.environ)) else 'no')",
    ),
    Probe(
        name="inherited-file",
        title="read a file the parent has open",
        group="reach",
        script="import os\nfor fd in range(3, 256):\n    try:\n        data = os.pread(fd, 4096, 0)\n"
        "    except OSError:\n        continue\n    if b'{secret}' in data:\n        print('GOT')",
    ),
    # --- files
    Probe(
        name="read-secret",
        title="read a private file of the host",
        group="files",
        script="print('GOT' if '{secret}' in open('{folder}/secret').read() else 'no')",
    ),
    Probe(
        name="read-shadow",
        title="read the host's password hashes",
        group="files",
        script="open('/etc/shadow').read(); print('GOT')",
    ),
    Probe(
        name="read-home",
        title="list the home folder of the user who started it",
        group="files",
        script="import os; print('GOT' if os.listdir('{home}') else 'no')",
    ),
    Probe(
        name="write-host",
        title="write into a folder of the host",
        group="files",
        script="open('{folder}/written', 'w').write('x'); print('GOT')",
    ),
    Probe(
        name="write-system",
        title="write into system folders",
        group="files",
        script="import os\nfor p in ('/usr', '/etc', '/bin', '/lib', '/var', '/python'):\n    try:\n"
        "        open(p + '/superalign-probe', 'w').close(); os.unlink(p + '/superalign-probe'); print('GOT')\n"
        "    except OSError:\n        pass",
        bare=False,
    ),
    Probe(
        name="symlink",
        title="reach a private file of the host by a link",
        group="files",
        script="import os; os.symlink('{folder}/secret', 'link'); "
        "print('GOT' if '{secret}' in open('link').read() else 'no')",
        bare=False,
    ),
    Probe(
        name="setuid",
        title="become root by a set-uid program",
        group="files",
        script="import os, subprocess\n"
        "su = next((p for p in ('/usr/bin/su', '/bin/su') if os.path.exists(p)), None)\n"
        "r = subprocess.run([su, '-c', 'id -u'], capture_output=True, text=True, stdin=subprocess.DEVNULL)\n"
        "print('GOT' if r.stdout.strip() == '0' else 'no')",
    ),
    Probe(
        name="become-root",
        title="set the user id to 0",
        group="files",
        script="import os; os.setuid(0); "
        "print('GOT' if open('/proc/self/uid_map').read().split()[:2] == ['0', '0'] else 'no')",
    ),
    # --- processes
    Probe(
        name="signal",
        title="signal a process of the host",
        group="processes",
        script="import os; os.kill({pid}, 0); print('GOT')",
    ),
    Probe(
        name="host-proc",
        title="read the command line of a host process",
        group="processes",
        script="print('GOT' if b'{marker}' in open('/proc/{pid}/cmdline', 'rb').read() else 'no')",
    ),
    Probe(
        name="host-environ",
        title="read the environment of a host process",
        group="processes",
        script="print('GOT' if b'{secret}' in open('/proc/{pid}/environ', 'rb').read() else 'no')",
    ),
    _syscall(
        "ptrace",
        "trace a child of its own",
        "pid = os.fork()\nif pid == 0:\n    import time; time.sleep(2); os._exit(0)\n"
        "print('GOT' if call(117 if arm else 101, 16, pid, 0, 0) == 0 else 'no')\nos.kill(pid, 9)",
    ),
    _syscall(
        "read-memory",
        "read another process's memory",
        "pid = os.fork()\nif pid == 0:\n    import time; time.sleep(2); os._exit(0)\n"
        "b = ctypes.create_string_buffer(8); io = (ctypes.c_size_t * 2)(ctypes.addressof(b), 8)\n"
        "print('GOT' if call(270 if arm else 310, pid, io, 1, io, 1, 0) == 8 else 'no')\nos.kill(pid, 9)",
    ),
    # --- kernel
    _syscall("user-namespace", "make a user namespace", "print('GOT' if lib.unshare(0x10000000) == 0 else 'no')"),
    _syscall(
        "clone-user",
        "clone into a user namespace",
        "flags = 0x10000000 | 17\nn = 220 if arm else 56\npid = call(n, flags, 0, 0, 0, 0)\n"
        "if pid == 0:\n    os._exit(0)\nprint('GOT' if pid > 0 else 'no')",
    ),
    _syscall(
        "clone3-user",
        "clone3 into a user namespace",
        "a = (ctypes.c_uint64 * 11)(0x10000000, 0, 0, 0, 17)\npid = call(435, a, 88)\n"
        "if pid == 0:\n    os._exit(0)\nprint('GOT' if pid > 0 else 'no')",
    ),
    _syscall(
        "mount",
        "mount a file system",
        "print('GOT' if lib.mount(b'none', b'/tmp', b'tmpfs', 0, None) == 0 else 'no')",
        bare=False,
    ),
    _syscall("chroot", "change the root", "print('GOT' if lib.chroot(b'/') == 0 else 'no')"),
    _syscall(
        "bpf",
        "load a kernel program's map",
        "a = (ctypes.c_uint32 * 32)(2, 4, 4, 1)\nprint('GOT' if call(280 if arm else 321, 0, a, 128) >= 0 else 'no')",
    ),
    _syscall(
        "perf",
        "open a performance counter",
        "a = (ctypes.c_uint32 * 32)(1, 128)\nprint('GOT' if call(241 if arm else 298, a, 0, -1, -1, 0) >= 0 else 'no')",
    ),
    _syscall(
        "keyctl", "read the kernel's key ring", "print('GOT' if call(219 if arm else 250, 0, -3, 1) > 0 else 'no')"
    ),
    _syscall(
        "io_uring",
        "set up an io_uring",
        "a = (ctypes.c_uint32 * 30)()\nprint('GOT' if call(425, 4, a) >= 0 else 'no')",
    ),
    _syscall("userfaultfd", "catch page faults", "print('GOT' if call(282 if arm else 323, 1) >= 0 else 'no')"),
    _syscall(
        "personality", "turn off address randomisation", "print('GOT' if lib.personality(0x0040000) >= 0 else 'no')"
    ),
    _syscall(
        "set-clock",
        "adjust the clock",
        "t = (ctypes.c_long * 26)()\nprint('GOT' if call(171 if arm else 159, t) >= 0 else 'no')",
    ),
    _syscall(
        "terminal",
        "type into the terminal",
        "import fcntl, termios, pty\nm, s = pty.openpty()\nfcntl.ioctl(s, termios.TIOCSTI, b'x')\nprint('GOT')",
    ),
    # --- exhaustion: the attempt got what it wanted when it passed the limit
    Probe(
        name="memory",
        title="allocate 2 GB",
        group="exhaustion",
        script="x = bytearray(2 * 1024 ** 3); x[::4096] = b'x' * len(x[::4096]); print('GOT')",
        bare=False,
    ),
    Probe(
        name="tree-memory",
        title="hold 900 MB in ten processes",
        group="exhaustion",
        script="import os, time\npids = []\nfor i in range(10):\n    r, w = os.pipe()\n    pid = os.fork()\n"
        "    if pid == 0:\n        x = bytearray(90 << 20)\n        x[::4096] = b'x' * len(x[::4096])\n"
        "        os.write(w, b'1')\n"
        "        time.sleep(1.5); os._exit(0)\n    os.close(w); pids.append((pid, r))\n"
        "held = sum(os.read(r, 1) == b'1' for _, r in pids)\nprint('GOT' if held == 10 else held)",
        bare=False,
        limits=Limits(wall=8.0, memory=256 * MIB),
    ),
    Probe(
        name="cpu",
        title="burn CPU for longer than allowed",
        group="exhaustion",
        script="import time\nend = time.process_time() + 3\nwhile time.process_time() < end:\n    pass\nprint('GOT')",
        limits=Limits(wall=8.0, cpu=1),
    ),
    Probe(
        name="wall",
        title="sleep for longer than allowed",
        group="exhaustion",
        script="import time; time.sleep(3); print('GOT')",
        limits=Limits(wall=1.0),
    ),
    Probe(
        name="forks",
        title="hold 200 processes",
        group="exhaustion",
        script="import os, time\nfor i in range(200):\n    if os.fork() == 0:\n        time.sleep(3); os._exit(0)\n"
        "print('GOT')",
    ),
    Probe(
        name="threads",
        title="hold 150 threads",
        group="exhaustion",
        script="import threading, time\nfor i in range(150):\n"
        "    threading.Thread(target=time.sleep, args=(3,), daemon=True).start()\nprint('GOT')\nimport os; os._exit(0)",
    ),
    Probe(
        name="big-file",
        title="write a file of 400 MB",
        group="exhaustion",
        script="f = open('big', 'wb')\nfor i in range(400):\n    f.write(bytes(1024 ** 2)); f.flush()\nprint('GOT')",
        bare=False,
    ),
    Probe(
        name="many-files",
        title="fill the disk with small files",
        group="exhaustion",
        script="for i in range(400):\n    open(f'f{{i}}', 'wb').write(bytes(1024 ** 2))\nprint('GOT')",
        bare=False,
    ),
    Probe(
        name="descriptors",
        title="open 1,000 files",
        group="exhaustion",
        script="x = [open('/dev/null') for i in range(1000)]; print('GOT')",
    ),
    Probe(
        name="flood",
        title="print without end",
        group="exhaustion",
        script="import sys\nfor i in range(8000):\n    sys.stdout.write('x' * 1024 ** 2 if i == 40 else 'y' * 1024)\n"
        "    sys.stdout.flush()\nimport time; time.sleep(0.5)\nopen('/proc/self/stat')\nprint('GOT')",
        bare=False,
    ),
    Probe(
        name="core",
        title="leave a core dump",
        group="exhaustion",
        script="import resource; resource.setrlimit(resource.RLIMIT_CORE, (10 ** 6, 10 ** 6)); print('GOT')",
    ),
    Probe(
        name="raise-limits",
        title="raise its own limits",
        group="exhaustion",
        script="import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096)); print('GOT')",
    ),
)
