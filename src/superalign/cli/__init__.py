"""The command line: `superalign VERB [OPTIONS]`, one thin file a verb. Heavy rooms load in the verb that needs them."""

from __future__ import annotations

import errno
import os
import select
import sys

from superalign.evidence import SuperalignError


def main(arguments: list[str] | None = None) -> None:
    """Run one verb. Every foreseen failure is one sentence on stderr and a non-zero exit.

    Where whoever reads its output has read enough, as `head` does, it ends without a word and with UNREAD.
    """
    try:
        _run(arguments)
    except BrokenPipeError:
        if not _unread():
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # takes what is left
        sys.exit(UNREAD)


def _unread() -> bool:
    """Is it the output that nobody reads? Another pipe may break as well, and that is no quiet end."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return bool(poll.poll(0))


def _run(arguments: list[str] | None) -> None:
    import tyro

    from superalign.cli import (
        doctor,
        family,
        finetune,
        generalize,
        inspect,
        interpret,
        oversight,
        run,
        stress,
        tasks,
        train,
        validate,
        verify,
        view,
    )

    jobs = (run, train, validate, stress, oversight, generalize, finetune, interpret)
    modules = (*jobs, verify, view, doctor, tasks, family, inspect)
    verbs = {module.__name__.rpartition(".")[2]: module.main for module in modules}
    try:
        try:
            tyro.extras.subcommand_cli_from_dict(verbs, prog="superalign", description=DESCRIPTION, args=arguments)
        finally:
            sys.stdout.flush()  # what can't be written is met here, and not when the interpreter ends
    except SuperalignError as error:
        from superalign.evidence.visible import visible  # the message may quote a stranger's text

        sys.exit(f"superalign: {visible(error)}")
    except KeyboardInterrupt:
        print("superalign: stopped; what was finished is kept, run the same command again to go on", file=sys.stderr)
        sys.exit(130)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        sys.exit(f"superalign: the disk is full at {error.filename or 'the workspace'}: make room, then run again")


UNREAD = 141
"""What a shell calls the end of a program whose output is not read to its end: 128 and SIGPIPE."""
DESCRIPTION = (
    "How well do we know how aligned a model is? Train on weak oversight, validate apart from it, stress-test."
)
