"""The self-test matrix: attempts to get out, reach in or use everything up, each with what shows that it worked.

A probe prints `GOT` when its attempt succeeded. Where it does no harm it is tried outside as well: a probe that can't
succeed there either shows nothing, and the matrix says so. None is an exploit: each asks the kernel for something in
the documented way.
"""

from __future__ import annotations

from superalign.sandbox.probe import Probe
from superalign.sandbox.probes_exhaustion import EXHAUSTION

CALL = """
import ctypes, os
lib = ctypes.CDLL(None, use_errno=True)
def call(number, *given):
    return lib.syscall(number, *[ctypes.c_long(g) if isinstance(g, int) else g for g in given])
import platform
arm = platform.machine() == 'aarch64'
"""


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
        name="open-unix-socket",
        title="connect to a Unix socket that anybody may use",
        group="reach",
        script="import socket; s = socket.socket(socket.AF_UNIX); s.connect('{open}/socket'); print('GOT')",
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
    Probe(
        name="mode",
        title="change the mode of a file of the host's user",
        group="files",
        script="import os; os.chmod('{open}/own', 0o640); print('GOT')",
    ),
    Probe(
        name="times",
        title="change the times of a file of the host's user",
        group="files",
        script="import os; os.utime('{open}/own'); print('GOT')",
    ),
    Probe(
        name="truncate",
        title="cut off a file of the host that anybody may write",
        group="files",
        script="import os; os.truncate('{open}/anyone', 0); print('GOT')",
    ),
    # --- processes
    Probe(
        name="others-limits",
        title="lower the limits of a process of the host",
        group="processes",
        script="import resource; resource.prlimit({pid}, resource.RLIMIT_CORE, (0, 0)); print('GOT')",
    ),
    Probe(
        name="others-priority",
        title="slow down a process of the host",
        group="processes",
        script="import os; os.sched_setaffinity({pid}, os.sched_getaffinity(0)); print('GOT')",
    ),
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
    Probe(
        name="host-pipe",
        title="open a pipe of a host process by its name",
        group="processes",
        script="import os; os.open('/proc/{pid}/fd/0', os.O_WRONLY | os.O_NONBLOCK); print('GOT')",
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
    _syscall(
        "shared-memory",
        "leave shared memory behind that outlives the process",
        "i = lib.shmget(0, 4096, 0o1600)\nprint('GOT' if i >= 0 else 'no')\nlib.shmctl(i, 0, None)",
    ),
    _syscall(
        "message-queue",
        "open a message queue of the host",
        "n = (ctypes.c_long * 8)()\nh = call(180 if arm else 240, b'superalign-probe', 0o102, 0o600, 0)\n"
        "print('GOT' if h >= 0 else 'no')\ncall(181 if arm else 241, b'superalign-probe')",
    ),
    _syscall(
        "memory-file",
        "make files in memory that no limit of memory counts",
        "print('GOT' if lib.memfd_create(b'x', 0) >= 0 else 'no')",
    ),
    *EXHAUSTION,
)
