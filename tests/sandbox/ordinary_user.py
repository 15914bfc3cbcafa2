"""What an ordinary user's sandbox does, as one JSON object; run by test_sandbox_user.py as a user who is not root."""

import json
import os
import subprocess
import sys
import threading
import time

from superalign.sandbox import Absent, Limits, Program, play, run, standing
from superalign.sandbox.selftest import lives

PYTHON = [sys.executable, "-I", "-S", "-c"]
DAEMON = """
import ctypes, os, resource, sys, time
for _ in range(2):
    if os.fork(): os._exit(0)
    os.setsid()
ctypes.CDLL(None).prctl(4, 0)
os.environ.clear()
try: resource.setrlimit(12, (1, 1))
except (OSError, ValueError): pass
for fd in range(3): os.close(fd)
time.sleep(30)
"""
TREE = """
import os, time
for i in range(6):
    if os.fork() == 0:
        x = bytearray(90 << 20)
        x[::4096] = b'x' * len(x[::4096]); time.sleep(3); os._exit(0)
if any(os.wait()[1] for i in range(6)): raise SystemExit(1)
"""
HIDDEN = """
import os
os.mkdir('x', 0o300)
for i in range(40): open(f'x/{i}', 'wb').write(bytes(1 << 20))
import time; time.sleep(5)
"""
LATER = """
import os, time
def f(x):
    if {0}:
        if os.fork(): return 5
        os.setsid()
    time.sleep({0})
    os.kill(-1, 9)
    return 6
"""


def main():
    """Try every layer that stands here."""
    threads = [threading.Thread(target=time.sleep, args=(60,), daemon=True) for _ in range(90)]
    for thread in threads:
        thread.start()
    bystander = subprocess.Popen([*PYTHON, "import time; time.sleep(60)"])
    said = {}
    for layer in standing():
        if isinstance(layer, Absent):
            said[layer.name] = f"{layer.why}; {layer.do}"
            continue
        sound = Program(source="def f(x): return 2 * x", call="f", arguments=((21,),))
        programs = [
            sound,
            *(Program(source=LATER.format(wait), call="f", arguments=((1,),)) for wait in (0, 0.3)),
            sound,
        ]
        marker = f"marker-{layer.name}-{os.getpid()}"
        forks = "import os, time\nfor i in range(100):\n    if os.fork() == 0: time.sleep(2); os._exit(0)"
        run([*PYTHON, DAEMON, marker], isolation=layer)
        said[layer.name] = {
            "plain": run([*PYTHON, "print(6 * 7)"], isolation=layer).stdout.decode().strip(),
            "forks": run([*PYTHON, forks], isolation=layer).code,
            "files": run([*PYTHON, "print(open('a/b').read())"], files={"a/b": b"x"}, isolation=layer).stdout.decode(),
            "played": [f"{r.kind} {r.value}" for p in play(programs, seconds=3.0, isolation=layer) for r in p.results],
            "tree": run([*PYTHON, TREE], limits=Limits(memory=256 << 20), isolation=layer).kind,
            "hidden": run([*PYTHON, HIDDEN], limits=Limits(file=10 << 20), isolation=layer).kind,
            "daemon": lives(marker),
        }
    said["bystander"] = bystander.poll()
    bystander.kill()
    bystander.wait()
    print(json.dumps(said))


if __name__ == "__main__":
    main()
