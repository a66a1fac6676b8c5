"""How often one may ask: a coded 429 that says when to come again, and nobody pays for another."""

import dataclasses
from pathlib import Path

import pytest
from flask import Flask

from federation_hub.accounts.tokens import new_token
from federation_hub.app import create_app
from federation_hub.config import HubConfig
from federation_hub.limits import Buckets, Limiter, Rate
from federation_hub.services import Services
from tests.hub.federation import Caller


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    """Sixty a minute, five at once: the sixth waits a second, and after ten seconds five come at once again."""
    clock = Clock()
    buckets = Buckets(Rate(60, 5), clock)
    assert [buckets.take("a") for _ in range(5)] == [0.0] * 5
    assert buckets.take("a") == pytest.approx(1.0)
    assert buckets.take("b") == 0.0
    clock.now += 0.5
    assert buckets.take("a") == pytest.approx(0.5)
    clock.now += 0.5
    assert buckets.take("a") == 0.0
    clock.now += 10
    assert [buckets.take("a") for _ in range(6)] == [0.0] * 5 + [pytest.approx(1.0)]


def test_over_a_minute_the_rate_holds_however_one_asks() -> None:
    clock = Clock()
    buckets, let_in = Buckets(Rate(120, 10), clock), 0
    for _ in range(6000):
        let_in += buckets.take("a") == 0.0
        clock.now += 0.01
    assert 119 <= let_in <= 131


def test_a_thousand_polling_silos_are_never_told_to_wait(tmp_path: Path) -> None:
    """Nor is one in an open round that asks ten times a second and uploads meanwhile."""
    clock = Clock()
    limiter = Limiter(HubConfig(home=tmp_path), clock)
    silos = [f"Bearer {new_token('mss_')}" for _ in range(1000)]
    for _ in range(3):
        assert {limiter.judge("10.0.0.1", silo) for silo in silos} == {0.0}
        clock.now += 5
    for _ in range(1200):
        assert limiter.judge("10.0.0.1", silos[0]) == 0.0
        clock.now += 0.05


@pytest.fixture
def strict(hub_config: HubConfig, hub_services: Services) -> Flask:
    """A hub that lets little through."""
    changed = hub_config.model_copy(update={"requests_per_minute": 100, "anonymous_requests_per_minute": 40})
    return create_app(changed, services=dataclasses.replace(hub_services, config=changed))


def test_too_many_requests_get_a_code_and_the_time_to_wait(strict: Flask, admin_token: str) -> None:
    """By token, by address without one; a page and a health check are not counted."""
    admin, anybody = Caller(strict.test_client(), admin_token), Caller(strict.test_client())
    assert {admin.get("/me").status_code for _ in range(10)} == {200}
    refused = admin.get("/me")
    assert (refused.status_code, refused.get_json()["code"]) == (429, "rate-limited")
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert {anybody.get("/hub").status_code for _ in range(10)} == {200}
    assert anybody.get("/hub").status_code == 429
    assert anybody.http.get("/healthz").status_code == 200
    assert anybody.http.get("/").status_code == 200


def test_who_tries_tokens_shuts_out_nobody_else_behind_the_address(strict: Flask, admin_token: str) -> None:
    """All silos of a hospital may come from one address."""
    admin = Caller(strict.test_client(), admin_token)
    assert admin.get("/me").status_code == 200
    tried = [Caller(strict.test_client(), new_token("msp_")).get("/me").status_code for _ in range(40)]
    assert tried[:30] == [401] * 30
    assert set(tried[30:]) == {429}
    assert admin.get("/me").status_code == 200
