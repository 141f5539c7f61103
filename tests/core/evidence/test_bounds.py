"""Bounds are those of the score test, and hold together over a search."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ilit.evidence.bounds import drop_upper, error_share, mcnemar_p, tango_upper

Z95 = 1.6448536269514722


@st.composite
def counts(draw: st.DrawFn) -> tuple[int, int, int]:
    """Gained, lost and all units."""
    units = draw(st.integers(2, 3000))
    changed = draw(st.integers(0, min(units, draw(st.sampled_from([3, 60, 3000])))))
    gained = draw(st.integers(0, changed))
    return gained, changed - gained, units


# --- Tango's bound ---------------------------------------------------------------------------------------------------


def slow_tango(gained: int, lost: int, units: int) -> float:
    """The 95 % bound by brute force: the likelihood is maximised by search, not by its closed form."""

    def log_likelihood(share: float, difference: float) -> float:
        cells = ((lost, share + difference), (gained, share), (units - gained - lost, 1 - 2 * share - difference))
        return sum(count * math.log(max(p, 1e-300)) for count, p in cells if count)

    def statistic(difference: float) -> float:
        low, high = max(0.0, -difference), (1 - difference) / 2
        for _ in range(200):  # ternary search: the log-likelihood is concave
            third = (high - low) / 3
            if log_likelihood(low + third, difference) < log_likelihood(high - third, difference):
                low += third
            else:
                high -= third
        share = (low + high) / 2
        return (units * difference - lost + gained) / math.sqrt(units * (2 * share + difference - difference**2))

    low, high = (lost - gained) / units, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if statistic(middle) < Z95 else (low, middle)
    return low


SEEN = [(12, 15, 1725), (2, 12, 50), (12, 2, 50), (0, 3, 277), (3, 0, 277), (1, 1, 10), (40, 60, 872), (4, 6, 10)]


@pytest.mark.parametrize("seen", SEEN, ids="{0[0]} gained, {0[1]} lost of {0[2]}".format)
def test_the_closed_form_is_the_score_test_inverted(seen: tuple[int, int, int]) -> None:
    """The bound is where a score test with a numerically maximised likelihood turns over."""
    assert tango_upper(*seen, 0.95) == pytest.approx(slow_tango(*seen), abs=1e-6)


EXTREMES = {
    "nothing changed": ((0, 0, 300), Z95**2 / (300 + Z95**2)),
    "one unit, unchanged": ((0, 0, 1), Z95**2 / (1 + Z95**2)),
    "all lost": ((0, 30, 30), 1.0),
    "all gained": ((30, 0, 30), (Z95**2 - 30) / (Z95**2 + 30)),
    "all changed, half each": ((15, 15, 30), Z95 / math.sqrt(30 + Z95**2)),  # a sign test's Wilson interval
}


@pytest.mark.parametrize("name", EXTREMES)
def test_the_extremes_are_exact(name: str) -> None:
    """Where the closed form degenerates the bound is what the algebra gives."""
    seen, wanted = EXTREMES[name]
    assert tango_upper(*seen, 0.95) == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("bound", [tango_upper, drop_upper])
@given(seen=counts())
def test_bounds_are_monotone(bound: Any, seen: tuple[int, int, int]) -> None:
    """More lost, fewer gained units or more confidence raise the bound; it lies between the drop seen and 1."""
    gained, lost, units = seen
    found = bound(gained, lost, units, 0.95)
    assert (lost - gained) / units <= found <= 1
    assert bound(gained, lost, units, 0.99) >= found
    if gained + lost < units:
        assert bound(gained, lost + 1, units, 0.95) >= found
        assert bound(gained + 1, lost, units, 0.95) <= found


def error_rate(units: int, lost: int, confidence: float) -> float:
    """How often the bound lies below the truth where a share of lost / units is lost and none is gained; exact."""
    p = lost / units
    chances = ((math.comb(units, k) * p**k * (1 - p) ** (units - k), k) for k in range(lost + 1))
    return sum(chance for chance, k in chances if drop_upper(0, k, units, confidence) < p)


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.975])
def test_where_units_are_only_lost_the_error_rate_is_as_stated(confidence: float) -> None:
    """Tango's bound alone would err in 6.2 % of the cases with 277 units; the one used errs no more than it says."""
    assert max(error_rate(277, lost, confidence) for lost in range(1, 15)) <= 1 - confidence + 1e-9


REFUSED = {
    "no units": ((0, 0, 0, 0.95), "0 gained and 0 lost units of 0 cannot be"),
    "negative": ((-1, 0, 9, 0.95), "-1 gained"),
    "more than all": ((5, 5, 9, 0.95), "5 gained and 5 lost units of 9 cannot be"),
    "certainty": ((1, 1, 9, 1.0), "confidence 1.0 is not between 0.5 and 1"),
    "percent": ((1, 1, 9, 95), "confidence 95 is not between 0.5 and 1"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_impossible_counts_are_refused(name: str) -> None:
    """A caller's slip gives no number."""
    given_values, text = REFUSED[name]
    with pytest.raises(ValueError, match=text):
        tango_upper(*given_values)


# --- McNemar's p, and comparisons ------------------------------------------------------------------------------------


@given(gained=st.integers(0, 40), lost=st.integers(0, 40))
def test_mcnemar_is_exact(gained: int, lost: int) -> None:
    """The p is the binomial sum in whole numbers, symmetric, and 1 where nothing speaks for either side."""
    n, least = gained + lost, min(gained, lost)
    whole = min(1.0, 2 * sum(math.comb(n, k) for k in range(least + 1)) / 2**n)
    assert mcnemar_p(gained, lost) == pytest.approx(whole, rel=1e-12)
    assert mcnemar_p(lost, gained) == mcnemar_p(gained, lost)


def test_mcnemar_of_thousands() -> None:
    """Neither overflow nor underflow; checked against whole numbers of any size."""
    wanted = 2 * sum(math.comb(9000, k) for k in range(4401)) / 2**9000
    assert mcnemar_p(4400, 4600) == pytest.approx(wanted, rel=1e-9)
    assert mcnemar_p(0, 20_000) == 0.0
    assert mcnemar_p(7, 7) == 1.0


def test_shares_of_the_error_sum_to_one() -> None:
    """However many recipes are evaluated, their bounds spend no more than the error allowed."""
    shares = [error_share(comparisons) for comparisons in range(1, 10_001)]
    assert shares == sorted(shares, reverse=True)
    assert 1 - 1e-3 < math.fsum(shares) < 1
    with pytest.raises(ValueError, match="so it is 1 or more, not 0"):
        error_share(0)
