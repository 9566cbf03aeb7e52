"""Number text to Decimal: bounds come before arithmetic."""

import time
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.webhooks import numbers
from apps.webhooks.numbers import NumberText


class TestRead:
    @given(value=st.decimals("-99999999999", "99999999999", places=4))
    def test_plain_text_is_read_as_it_stands(self, value: Decimal) -> None:
        number = numbers.read(f"{value:f}")

        assert number is not None
        assert number.value == value

    @given(value=st.integers(1_000, 10**14))
    def test_thousands_with_decimals_are_unambiguous(self, value: int) -> None:
        text = f"{value:,}.25"
        continental = text.translate(str.maketrans(",.", ".,"))

        for written in (text, continental, text.replace(",", " "), text.replace(",", "'")):
            number = numbers.read(written)
            assert number is not None
            assert number.value == Decimal(value) + Decimal("0.25")

    @given(whole=st.integers(1, 999), group=st.integers(0, 999))
    def test_one_group_after_one_comma_is_never_guessed(self, whole: int, group: int) -> None:
        with pytest.raises(numbers.Ambiguous):
            numbers.read(f"{whole},{group:03d}")

    @pytest.mark.parametrize(
        "text", ["1e999999", "-1e999999", "1e16", "9" * 16, "1e-13", "1" * 65, "9" * 100_000]
    )
    @pytest.mark.parametrize("kind", [str, NumberText])
    def test_what_is_out_of_bounds_is_refused_at_once(self, text: str, kind: type[str]) -> None:
        start = time.process_time()

        with pytest.raises(numbers.Unreadable):
            numbers.read(kind(text))

        assert time.process_time() - start < 0.05

    def test_an_exponent_is_written_out(self) -> None:
        number = numbers.read(NumberText("1.5e7"))

        assert number is not None
        assert str(number.value) == "15000000"

    def test_noise_beyond_twelve_decimals_is_rounded(self) -> None:
        number = numbers.read(NumberText("0.12345678901234567890"))

        assert number is not None
        assert number.value == Decimal("0.123456789012")

    @given(text=st.text(max_size=40))
    def test_no_text_raises_anything_else(self, text: str) -> None:
        try:
            number = numbers.read(text)
        except numbers.Unreadable:
            return
        assert number is None or number.value.is_finite()
