"""Histograms counted in plain integers, as Prometheus reads them."""

import pytest

from shared.metrics import Distribution

pytestmark = pytest.mark.unit


def test_a_value_on_a_bound_is_in_its_bucket_and_buckets_add_up() -> None:
    distribution = Distribution((0.0, 0.1, 1.0))
    for value in (0.0, 0.05, 0.1, 0.5, 7.0, 7.0):
        distribution.observe(value)
    (family,) = [distribution.family("framemesh_test_seconds", "A test.")]
    found = {
        (sample.name.removeprefix("framemesh_test_seconds_"), sample.labels.get("le")): sample.value
        for sample in family.samples
    }
    assert found == {
        ("bucket", "0.0"): 1,
        ("bucket", "0.1"): 3,
        ("bucket", "1.0"): 4,
        ("bucket", "+Inf"): 6,
        ("count", None): 6,
        ("sum", None): pytest.approx(14.65),
    }


def test_sum_never_falls() -> None:
    """Of a picture from a host whose clock is ahead; a sum that falls is that of a service that has begun anew."""
    distribution = Distribution((0.1, 1.0))
    for age_seconds in (0.5, -3.0):
        distribution.observe(age_seconds)
    [(_, total)] = [
        (one.name, one.value) for one in distribution.family("age", "Age.").samples if one.name == "age_sum"
    ]
    assert total == 0.5
    assert distribution.count == 2
