"""What a step frees is kept for the next one, not given back to the system.

Each step of a training takes and frees the same gigabytes. glibc returns large pieces at once, and
for the next step the kernel has to find and clear each page anew: 4 to 9% of a step on a CPU.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of <malloc.h>
_MOST = 2**30


def keep_freed_memory() -> bool:
    """Whether the C library took it; another one than glibc is left as it is.

    The process stays as large as it once was, and not larger.
    """
    with suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        return bool(mallopt(_MMAP_THRESHOLD, _MOST) and mallopt(_TRIM_THRESHOLD, _MOST))
    return False
