"""The processor: its name, what NumPy had better not use of it, and this process's memory."""

import os
import platform
from pathlib import Path

_INFO, _STATUS = Path("/proc/cpuinfo"), Path("/proc/self/status")


def processor() -> str:
    """Return the processor's name, family and number of cores, as far as the system tells.

    A virtual machine's name may hide which one it is; family and model do not.

    >>> processor().endswith(" cores")
    True
    """
    name = platform.processor() or platform.machine()
    if _INFO.exists():
        name = named(_INFO.read_text()) or name
    return f"{name}, {os.cpu_count()} cores"


def named(info: str) -> str:
    """Return what Linux calls the first core; empty where it does not say.

    >>> named("cpu family\\t: 25\\nmodel\\t\\t: 17\\nmodel name\\t: AMD EPYC\\n")
    'AMD EPYC (family 25, model 17)'
    >>> named("processor\\t: 0\\nBogoMIPS\\t: 50.00\\n")
    ''
    """
    told = _fields(info.partition("\n\n")[0])
    if "model name" not in told:
        return ""
    kind = {"family": told.get("cpu family"), "model": told.get("model")}
    said = ", ".join(f"{key} {value}" for key, value in kind.items() if value)
    return told["model name"] + (f" ({said})" if said else "")


def keep_to_itself() -> None:
    """Let ONNX Runtime, imported later, send nothing to its makers.

    From 1.29 on its builds for Linux and macOS do so unless this variable is set beforehand: the
    program's path, the processor, names and hashes of models. Set to an empty value, it stays so.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def sort_quickly() -> None:
    """Have NumPy sort by AVX2 where AVX-512 takes five times as long; before NumPy is imported.

    Sorting is most of what pixel metrics take. A value that the variable has already stays.

    Source: numpy/x86-simd-sort issue 6, of AMD's Zen 4.
    """
    if _INFO.exists():
        with _INFO.open() as file:
            of_first_core = file.read(4096)
        if is_zen4(of_first_core):
            os.environ.setdefault("NPY_DISABLE_CPU_FEATURES", "X86_V4")


def rest_when_idle() -> None:
    """Have OpenBLAS's threads sleep soon after they have nothing to do; before NumPy is imported.

    By default they go on spinning for 2^26 cycles, some 20 ms, and take that time from whatever
    else runs: judging an image took twice its processor time. 2^16 are some 20 us. A value that is
    there stays.

    Source: OpenBLAS, USAGE.md, OPENBLAS_THREAD_TIMEOUT (the exponent, 4 to 30).
    """
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "16")


def is_zen4(info: str) -> bool:
    """Return whether Linux describes a Zen 4: of its family, that alone knows AVX-512.

    >>> zen3 = "vendor_id\\t: AuthenticAMD\\ncpu family\\t: 25\\nflags\\t\\t: sse4_2 avx2\\n"
    >>> is_zen4(zen3), is_zen4(zen3.replace("avx2", "avx2 avx512f"))
    (False, True)
    """
    told = _fields(info)
    is_family = told.get("vendor_id") == "AuthenticAMD" and told.get("cpu family") == "25"
    return is_family and "avx512f" in told.get("flags", "").split()


def _fields(info: str) -> dict[str, str]:
    lines = (line.partition(":") for line in info.splitlines())
    return {name.strip(): value.strip() for name, _, value in lines}


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
