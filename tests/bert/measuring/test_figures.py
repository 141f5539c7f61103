"""The JSON of a benchmark: always the same keys, in the units that they name."""

from __future__ import annotations

import pytest

from ilit.adapter import Cpu
from ilit_bert.measuring.figures import Benchmark, Case, case_to_json, to_json
from ilit_bert.measuring.fresh_load import LoadCost

CPU = Cpu("a CPU", "avx2", "A", 2)


def found(cases=(), **changes):
    """Return a benchmark of float32 alone, with changes."""
    plain = {"int8": None, "sizes": {"fp32": 8}, "files": {}, "loads": {}, "int8_kernels": None, "notes": ()}
    return Benchmark(model="m", cases=cases, cpu=CPU, versions={"torch": "2"}, **(plain | changes))


def test_a_case_has_latency_and_throughput():
    """Milliseconds a batch, rows and tokens a second, and the ratios of whatever ran."""
    told = case_to_json(Case(4, 16, {"fp32": [0.02] * 3, "int8": [0.01] * 3, "dynamic": [0.016] * 3}))
    assert (told["latency_fp32_ms"], told["latency_int8_ms"], told["deviation_int8_ms"]) == (20.0, 10.0, 0.0)
    assert (told["rows_per_second_int8"], told["tokens_per_second_int8"]) == pytest.approx((400, 6400))
    assert (told["speedup"], told["speedup_quartiles"]) == (2.0, [2.0, 2.0])
    assert (told["speedup_dynamic"], told["speedup_over_dynamic"]) == pytest.approx((1.25, 1.6))
    assert (told["batch_size"], told["seq_length"], told["repeats"], told["busy"]) == (4, 16, 3, False)


def test_what_did_not_run_is_none():
    """No key comes or goes."""
    alone = case_to_json(Case(4, 16, {"fp32": [0.02]}))
    both = case_to_json(Case(4, 16, {"fp32": [0.02], "int8": [0.01], "dynamic": [0.01]}))
    assert list(alone) == list(both)
    assert {alone[key] for key in alone if "int8" in key or "dynamic" in key or "speedup" in key} == {None}


def test_costs_are_named_as_in_a_runs_summary():
    """``size_fp32_bytes`` and its kin; memory and load time are None where they were not measured."""
    loads = {"fp32": LoadCost(0.5, 40, 60), "int8": LoadCost(0.25, 10, 20)}
    measured = to_json(found(int8="t", sizes={"fp32": 8, "int8": 2}, loads=loads, int8_kernels=3))
    assert (measured["size_fp32_bytes"], measured["size_int8_bytes"], measured["int8_kernels"]) == (8, 2, 3)
    assert (measured["memory_int8_bytes"], measured["memory_peak_fp32_bytes"]) == (10, 60)
    assert (measured["load_fp32_seconds"], measured["load_int8_seconds"]) == (0.5, 0.25)
    assert (measured["threads"], measured["cpu"]["int8_class"], measured["versions"]) == (2, "A", {"torch": "2"})
    alone = to_json(found())
    assert list(alone) == list(measured)
    assert (alone["size_int8_bytes"], alone["memory_fp32_bytes"], alone["load_int8_seconds"]) == (None, None, None)
