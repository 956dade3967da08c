"""The kernel's accounts of processes and of the machine, as far as a benchmark asks for them."""

from __future__ import annotations

import ctypes
import os
import platform
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_VECTORS = {"avx512f": "AVX-512", "avx2": "AVX2"}


def cpu_seconds(pid: int) -> float:
    """Processor time that a running process has used; 0 when there is none of that number."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # proc_pid_stat(5), fields 14 and 15


def processor() -> str:
    """The processor's name, and the widest vectors that it computes with: they decide how fast BLAKE3 is."""
    lines = (line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines())
    told = {name.strip(): value.strip() for name, _, value in lines}
    flags = told.get("flags", "").split()
    widest = next((shown for flag, shown in _VECTORS.items() if flag in flags), "no AVX2")
    return f"{told.get('model name', platform.machine())} ({widest})"


def adopt_orphans() -> None:
    """Become the parent of whatever a contestant leaves behind, so that its account reaches us (prctl(2))."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
