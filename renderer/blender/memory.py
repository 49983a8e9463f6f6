"""A limit to the memory that one import may take, so that a file that lies brings down its worker, not the machine."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

#: Bytes on top of what the process has. A model of surface.MAX_FACES faces takes about a third of it.
IMPORT_BYTES = 6 << 30


@contextlib.contextmanager
def limited_memory(extra: int = IMPORT_BYTES) -> Iterator[None]:
    """Within the context, asking for more than `extra` further bytes fails (on Linux; elsewhere there is no limit).

    What counts is writable memory (RLIMIT_DATA): address space alone is reserved in plenty by GPU drivers and threads.
    Python then raises MemoryError; Blender may crash, which ends the worker and, the second time, quarantines the
    object.
    """
    try:
        import resource

        status = Path("/proc/self/status").read_text()
    except (ImportError, OSError):
        yield
        return
    used = int(re.search(r"^VmData:\s+(\d+) kB", status, re.MULTILINE)[1]) << 10
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limits = [limit for limit in (used + extra, soft, hard) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min(limits), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
