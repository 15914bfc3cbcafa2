"""The process inside the sandbox: imports a module's test machinery once, then forks for each mutant.

A script of the standard library alone, fed and read by `superalign.tasks.executing`. Frames in and out are four bytes
of length and JSON. First a setup (`module`, `path`, `sha256`, `tests`, `skip`, `wall`, `profile`, `memory`), then jobs:

    {"id": 7, "function": "A.f", "start": 12, "text": "def f(self): ...", "witness": null}

A job without `text` is the whole file through the unparser. The child puts the changed tree in the place of the file
(every import of it reads the change, fresh imports too), imports the tests anew and runs them to the first failure.
With a `witness` it runs only that one, else those that call the function (or code inside it), as one profiled run of
the unchanged file tells; a function that runs while modules are imported or fixtures set up concerns them all. What
fails in here on the unchanged file (there is no network, no user) is never run again. The answer is `outcome`:
survived, killed (with `witness` and `error`), timeout, resource, crash, or absent (there is no such function, or no
test ran). What a child writes besides is lost.
"""

import ast
import contextlib
import functools
import hashlib
import importlib
import json
import os
import random
import re
import resource
import select
import shutil
import signal
import struct
import sys
import tempfile
import threading
import time
import unittest
from importlib.machinery import SourceFileLoader

RESOURCE = (MemoryError, RecursionError)
RESOURCE_ERRNO = {11, 12, 23, 24, 28}
"""EAGAIN, ENOMEM, ENFILE, EMFILE, ENOSPC: the sandbox's walls, no verdict on the code."""


def read_frame(stream):
    head = stream.read(4)
    return json.loads(stream.read(struct.unpack(">I", head)[0])) if len(head) == 4 else None


def frame(value):
    raw = json.dumps(value).encode()
    return struct.pack(">I", len(raw)) + raw


def find(tree, name, start):
    """(list of statements, index) of the function `name` whose `def` stands at line `start`, or None."""
    parts = name.split(".")
    stack = [(tree, 0)]
    while stack:
        node, depth = stack.pop()
        for field in ("body", "orelse", "finalbody", "handlers"):
            body = getattr(node, field, None)
            for i, child in enumerate(body if isinstance(body, list) else ()):
                if isinstance(child, ast.ClassDef) and depth < len(parts) - 1 and child.name == parts[depth]:
                    stack.append((child, depth + 1))
                elif isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    if child.lineno == start and child.name == parts[-1] and depth == len(parts) - 1:
                        return body, i
                elif isinstance(child, (ast.If, ast.Try, ast.With, ast.ExceptHandler)):
                    stack.append((child, depth))
    return None


def changed(source, job):
    """Tree of the file with one function replaced, or the whole of it unparsed; None if there is no such function."""
    tree = ast.parse(source)
    if job.get("text") is None:
        return ast.parse(ast.unparse(tree))
    found = find(tree, job["function"], job["start"])
    if found is None:
        return None
    body, i = found
    new = ast.parse(job["text"]).body[0]
    ast.increment_lineno(new, body[i].lineno - new.lineno)
    body[i] = new
    return tree


def replace_file(file, code):
    """Every import of `file` from now on executes `code`."""
    original = SourceFileLoader.get_code
    real = os.path.realpath(file)

    def get_code(self, fullname):
        return code if os.path.realpath(self.path) == real else original(self, fullname)

    SourceFileLoader.get_code = get_code


class Callers(unittest.TestResult):
    """Which tests call which code of one file: first line of the code -> numbers of tests, None for outside of any."""

    def __init__(self, file):
        super().__init__()
        self.file, self.now, self.at, self.found = os.path.realpath(file), None, -1, {}
        self.ours, self.failing = {}, set()

    def _failed(self, test, error):
        self.failing.add(self.at)

    addError = addFailure = _failed

    def addSubTest(self, test, subtest, error):
        if error is not None:
            self.failing.add(self.at)

    def startTest(self, test):
        self.at += 1
        self.now = self.at

    def stopTest(self, test):
        self.now = None

    def __call__(self, frame, event, argument):
        code = frame.f_code
        mine = self.ours.get(code.co_filename)
        if mine is None:
            mine = self.ours[code.co_filename] = os.path.realpath(code.co_filename) == self.file
        if mine and event == "call":
            self.found.setdefault(code.co_firstlineno, set()).add(self.now)


