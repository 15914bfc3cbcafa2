"""The system-call filter, run by a small interpreter of classic BPF: what each call is answered, on both machines."""

import errno
import re
import struct
from pathlib import Path

import pytest

from superalign.sandbox import seccomp
from superalign.sandbox.seccomp import ALLOW, AUDIT_ARCH, DENIED, DENIED_ON_FILES, ERRNO, KILL, ON_SELF, assembled

MACHINES = ("x86_64", "aarch64")


def answer(program, arch, number, *arguments):
    """What the kernel would do with that call."""
    data = struct.pack("<IIQ6Q", number, arch, 0, *arguments, *[0] * (6 - len(arguments)))
    code = [struct.unpack_from("<HBBI", program, at) for at in range(0, len(program), 8)]
    at = register = 0
    for _ in range(len(code)):
        what, yes, no, k = code[at]
        if what == 0x20:
            (register,), jump = struct.unpack_from("<I", data, k), 0
        elif what == 0x06:
            return k
        else:
            holds = {0x15: register == k, 0x35: register >= k, 0x45: bool(register & k)}[what]
            jump = yes if holds else no
        at += 1 + jump
    raise AssertionError("it never returned")


def eperm(number=errno.EPERM):
    return ERRNO | number


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("shared", [False, True])
def test_what_each_call_is_answered(machine, shared):
    column, arch = MACHINES.index(machine), AUDIT_ARCH[machine]
    program = assembled(machine, shared=shared, pinned=(12,))

    def call(number, *arguments):
        return answer(program, arch, number, *arguments)

    for numbers in DENIED.values():
        if numbers[column] is not None:
            assert call(numbers[column]) == eperm()
    for numbers in DENIED_ON_FILES.values():
        if numbers[column] is not None:
            assert call(numbers[column]) == (eperm() if shared else ALLOW)
    for numbers, place in ON_SELF.values():
        here, there = [0] * 6, [0] * 6
        there[place] = 4711
        assert call(numbers[column], *here) == ALLOW
        assert call(numbers[column], *there) == (eperm() if shared else ALLOW)
    read, write, openat = ((0, 1, 257), (63, 64, 56))[column]
    assert [call(number) for number in (read, write, openat)] == [ALLOW] * 3
    assert call(seccomp.CLONE3[column]) == eperm(errno.ENOSYS)
    assert call(seccomp.CLONE[column], 17) == ALLOW
    for flag in (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000):
        assert call(seccomp.CLONE[column], flag | 17) == eperm()
    assert call(seccomp.SOCKET[column], 1) == (eperm(errno.EAFNOSUPPORT) if shared else ALLOW)
    assert call(seccomp.SOCKETPAIR[column], 1) == ALLOW
    for family in (0, 2, 10, 16, 17, 40):
        assert call(seccomp.SOCKET[column], family) == eperm(errno.EAFNOSUPPORT)
    for request, said in ((0x5412, eperm()), (0x541C, eperm()), (1 << 32 | 0x5412, eperm()), (0x5413, ALLOW)):
        assert call(seccomp.IOCTL[column], 0, request) == said


@pytest.mark.parametrize("machine", MACHINES)
def test_a_pinned_limit_is_read_and_never_set(machine):
    column, arch = MACHINES.index(machine), AUDIT_ARCH[machine]
    program = assembled(machine, pinned=(12,))
    prlimit, setrlimit = seccomp.PRLIMIT[column], seccomp.SETRLIMIT[column]
    assert answer(program, arch, prlimit, 0, 12, 0, 1) == ALLOW
    assert answer(program, arch, prlimit, 0, 12, 4096, 0) == eperm()
    assert answer(program, arch, prlimit, 0, 12, 1 << 40, 0) == eperm()
    assert answer(program, arch, prlimit, 0, 7, 4096, 0) == ALLOW
    assert answer(program, arch, setrlimit, 12, 4096) == eperm()
    assert answer(program, arch, setrlimit, 7, 4096) == ALLOW


def test_another_architecture_is_killed_and_x32_refused():
    assert answer(assembled("x86_64"), 0x40000003, 101) == KILL  # i386
    assert answer(assembled("x86_64"), AUDIT_ARCH["x86_64"], 0x40000000 | 1) == eperm()
    assert answer(assembled("aarch64"), AUDIT_ARCH["x86_64"], 0) == KILL


@pytest.mark.parametrize("machine", MACHINES)
def test_the_filter_is_well_formed(machine):
    """Short enough for the kernel, every jump lands inside, and the last instruction returns."""
    raw = assembled(machine, shared=True, pinned=(12,))
    program = [struct.unpack_from("HBBI", raw, at) for at in range(0, len(raw), 8)]
    assert len(program) < 4096
    for at, (code, yes, no, _) in enumerate(program):
        if code & 0x07 == 0x05:
            assert at + 1 + max(yes, no) < len(program)
    assert program[-1][0] == 0x06


@pytest.mark.parametrize(
    ("header", "pattern", "column"),
    [
        ("x86_64-linux-gnu/asm/unistd_64.h", r"#define __NR_(\w+)\s+(\d+)", 0),
        ("asm-generic/unistd.h", r"#define __NR(?:3264)?_(\w+)\s+(\d+)", 1),
    ],
)
def test_numbers_are_the_kernel_headers(header, pattern, column):
    path = Path("/usr/include", header)
    if not path.exists():
        pytest.skip(f"no kernel headers here ({path})")
    real = {name: int(number) for name, number in re.findall(pattern, path.read_text())}
    table = {**DENIED, **DENIED_ON_FILES, **{name: numbers for name, (numbers, _) in ON_SELF.items()}}
    known = {name: numbers[column] for name, numbers in table.items() if numbers[column] is not None}
    assert {name: number for name, number in known.items() if real.get(name, number) != number} == {}
    assert len(known.keys() & real.keys()) > 60


def test_an_unknown_machine():
    with pytest.raises(ValueError, match="no system-call table for riscv64"):
        assembled("riscv64")
