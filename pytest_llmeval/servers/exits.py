"""What an exit code means, in words (pure)."""

from __future__ import annotations

import signal

_SIGNALS = {
    "SIGKILL": "killed, by hand or by the system for want of memory",
    "SIGTERM": "asked to end",
    "SIGINT": "interrupted",
    "SIGSEGV": "crashed: it touched memory that is not its own",
    "SIGBUS": "crashed: a file it had mapped became shorter, or the disk failed",
    "SIGABRT": "gave up: its log says why",
    "SIGILL": "crashed: it was built for a CPU with more instructions than this one",
    "SIGFPE": "crashed: a division by zero",
}

_NT_STATUS = {
    0xC0000005: "access violation: it touched memory that is not its own",
    0xC0000017: "not enough memory",
    0xC000001D: "illegal instruction: it was built for a CPU with more instructions than this one",
    0xC00000FD: "stack overflow",
    0xC000012D: "not enough memory: the page file is full",
    0xC0000135: "a DLL that it needs was not found",
    0xC0000139: "a DLL that it needs is of another version",
    0xC000013A: "ended by Ctrl-C or Ctrl-Break",
    0xC0000142: "a DLL that it needs failed to start",
    0xC0000374: "heap corruption",
    0xC0000409: "stack buffer overrun, or it gave up: its log says why",
}


def describe_exit(code: int) -> str:
    """Say what an exit code of `subprocess` means, for instance `SIGKILL (killed, by hand …)`.

    POSIX reports death by a signal as a negative number; Windows reports an NTSTATUS as an unsigned
    one, of which errors start at 0xC0000000.
    """
    if code < 0:
        name = _signal_name(-code)
        meaning = _SIGNALS.get(name)
        return f"{name} ({meaning})" if meaning else name
    if code >= 0x80000000:
        meaning = _NT_STATUS.get(code)
        return f"exit code 0x{code:08X}" + (f" ({meaning})" if meaning else "")
    return f"exit code {code}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
