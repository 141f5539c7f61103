"""Packs are made once for a weight as it is, and the cache stays within its bound."""

from __future__ import annotations

import torch

from ilit.recipe import QuantSpec
from ilit_pytorch.lowering.packs import Pack, PackCache

SPEC = QuantSpec()


class Maker:
    """Makes packs of 100 bytes and counts them."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self) -> Pack:
        self.made += 1
        return Pack(torch.zeros(100, dtype=torch.int8), torch.ones(1))


def test_a_pack_is_made_once_for_each_key() -> None:
    """Asking again gives the same object; another strength is another pack."""
    cache, make, weight = PackCache(1000), Maker(), torch.zeros(3)
    first = cache.get(("op", SPEC, 0.0, "1 rows"), weight, make)
    assert cache.get(("op", SPEC, 0.0, "1 rows"), weight, make) is first
    assert cache.get(("op", SPEC, 0.5, "1 rows"), weight, make) is not first
    assert make.made == 2


def test_a_written_or_another_weight_is_packed_anew() -> None:
    """A pack stands for one tensor as it was, never for what the owner made of it since."""
    cache, make, weight = PackCache(1000), Maker(), torch.zeros(3)
    key = ("op", SPEC, 0.0, "")
    cache.get(key, weight, make)
    weight.add_(1)
    cache.get(key, weight, make)
    cache.get(key, weight.clone(), make)
    assert make.made == 3


def test_the_bound_is_kept_and_the_oldest_goes_first() -> None:
    """Of 100-byte packs a cache of 300 bytes holds three, those asked for last."""
    cache, make, weight = PackCache(300), Maker(), torch.zeros(3)
    for name in ("a", "b", "c", "a", "d"):
        cache.get((name, SPEC, 0.0, ""), weight, make)
        assert cache.bytes <= 300
    assert [key[0] for key in cache.entries] == ["c", "a", "d"]


def test_tensors_without_a_count_of_writes_are_not_kept() -> None:
    """Nothing tells whether an inference tensor was written, so it is packed each time."""
    cache, make = PackCache(1000), Maker()
    with torch.inference_mode():
        weight = torch.zeros(3)
    for _ in range(2):
        cache.get(("op", SPEC, 0.0, ""), weight, make)
    assert (make.made, cache.bytes) == (2, 0)
