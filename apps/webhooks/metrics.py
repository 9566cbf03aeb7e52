"""The intake's figures in the text form that Prometheus reads."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

# Seconds; the promise is that 99.9 % are below one.
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 2.5)


@dataclass(slots=True)
class Histogram:
    """How long answers took: plain counts, because a request has no time for more."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    total_s: float = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total_s += seconds

    def cumulative(self) -> Iterator[tuple[str, float]]:
        running = 0
        for bound, count in zip((*map(str, BOUNDS), "+Inf"), self.counts, strict=True):
            running += count
            yield bound, running


@dataclass(slots=True, eq=False)
class Figures(Collector):
    """One reading of the intake, handed to the client library."""

    metrics: list[Metric]

    def collect(self) -> Iterator[Metric]:
        yield from self.metrics


def exposition(
    *,
    answered: Mapping[tuple[int, str], int],
    seconds: Histogram,
    waiting: int,
    commits: int,
    is_ready: bool,
) -> bytes:
    """The text of one scrape.

    Args:
        answered: answers so far by HTTP status and message code.
        waiting: alerts in the queue now.
    """
    answers = CounterMetricFamily(
        "pinelab_hooks_answers", "Requests answered", labels=["status", "code"]
    )
    for (status, code), count in answered.items():
        answers.add_metric([str(status), code], count)
    duration = HistogramMetricFamily(
        "pinelab_hooks_answer_seconds",
        "From the request's head to its answer",
        buckets=list(seconds.cumulative()),
        sum_value=seconds.total_s,
    )
    registry = CollectorRegistry()
    registry.register(
        Figures(
            [
                answers,
                duration,
                GaugeMetricFamily("pinelab_hooks_waiting", "Alerts in the queue", waiting),
                CounterMetricFamily("pinelab_hooks_commits", "Batches committed", commits),
                GaugeMetricFamily("pinelab_hooks_ready", "The database answers", float(is_ready)),
            ]
        )
    )
    return generate_latest(registry)
