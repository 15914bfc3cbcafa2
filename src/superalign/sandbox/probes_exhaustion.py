"""Attempts to use everything up; each got what it wanted when it passed the limit."""

from __future__ import annotations

from superalign.sandbox.limits import MIB, Limits
from superalign.sandbox.probe import Probe

EXHAUSTION: tuple[Probe, ...] = (
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
        script="import time\nend = time.process_time() + 1.8\nwhile time.process_time() < end:\n    pass\nprint('GOT')",
        limits=Limits(wall=8.0, cpu=1),
    ),
    Probe(
        name="wall",
        title="sleep for longer than allowed",
        group="exhaustion",
        script="import time; time.sleep(1.5); print('GOT')",
        limits=Limits(wall=0.7),
    ),
    Probe(
        name="forks",
        title="hold 200 processes",
        group="exhaustion",
        script="import os, time\nfor i in range(200):\n    if os.fork() == 0:\n        time.sleep(1); os._exit(0)\n"
        "print('GOT')",
    ),
    Probe(
        name="threads",
        title="hold 150 threads",
        group="exhaustion",
        script="import threading, time\nfor i in range(150):\n"
        "    threading.Thread(target=time.sleep, args=(3,), daemon=True).start()\n"
        "print('GOT', flush=True)\nimport os; os._exit(0)",
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
        script="for i in range(400):\n    open(f'f{i}', 'wb').write(bytes(1024 ** 2))\nprint('GOT')",
        bare=False,
    ),
    Probe(
        name="inodes",
        title="make 60,000 empty files",
        group="exhaustion",
        script="import os\nfor i in range(60000):\n    os.mknod(f'n{i}')\nprint('GOT')",
        bare=False,
        limits=Limits(wall=12.0, cpu=8),
    ),
    Probe(
        name="uncapped-folder",
        title="write 300 MB into whatever folder takes it",
        group="exhaustion",
        script="import os\nfor p in ('/', '/dev', '/dev/shm', '/etc', '/run', '/var/tmp', '/tmp', '.'):\n    n = 0\n"
        "    try:\n        while n < 300:\n            open(f'{p}/x-{n}', 'wb').write(bytes(1 << 20)); n += 1\n"
        "        print('GOT')\n    except OSError:\n        pass",
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
