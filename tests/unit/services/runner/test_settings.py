from __future__ import annotations

import pytest

from penstock.core.errors import StopProcess
from penstock.runtime.settings import documented, load
from penstock_services.runner.settings import RunnerSettings

REQUIRED = {"PENSTOCK_KAFKA_BOOTSTRAP": "127.0.0.1:9092"}


def test_everything_but_the_brokers_has_a_default() -> None:
    settings = load(RunnerSettings, REQUIRED)
    assert (settings.offer.pool, settings.offer.slots, settings.offer.labels) == ("default", 8, ())


def test_the_flat_names_of_the_variables() -> None:
    settings = load(
        RunnerSettings,
        {
            **REQUIRED,
            "PENSTOCK_POOL": "gpu",
            "PENSTOCK_SLOTS": "3",
            "PENSTOCK_LABELS": "a, b",
            "PENSTOCK_STATE_DIR": "/x",
        },
    )
    assert (settings.offer.pool, settings.offer.slots, settings.offer.labels) == ("gpu", 3, ("a", "b"))
    assert settings.place.state_dir == "/x"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PENSTOCK_SLOTS", "-1"),
        ("PENSTOCK_LOOK_AHEAD", "-1"),
        ("PENSTOCK_KEEP_WORKSPACE", "sometimes"),
        ("PENSTOCK_UNCONFIRMED_SECONDS", "14"),
    ],
)
def test_senseless_values_are_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(StopProcess, match=name):
        load(RunnerSettings, {**REQUIRED, name: value})


def test_every_setting_is_documented() -> None:
    assert all(doc for _name, _type, _default, doc in documented(RunnerSettings))
