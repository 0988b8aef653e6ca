"""The C library's allocator, told to keep large blocks instead of returning each to the system.

A training step frees and allocates the same maps over and over. By default glibc maps and unmaps each of them, and the
system clears every page again: on a CPU that costs a head up to ten times its own time.
"""

from __future__ import annotations

import ctypes
import os
import sys

# Read by glibc before a process begins; other C libraries ignore them.
ENVIRONMENT = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**34)}
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of <malloc.h>
_BLOCK = 2**26


def tune() -> bool:
    """Let this process keep large blocks from now on, as `ENVIRONMENT` does from its begin.

    What the user has set in the environment stays. It costs nothing to call again, and where the C library has no
    such setting nothing happens.

    Returns:
        whether it could be set, or the user had.
    """
    if not sys.platform.startswith("linux"):
        return False
    if any(name in os.environ for name in ENVIRONMENT):
        return True
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, -1))


def keeps_large_blocks() -> bool | None:
    """Say whether a large block that was freed is handed out again without page faults; None if it cannot be seen."""
    try:
        import resource
    except ImportError:
        return None
    ctypes.memset(ctypes.create_string_buffer(_BLOCK), 1, _BLOCK)  # the first one may be new
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    ctypes.memset(ctypes.create_string_buffer(_BLOCK), 1, _BLOCK)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    return faults < _BLOCK // resource.getpagesize() // 2
