"""Strategy ``random``: recipes drawn evenly from the whole space, none twice."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Iterator
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from ilit.space import SearchSpace
from ilit.strategy import Baseline, Requests, Trial
from ilit_strategies.enumeration import is_float_model, recipe_at, worth_trying

ROUNDS = 10  # Black and Rogaway prove 3; more rounds even out domains of a few dozen, and cost microseconds


class RandomOptions(BaseModel):
    """``random`` has no options; ``tuning.random_seed`` seeds it, ``tuning.max_trials`` limits it."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Random:
    """Try recipes in a seeded random order without repeats, one evaluation each, until all are tried.

    Evaluations at worst: all of ``space.size()`` less the all-float recipes; no probes. The order is a permutation of
    the recipe numbers that is computed number by number (``shuffled``), so nothing is remembered to avoid repeats and
    memory stays flat for any size of space.
    """

    name: ClassVar[str] = "random"
    Options: ClassVar[type[BaseModel]] = RandomOptions

    def __init__(self, options: RandomOptions) -> None:
        self.options = options

    def search(self, space: SearchSpace, baseline: Baseline, rng: random.Random) -> Requests:  # noqa: ARG002 - protocol
        """Yield one ``Trial`` per recipe in random order, whatever the outcomes."""
        total = worth_trying(space)
        done = 0
        for number in shuffled(space.size() if total else 0, rng.randbytes(16)):
            recipe = recipe_at(space, number)
            if not is_float_model(recipe):
                done += 1
                yield Trial(recipe, f"random recipe {done} of {total}")


def shuffled(size: int, key: bytes) -> Iterator[int]:
    """Yield each of 0..``size - 1`` once, in an order that ``key`` decides, holding none of them.

    A Feistel network is a bijection whatever its round function. This one works on pairs of Z_a x Z_b with
    a = ceil(sqrt(size)) and b = ceil(size / a), and a result of ``size`` or more is sent through again until it
    falls inside ("cycle walking"): J. Black, P. Rogaway, Ciphers with Arbitrary Finite Domains, CT-RSA 2002.
    a * b exceeds ``size`` by less than a, so walking is rare.
    """
    if size <= 0:
        return
    a = math.isqrt(size - 1) + 1
    b = -(-size // a)
    for start in range(size):  # counts beyond 64 bits too, holding nothing
        number = _permuted(start, a, b, key)
        while number >= size:
            number = _permuted(number, a, b, key)
        yield number


def _permuted(number: int, a: int, b: int, key: bytes) -> int:
    """Return the image of ``number`` in 0..``a * b - 1`` under the Feistel network that ``key`` gives."""
    left, right = number % a, number // a
    for turn in range(ROUNDS):
        left, right = right, (left + _hashed(right, turn, key, a)) % a
        a, b = b, a
    return right * a + left


def _hashed(value: int, turn: int, key: bytes, modulus: int) -> int:
    """Return a number that looks random, 64 bits wider than ``modulus`` so that reducing it is all but even."""
    width = (value.bit_length() + 7) // 8
    text = key + turn.to_bytes(2, "big") + value.to_bytes(width, "big")
    return int.from_bytes(hashlib.shake_256(text).digest((modulus.bit_length() + 7) // 8 + 8), "big")
