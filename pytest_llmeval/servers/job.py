"""Windows' job objects: everything that a process of ours starts ends with it.

Loaded by path, like the guard that needs it (`guard.py`), so it knows the standard library only.
"""

from __future__ import annotations

import sys
from typing import Any


def enclose_in_job() -> str:
    """Put this process, and so all it will start, into a job that ends with it; Windows only.

    Nobody closes the handle of the job but the system, as this process ends: it is the last one,
    and everything in the job ends with it. A failure is a line for the log, given back, and no
    reason to give up: the owner still ends the tree by pid.
    """
    if sys.platform != "win32":
        return ""
    import ctypes
    from ctypes import wintypes

    kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel.CreateJobObjectW.restype = wintypes.HANDLE
    kernel.GetCurrentProcess.restype = wintypes.HANDLE
    job = wintypes.HANDLE(kernel.CreateJobObjectW(None, None))
    limits = job_limits()
    extended_limit_information = 9  # JobObjectExtendedLimitInformation of <winnt.h>
    enclosed = kernel.SetInformationJobObject(
        job, extended_limit_information, ctypes.byref(limits), ctypes.sizeof(limits)
    ) and kernel.AssignProcessToJobObject(job, wintypes.HANDLE(kernel.GetCurrentProcess()))
    return "" if enclosed else f"guard: no job object, error {ctypes.get_last_error()}\n"


def job_limits() -> Any:
    """A JOBOBJECT_EXTENDED_LIMIT_INFORMATION whose one limit is to end with its last handle."""
    import ctypes

    class BasicLimits(ctypes.Structure):
        _fields_ = (
            ("PerProcessUserTimeLimit", ctypes.c_int64),
            ("PerJobUserTimeLimit", ctypes.c_int64),
            ("LimitFlags", ctypes.c_uint32),
            ("MinimumWorkingSetSize", ctypes.c_size_t),
            ("MaximumWorkingSetSize", ctypes.c_size_t),
            ("ActiveProcessLimit", ctypes.c_uint32),
            ("Affinity", ctypes.c_size_t),
            ("PriorityClass", ctypes.c_uint32),
            ("SchedulingClass", ctypes.c_uint32),
        )

    class ExtendedLimits(ctypes.Structure):
        _fields_ = (
            ("BasicLimitInformation", BasicLimits),
            ("IoInfo", ctypes.c_uint64 * 6),
            ("ProcessMemoryLimit", ctypes.c_size_t),
            ("JobMemoryLimit", ctypes.c_size_t),
            ("PeakProcessMemoryUsed", ctypes.c_size_t),
            ("PeakJobMemoryUsed", ctypes.c_size_t),
        )

    kill_on_job_close = 0x2000  # JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
    return ExtendedLimits(BasicLimits(LimitFlags=kill_on_job_close))
