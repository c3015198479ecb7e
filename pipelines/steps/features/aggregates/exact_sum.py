"""Sums and squares of any finite numbers without an error: binary digits of one place are summed as integers.

Each number is split into digits of a fixed width at places common to all (as in Kulisch's accumulator, with only the
places that occur). A place's digits are summed as 64-bit integers, so no order of summation and no difference of two
sums loses anything; the one rounding is that of the result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.steps.features.aggregates.timeline import Flags, Integers

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[Any]
"""Int64 or Float64."""
DIGIT = 24
"""Bits of a digit in a result: products of two, and sums of many of them, stay exact in 64 bits."""
MASK = (1 << DIGIT) - 1
NARROW, WIDE = DIGIT, 2 * DIGIT
MAX_SUM = 1 << 62
DIGITS_OF_A_DOUBLE = 32
"""So many digits are within the range of a double."""
MANTISSA_BITS = 53


@dataclass(frozen=True)
class Digits:
    """One number per event: the sum over ``j`` of ``places[j] * 2 ** (lowest + j * width)``."""

    places: list[Integers]
    lowest: int
    width: int

    def select(self, keep: Flags | None) -> Digits:
        """Those of these events; None: of all."""
        return self if keep is None else Digits([place[keep] for place in self.places], self.lowest, self.width)


def digits_of(values: Numbers, present: Flags, most: int) -> Digits:
    """The values; zero where none is present. At most ``most`` of them will be summed."""
    if values.dtype == np.int64 and _largest(values, present) * max(most, 1) < MAX_SUM:
        return Digits([np.where(present, values, 0).astype(np.int64)], 0, WIDE)
    magnitude, exponent, negative = _parts(values, present)
    return _split([(magnitude, exponent)], negative, _lowest(magnitude, exponent), most)


def squares_of(values: Numbers, present: Flags, most: int, lowest: int) -> Digits:
    """The squares of the values. ``lowest``: that of the values' own digits; the squares' is twice as deep."""
    if values.dtype == np.int64 and lowest == 0 and _largest(values, present) ** 2 * max(most, 1) < MAX_SUM:
        present_values = np.where(present, values, 0).astype(np.int64)
        return Digits([present_values * present_values], 0, WIDE)
    magnitude, exponent, _ = _parts(values, present)
    high, low = magnitude >> np.uint64(32), magnitude & np.uint64(0xFFFFFFFF)
    terms = [(low * low, 2 * exponent), (high * low, 2 * exponent + 33), (high * high, 2 * exponent + 64)]
    return _split(terms, None, 2 * lowest, most)


def _largest(values: Numbers, present: Flags) -> int:
    present_values = values[present]
    return max(abs(int(present_values.min())), abs(int(present_values.max()))) if len(present_values) else 0


def _parts(values: Numbers, present: Flags) -> tuple[npt.NDArray[np.uint64], Integers, Flags]:
    """Magnitude, exponent and sign: ``value = ± magnitude * 2 ** exponent``."""
    negative = (values < 0) & present
    if values.dtype == np.int64:
        magnitude = np.where(negative, -values, values).astype(np.uint64)  # -2**63 is its own negative: 2**63 unsigned
        return np.where(present, magnitude, 0).astype(np.uint64), np.zeros(len(values), dtype=np.int64), negative
    mantissa, exponent = np.frexp(np.abs(np.where(present, values, 0.0)))
    magnitude = np.ldexp(mantissa, MANTISSA_BITS).astype(np.uint64)
    return magnitude, exponent.astype(np.int64) - MANTISSA_BITS, negative


def _lowest(magnitude: npt.NDArray[np.uint64], exponent: Integers) -> int:
    """The lowest place with a bit that is not zero, rounded down to a whole digit."""
    nonzero = magnitude != 0
    if not nonzero.any():
        return 0
    lowest_bit = magnitude[nonzero] & (~magnitude[nonzero] + np.uint64(1))
    zeros = np.frexp(lowest_bit.astype(np.float64))[1].astype(np.int64) - 1
    return int((exponent[nonzero] + zeros).min()) // DIGIT * DIGIT


def _split(
    terms: list[tuple[npt.NDArray[np.uint64], Integers]], negative: Flags | None, lowest: int, most: int
) -> Digits:
    """Digits of the sum of the terms. No sum of ``most`` of them leaves 64 bits."""
    width = WIDE if most < 1 << (61 - WIDE) else NARROW
    highest = max((int(exponent[size != 0].max()) if size.any() else lowest) for size, exponent in terms) + 64
    mask = np.uint64((1 << width) - 1)
    places = []
    for place in range(lowest, highest, width):
        total = np.zeros(len(terms[0][0]), dtype=np.int64)
        for magnitude, exponent in terms:
            shift = exponent - place
            left = np.where(shift < 64, magnitude << np.clip(shift, 0, 63).astype(np.uint64), 0)
            right = np.where(shift > -64, magnitude >> np.clip(-shift, 0, 63).astype(np.uint64), 0)
            total += (np.where(shift >= 0, left, right).astype(np.uint64) & mask).astype(np.int64)
        places.append(total if negative is None else np.where(negative, -total, total))
    while len(places) > 1 and not places[-1].any():
        places.pop()
    return Digits(places, lowest, width)


def carried(sums: list[Integers], width: int) -> list[Integers]:
    """Sums of places ``width`` bits apart as digits in ``[0, 2**24)``, the lowest first; the top one is signed."""
    digits: list[Integers] = []
    carry: Integers = np.zeros_like(sums[0])
    for place in sums:
        carry = place + carry
        for _ in range(width // DIGIT):
            digits.append(carry & MASK)
            carry = carry >> DIGIT
    while carry.any() and (carry.min() < -MASK or carry.max() > MASK):
        digits.append(carry & MASK)
        carry = carry >> DIGIT
    return [*digits, carry] if carry.any() else digits


def rounded(digits: list[Integers]) -> tuple[Floats, Integers]:
    """The number that the digits are, to within some units of the last binary place, as ``value * 2 ** exponent``.

    From the top down: nothing is rounded until more than 53 bits are there, and what follows cannot cancel them.
    """
    value, exponent = np.zeros(len(digits[0])), np.zeros(len(digits[0]), dtype=np.int64)
    for number, digit in enumerate(reversed(digits)):
        if number < DIGITS_OF_A_DOUBLE:
            value = value * float(1 << DIGIT) + digit
            continue
        value, more = np.frexp(value)
        exponent = exponent + more + DIGIT
        value = value + np.ldexp(digit.astype(np.float64), -exponent)
    return value, exponent


def spread(count: Integers, total: list[Integers], square: list[Integers]) -> list[Integers]:
    """``count * square - total ** 2`` of a sum of squares and a sum, without an error: digits at the squares' place."""
    length = max(2 * len(total) - 1, len(square))
    places: list[Integers] = [np.zeros_like(count) for _ in range(length)]
    for place, digit in enumerate(square):
        places[place] += count * digit
    for one, low in enumerate(total):
        places[2 * one] -= low * low
        for other, high in enumerate(total[one + 1 :], start=one + 1):
            places[one + other] -= (low * high) << 1
    return carried(places, DIGIT)
