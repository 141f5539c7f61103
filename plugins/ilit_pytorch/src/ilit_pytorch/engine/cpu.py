"""Which CPU this is, and whether its INT8 arithmetic saturates. Two classes, found by flags and by experiment.

``V``: u8 x s8 products are summed exactly (AVX512-VNNI, AVX-VNNI, AMX).
``A``: AVX2 or AVX512 without VNNI. Pairs of products are summed in 16 bits, which saturate in silence.

What counts is the code that runs, not the silicon: oneDNN obeys ``ONEDNN_MAX_CPU_ISA``, and on a CPU with AVX-VNNI
oneDNN is exact while FBGEMM is not. So each library is asked to multiply numbers that saturate 16 bits.
"""

from __future__ import annotations

import functools
import os
import platform
import re
from pathlib import Path

import torch

from ilit.adapter import Cpu
from ilit_pytorch.engine.deprecation import silence_deprecation

INT16_MAX = 32767


def is_safe(max_activation_code: int, max_weight_code: int) -> bool:
    """Return whether no pair of u8 x s8 products can leave 16 bits on a CPU of class A.

    ``max_activation_code`` is the largest uint8 code that can occur, not the largest seen in calibration: what is
    clamped at 255 can reach 255. (A kernel for int8 activations shifts them by 128, so there it counts 128 more.)

    >>> is_safe(255, 63), is_safe(127, 127), is_safe(255, 127), is_safe(254, 127)
    (True, True, False, False)
    """
    return max_activation_code * max_weight_code * 2 <= INT16_MAX


@functools.cache
def onednn_saturates() -> bool:
    """Return whether oneDNN's INT8 linear kernel saturates here, by experiment."""
    weight = torch.full((32, 64), 127, dtype=torch.int8)  # (out, in)
    codes = torch.full((32, 64), 255, dtype=torch.uint8)  # (rows, in)
    ones, zeros = torch.ones(32), torch.zeros(32, dtype=torch.int64)
    packed = torch.ops.onednn.qlinear_prepack(weight, None)
    total = torch.ops.onednn.qlinear_pointwise(
        codes, 1.0, 0, packed, ones, zeros, None, 1.0, 0, torch.float32, "none", [], ""
    )  # (rows, out)
    return bool(total.ne(255 * 127 * 64).any())


@functools.cache
def torch_quantized_saturates() -> bool:
    """Return whether the kernels behind ``torch.ao.nn.quantized`` saturate here, by experiment."""
    silence_deprecation()
    scales, zeros = torch.ones(32, dtype=torch.float64), torch.zeros(32, dtype=torch.int64)
    weight = torch._make_per_channel_quantized_tensor(  # noqa: SLF001 - the one way from plain codes
        torch.full((32, 64), 127, dtype=torch.int8), scales, zeros, 0
    )
    packed = torch.ops.quantized.linear_prepack(weight, None)
    codes = torch._make_per_tensor_quantized_tensor(  # noqa: SLF001 - the one way from plain codes
        torch.full((32, 64), 255, dtype=torch.uint8), 1.0, 0
    )
    total = torch.ops.quantized.linear(codes, packed, 255.0 * 127 * 64 / 200, 0).int_repr()
    return bool(total.ne(200).any())


def int8_class() -> str:
    """Return ``V`` where every INT8 kernel is exact, else ``A``."""
    return "A" if onednn_saturates() or torch_quantized_saturates() else "V"


def has_bfloat16() -> bool:
    """Return whether bfloat16 products run at full speed here: AVX512-BF16 or AMX, as far as the environment allows."""
    flags = cpu_flags()
    limited = isa() not in ("avx512_vnni", "amx_int8") and not isa().startswith(("avx512_core_bf16", "avx512_core_amx"))
    return bool(flags & {"avx512_bf16", "amx_bf16"}) and not limited


def cpu_flags() -> frozenset[str]:
    """Return the kernel's list of CPU flags, empty where it gives none."""
    return frozenset(_proc_cpuinfo("flags").split())


def isa() -> str:
    """Return the widest instruction set that INT8 kernels may use, the environment's limits included."""
    flags = cpu_flags()
    capability = torch.backends.cpu.get_cpu_capability().lower()
    limit = (os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or "").lower()
    if limit and limit not in ("all", "default"):
        return limit
    if "amx_int8" in flags:
        return "amx_int8"
    if "avx512_vnni" in flags:
        return "avx512_vnni"
    if "avx_vnni" in flags:
        return "avx2_vnni"
    return capability


def describe() -> Cpu:
    """Return the CPU as the run's header and the artefact name it."""
    model = _proc_cpuinfo("model name") or platform.processor() or platform.machine()
    return Cpu(model=model, isa=isa(), int8_class=int8_class(), threads=torch.get_num_threads())


@functools.cache
def _proc_cpuinfo(key: str) -> str:
    file = Path("/proc/cpuinfo")
    text = file.read_text() if file.exists() else ""
    found = re.search(rf"^{re.escape(key)}\s*:\s*(.*)$", text, flags=re.MULTILINE)
    return found[1].strip() if found else ""
