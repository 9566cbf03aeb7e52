from apps.webhooks import rates
from apps.webhooks.rates import Rates


class TestRates:
    def test_a_burst_is_allowed_and_then_the_rate(self) -> None:
        buckets = Rates(rate=2, burst=3)

        assert [buckets.allows("a", 0.0) for _ in range(5)] == [True] * 3 + [False] * 2
        assert [buckets.allows("a", 1.0) for _ in range(3)] == [True] * 2 + [False]

    def test_a_pause_never_saves_up_more_than_a_burst(self) -> None:
        buckets = Rates(rate=2, burst=3)
        buckets.allows("a", 0.0)

        assert [buckets.allows("a", 1e6) for _ in range(4)] == [True] * 3 + [False]

    def test_each_sender_has_its_own(self) -> None:
        buckets = Rates(rate=1, burst=1)

        assert buckets.allows("a", 0.0)
        assert not buckets.allows("a", 0.0)
        assert buckets.allows("b", 0.0)

    def test_random_senders_do_not_fill_the_memory(self) -> None:
        buckets = Rates(rate=1, burst=10)
        many = rates.MOST_BUCKETS + 10

        for number in range(many):
            buckets.allows(number, number * 0.001)

        assert len(buckets._buckets) <= rates.MOST_BUCKETS