class Result(unittest.TestResult):
    """Keeps the first failure: which test, and which exception."""

    def __init__(self):
        super().__init__()
        self.failfast, self.first, self.passed = True, None, 0

    def addSuccess(self, test):
        self.passed += 1

    def _keep(self, test, error):
        if self.first is None:
            self.first = (test.id(), error)
        self.stop()

    def addError(self, test, error):
        self._keep(test, error)

    addFailure = addError

    def addSubTest(self, test, subtest, error):
        if error is not None:
            self._keep(test, error)

    def addUnexpectedSuccess(self, test):
        self._keep(test, (AssertionError, AssertionError("unexpected success"), None))


def cases(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from cases(test)
        else:
            yield test


def suite_of(tests, skip):
    """Cases of the test modules without what `skip` matches, those of a class together."""
    loader = unittest.TestLoader()
    found = []
    for name in tests:
        found += cases(loader.loadTestsFromModule(importlib.import_module(name)))
    classes = {}
    for test in found:
        if not (skip and re.search(skip, test.id())):
            classes.setdefault(type(test), []).append(test)
    return [test for kind in classes.values() for test in kind]


def named(test, witness):
    """Whether the witness is this test, or a fixture of its class or module."""
    kind = type(test)
    fixtures = (f"setUpClass ({unittest.util.strclass(kind)})", f"setUpModule ({kind.__module__})")
    return witness == test.id() or witness in fixtures


def profiled(setup, source):
    """Runs in a child: which tests call what."""
    callers = Callers(setup["file"])
    replace_file(setup["file"], compile(ast.parse(source), setup["file"], "exec"))
    sys.setprofile(callers)
    threading.setprofile(callers)
    random.seed(0)
    if setup["module"] in sys.modules:
        importlib.reload(sys.modules[setup["module"]])
    tests = suite_of(setup["tests"], setup.get("skip"))
    unittest.TestSuite(tests).run(callers)
    sys.setprofile(None)
    found = {line: None if None in at else sorted(at) for line, at in callers.found.items()}
    return {"callers": found, "tests": len(tests), "failing": sorted(callers.failing)}


def concerned(known, tree, job):
    """Numbers of the tests that call the job's function, without those that fail on the unchanged file."""
    passing = [i for i in range(known["tests"]) if i not in known["failing"]]
    found = None if job.get("text") is None else find(tree, job["function"], job["start"])
    if found is None:
        return passing
    node = found[0][found[1]]
    first = min([node.lineno] + [d.lineno for d in node.decorator_list])
    sets = [at for line, at in known["callers"].items() if first <= int(line) <= node.end_lineno]
    calling = passing if any(at is None for at in sets) else set().union(*sets)
    return [i for i in passing if i in calling]


def verdict(setup, job, source, only):
    """Runs in a child: what the tests say of the changed module; `only` holds the numbers of those to run."""
    tree = changed(source, job)
    if tree is None:
        return {"outcome": "absent"}
    replace_file(setup["file"], compile(tree, setup["file"], "exec"))
    random.seed(0)
    witness = job.get("witness")
    try:
        if setup["module"] in sys.modules:
            importlib.reload(sys.modules[setup["module"]])
        tests = suite_of(setup["tests"], setup.get("skip"))
    except Exception as error:  # noqa: BLE001 - changed code raises what it likes
        return said("import", error)
    if witness == "import":
        return {"outcome": "survived"}
    if witness:
        tests = [test for test in tests if named(test, witness)]
    elif only is not None:
        tests = [tests[i] for i in only if i < len(tests)]
    result = Result()
    unittest.TestSuite(tests).run(result)
    if result.first is not None:
        return said(result.first[0], result.first[1][1])
    return {"outcome": "survived" if result.passed else "absent", "tests": result.passed}


def said(witness, error):
    full = isinstance(error, RESOURCE) or (isinstance(error, OSError) and error.errno in RESOURCE_ERRNO)
    return {"outcome": "resource" if full else "killed", "witness": witness, "error": type(error).__name__}


def child(setup, work, out, folder):
    os.setsid()
    resource.setrlimit(resource.RLIMIT_AS, (setup["memory"], setup["memory"]))
    tempfile.tempdir = folder
    os.chdir(folder)
    os.dup2(1, 2)
    try:
        answer = work()
    except BaseException as error:  # noqa: BLE001 - so do its tests, SystemExit among it
        answer = {"outcome": "crash", "error": type(error).__name__}
    raw = frame(answer)
    while raw:
        raw = raw[os.write(out, raw) :]
    os._exit(0)


def forked(setup, work, hidden, limit):
    """One fork: its answer, or timeout, or crash. Whatever it started ends with it."""
    inside, outside = os.pipe()
    folder = tempfile.mkdtemp()
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        os.close(inside)
        os.close(hidden)
        child(setup, work, outside, folder)
    os.close(outside)
    raw = b""
    while True:
        left = limit - (time.monotonic() - began)
        ready = select.select([inside], [], [], max(0.0, left))[0]
        piece = os.read(inside, 1 << 16) if ready else b""
        raw += piece
        if not piece or (len(raw) >= 4 and len(raw) >= 4 + struct.unpack(">I", raw[:4])[0]):
            break
    late = not raw and time.monotonic() - began >= limit
    os.close(inside)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    shutil.rmtree(folder, ignore_errors=True)
    complete = len(raw) >= 4 and len(raw) == 4 + struct.unpack(">I", raw[:4])[0]
    answer = json.loads(raw[4:]) if complete else {"outcome": "timeout" if late else "crash"}
    return {**answer, "seconds": round(time.monotonic() - began, 3)}


def main():
    if os.environ.get("PYTHONHASHSEED") != "0":  # sets iterate alike in every run
        os.execve(sys.executable, sys.orig_argv, {**os.environ, "PYTHONHASHSEED": "0"})
    stdin, hidden = sys.stdin.buffer, os.dup(1)
    os.dup2(os.open(os.devnull, os.O_RDWR), 1)
    setup = read_frame(stdin)
    setup["file"] = os.path.join(os.path.dirname(os.__file__), setup["path"])
    with open(setup["file"], "rb") as file:
        raw = file.read()
    if hashlib.sha256(raw).hexdigest() != setup["sha256"]:
        sys.exit(f"the sandbox's Python {sys.version.split()[0]} has another {setup['path']}")
    source = raw.decode("utf-8")
    from test import support

    support.use_resources = []  # no network, no gigabytes
    before = set(sys.modules)
    for name in setup["tests"]:
        importlib.import_module(name)
    for name in set(sys.modules) - before:
        if stale(name, setup):
            del sys.modules[name]
    jobs = []
    while (job := read_frame(stdin)) is not None:
        jobs.append(job)
    known, tree = {}, ast.parse(source)
    if not all(job.get("witness") for job in jobs):
        known = forked(setup, functools.partial(profiled, setup, source), hidden, setup["profile"])
    for job in jobs:
        only = concerned(known, tree, job) if known.get("tests") and not job.get("witness") else None
        if known.get("outcome") == "timeout":  # the tests hang on the unchanged file
            answer = {"outcome": "timeout"}
        elif only == []:
            answer = {"outcome": "survived", "tests": 0, "seconds": 0.0}
        else:
            answer = forked(setup, functools.partial(verdict, setup, job, source, only), hidden, setup["wall"])
        failing = len(known.get("failing", ()))
        os.write(hidden, frame({"id": job["id"], **answer, "failing": failing, "total": known.get("tests", 0)}))


def stale(name, setup):
    """Whether a module holds on to the unchanged file: tests, their helpers, and the package the file belongs to."""
    packages = {test.rpartition(".")[0] for test in setup["tests"]} - {"test"}
    return (
        name in setup["tests"]
        or name.partition(".")[0] == setup["module"].partition(".")[0]
        or any((name + ".").startswith(package + ".") for package in packages)
    )


if __name__ == "__main__":
    main()
