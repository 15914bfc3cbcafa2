"""The system-call filter: a deny-list as classic BPF, assembled here for x86-64 and aarch64.

Everything is allowed but what reaches around the other layers: tracing, kernel programming, keys, mounts, namespaces,
clocks, modules, memory that no rlimit counts, and sockets other than AF_UNIX. `clone3` is answered "not implemented",
so that the C library falls back to `clone`, whose flags a filter can read. Where processes and files are the host's own
(Landlock), `shared` closes what Landlock has no rule for: sockets in folders, other processes' limits and priorities,
and the modes, owners, times and attributes of files that belong to the same user.
"""

from __future__ import annotations

import errno
import platform
import struct
import termios
from collections.abc import Sequence

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
X32 = 0x40000000
CLONE_NEW, AF_UNIX = 0x7E020000, 1  # every kind of namespace that `clone` can make
_LOAD, _EQUAL, _GREATER, _SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # BPF: ld abs, jeq, jge, jset, ret
_NUMBER, _ARCH, _ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data; an argument's low half (little-endian)
ALLOW, ERRNO, KILL = 0x7FFF0000, 0x00050000, 0x80000000

# name: (x86-64, aarch64); None where the architecture doesn't have it
DENIED: dict[str, tuple[int | None, int | None]] = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "open_tree_attr": (467, 467),
    "setns": (308, 268),
    "unshare": (272, 97),
    "chroot": (161, 51),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "personality": (135, 92),
    "vmsplice": (278, 75),
    "fanotify_init": (300, 262),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "syslog": (103, 116),
    "lookup_dcookie": (212, 18),
    "iopl": (172, None),
    "ioperm": (173, None),
    # memory that RLIMIT_AS doesn't count, and that may outlive its process
    "shmget": (29, 194),
    "shmat": (30, 196),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
}
# denied as well where files are the host's
DENIED_ON_FILES: dict[str, tuple[int | None, int | None]] = {
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "setxattrat": (463, 463),
    "removexattrat": (466, 466),
    "file_setattr": (469, 469),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
}
# allowed on oneself only, where processes are the host's: number, argument that holds the process
ON_SELF: dict[str, tuple[tuple[int | None, int | None], int]] = {
    "prlimit64": ((302, 261), 0),
    "sched_setaffinity": ((203, 122), 0),
    "sched_setparam": ((142, 118), 0),
    "sched_setscheduler": ((144, 119), 0),
    "sched_setattr": ((314, 274), 0),
    "setpriority": ((141, 140), 1),
    "ioprio_set": ((251, 30), 1),
}
CLONE, CLONE3, SOCKET, SOCKETPAIR, IOCTL = (56, 220), (435, 435), (41, 198), (53, 199), (16, 29)
TIOCLINUX = 0x541C
PRLIMIT, SETRLIMIT = (302, 261), (160, 164)

Instruction = tuple[int, int, int, int]


def assembled(machine: str | None = None, *, shared: bool = False, pinned: Sequence[int] = ()) -> bytes:
    """The filter as an array of `struct sock_filter` for that machine (this one, if not given).

    `shared`: processes and files are the host's own. `pinned`: rlimits that may be neither raised nor lowered.
    Raises ValueError for an architecture whose system calls are not known here.

    >>> len(assembled("x86_64")) % 8
    0
    """
    machine = machine or platform.machine()
    if machine not in AUDIT_ARCH:
        raise ValueError(f"no system-call table for {machine}: known are {', '.join(AUDIT_ARCH)}")
    column = list(AUDIT_ARCH).index(machine)
    out: list[Instruction] = [(_LOAD, 0, 0, _ARCH), (_EQUAL, 1, 0, AUDIT_ARCH[machine]), (_RETURN, 0, 0, KILL)]
    out += [(_LOAD, 0, 0, _NUMBER)]
    if machine == "x86_64":
        out += [(_GREATER, 0, 1, X32), _refuse(errno.EPERM)]
    for numbers in (*DENIED.values(), *(DENIED_ON_FILES.values() if shared else ())):
        if (number := numbers[column]) is not None:
            out += [(_EQUAL, 0, 1, number), _refuse(errno.EPERM)]
    out += [(_EQUAL, 0, 1, CLONE3[column]), _refuse(errno.ENOSYS)]
    out += _on_argument(CLONE[column], 0, [(_SET, 0, 1, CLONE_NEW), _refuse(errno.EPERM)])
    if shared:
        out += [(_EQUAL, 0, 1, SOCKET[column]), _refuse(errno.EAFNOSUPPORT)]
    else:
        out += _on_argument(SOCKET[column], 0, [(_EQUAL, 1, 0, AF_UNIX), _refuse(errno.EAFNOSUPPORT)])
    out += _on_argument(SOCKETPAIR[column], 0, [(_EQUAL, 1, 0, AF_UNIX), _refuse(errno.EAFNOSUPPORT)])
    for request in (termios.TIOCSTI, TIOCLINUX):
        out += _on_argument(IOCTL[column], 1, [(_EQUAL, 0, 1, request), _refuse(errno.EPERM)], last=False)
    out += _limits_pinned(column, pinned)
    for numbers, argument in ON_SELF.values() if shared else ():
        if (number := numbers[column]) is not None:
            out += _on_argument(number, argument, [(_EQUAL, 1, 0, 0), _refuse(errno.EPERM)])
    out += [(_RETURN, 0, 0, ALLOW)]
    return b"".join(struct.pack("HBBI", *instruction) for instruction in out)


def _limits_pinned(column: int, pinned: Sequence[int]) -> list[Instruction]:
    """Refuse to set these limits: prlimit64 with a new value (either half of the pointer), and setrlimit."""
    out: list[Instruction] = []
    for limit in pinned:
        new = 16 + 8 * 2
        asked = [
            (_LOAD, 0, 0, new),
            (_EQUAL, 0, 3, 0),
            (_LOAD, 0, 0, new + 4),
            (_EQUAL, 0, 1, 0),
            (_RETURN, 0, 0, ALLOW),
        ]
        refuse = [(_EQUAL, 0, len(asked) + 1, limit), *asked, _refuse(errno.EPERM)]
        out += _on_argument(PRLIMIT[column], 1, refuse, last=False)
        out += _on_argument(SETRLIMIT[column], 0, [(_EQUAL, 0, 1, limit), _refuse(errno.EPERM)], last=False)
    return out


def _refuse(number: int) -> Instruction:
    return (_RETURN, 0, 0, ERRNO | number)


def _on_argument(number: int, argument: int, test: Sequence[Instruction], *, last: bool = True) -> list[Instruction]:
    """Where the call is that number: load the argument, run the test, and allow what it lets through.

    Not `last`: go on with what follows, the number loaded again.
    """
    after = [(_RETURN, 0, 0, ALLOW)] if last else [(_LOAD, 0, 0, _NUMBER)]
    inner = [(_LOAD, 0, 0, _ARGUMENT + 8 * argument), *test, *after]
    return [(_EQUAL, 0, len(inner), number), *inner]
