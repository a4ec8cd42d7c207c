"""The processor: its name, what NumPy had better not use of it, and this process's memory."""

import os
import platform
from pathlib import Path

_INFO, _STATUS = Path("/proc/cpuinfo"), Path("/proc/self/status")


def processor() -> str:
    """Return the processor's name and number of cores, as far as the system tells.

    >>> processor().endswith(" cores")
    True
    """
    name = platform.processor() or platform.machine()
    if _INFO.exists():
        lines = [x for x in _INFO.read_text().splitlines() if x.startswith("model name")]
        name = lines[0].split(":", 1)[1].strip() if lines else name
    return f"{name}, {os.cpu_count()} cores"


def sort_quickly() -> None:
    """Have NumPy sort by AVX2 where AVX-512 takes five times as long; before NumPy is imported.

    Sorting is most of what pixel figures take. A value that the variable has already stays.

    Source: numpy/x86-simd-sort issue 6, of AMD's Zen 4.
    """
    if _INFO.exists():
        with _INFO.open() as file:
            of_first_core = file.read(4096)
        if is_zen4(of_first_core):
            os.environ.setdefault("NPY_DISABLE_CPU_FEATURES", "X86_V4")


def is_zen4(info: str) -> bool:
    """Return whether Linux describes a Zen 4: of its family, that alone knows AVX-512.

    >>> zen3 = "vendor_id\\t: AuthenticAMD\\ncpu family\\t: 25\\nflags\\t\\t: sse4_2 avx2\\n"
    >>> is_zen4(zen3), is_zen4(zen3.replace("avx2", "avx2 avx512f"))
    (False, True)
    """
    lines = (line.partition(":") for line in info.splitlines())
    told = {name.strip(): value.split() for name, _, value in lines}
    is_family = told.get("vendor_id") == ["AuthenticAMD"] and told.get("cpu family") == ["25"]
    return is_family and "avx512f" in told.get("flags", [])


def memory_bytes(line: str) -> float:
    """Return a line of this process's status, e.g. VmRSS (now) or VmHWM (at most); nan off Linux.

    >>> memory_bytes("VmHWM") < memory_bytes("VmRSS")
    False

    Source: Linux, Documentation/filesystems/proc.rst. `ru_maxrss` would begin where the process
    that started this one was.
    """
    if not _STATUS.exists():
        return float("nan")
    kibibytes = next(x for x in _STATUS.read_text().splitlines() if x.startswith(f"{line}:"))
    return float(kibibytes.split()[1]) * 1024
