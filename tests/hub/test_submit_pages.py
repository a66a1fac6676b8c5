"""Submitting a model step by step in the browser, and following it there."""

import io
from datetime import UTC, datetime, timedelta

from silo_node.wire.digests import digest_bytes
from silo_node.wire.tasks import Decline, Heartbeat
from tests.hub.browsing import Visitor, signed_in
from tests.hub.federation import Federation, bundle_bytes, definition
from tests.hub.test_entries import LAW, board, phase, reporting

BUNDLE = "/submit/chest_phantom/1"
CARD = {"name": "From a page", "description": "", "intended_use": "", "training_data": "", "licence": "MIT"}
WISH = {"visibility": "public", "embargo_until": ""}
RENEWS = 'hx-trigger="every 5s"'


def send(visitor: Visitor, data: bytes) -> str:
    """Send a bundle with the form and return where the browser is led."""
    answer = visitor.http.post(
        BUNDLE,
        data={"bundle": (io.BytesIO(data), "model.zip")},
        headers={"Accept": "text/html", "Sec-Fetch-Site": "same-origin"},
        buffered=True,
    )
    assert answer.status_code == 303, answer.text
    return str(answer.location)


def test_a_model_goes_from_the_form_to_the_board(federation: Federation) -> None:
    """Benchmark, bundle, card, where it is; private until its owner makes it public; then withdrawn."""
    silo = federation.silo()
    silo.register_cohort(federation.publish(**LAW, phases=[phase()]))
    ada = signed_in(federation, "Ada", "researcher")
    assert "Open now: Main" in ada.get("/submit").text
    assert 'type="file"' in ada.get(BUNDLE).text
    card = send(ada, bundle_bytes(1))
    assert card == f"{BUNDLE}/{digest_bytes(bundle_bytes(1))}"
    assert "Main" in ada.get(card).text
    answer = ada.send(card, {**CARD, **WISH, "visibility": "private", "phase": "main"})
    assert answer.status_code == 303, answer.text
    page = answer.location
    assert "waiting for the hospital" in ada.get(page).text
    reporting(silo)
    shown = ada.get(page).text
    assert "released" in shown
    assert "over 1 hospital and 50 cases" in shown
    assert board(federation) == {}
    digest = digest_bytes(bundle_bytes(1))
    assert ada.send(f"/account/models/{digest}/reveal/chest_phantom/1").status_code == 303
    assert set(board(federation)) == {"From a page"}
    assert "From a page" in ada.get("/account/models").text
    assert ada.send(f"/account/models/{digest}/withdraw").status_code == 303
    assert "withdrawn" in ada.get(page).text


def test_the_page_renews_itself_as_long_as_somebody_may_decide_or_work(federation: Federation) -> None:
    """The benchmark's owner, then the hospital; what it tells of its progress is a share and no number of cases."""
    silo = federation.silo()
    silo.register_cohort(federation.publish(**LAW, auto_approve_models=False))
    ada = signed_in(federation, "Ada", "researcher")
    page = ada.send(send(ada, bundle_bytes(1)), {**CARD, **WISH}).location
    assert "requested; attempt 1" in (text := ada.get(page).text)
    assert RENEWS in text
    assert "Synthetic data." in text
    (asked,) = (
        row for row in federation.admin.get("/associations").get_json()["associations"] if row["state"] == "requested"
    )
    federation.admin.post(f"/associations/{asked['association_id']}/decision", {"approve": True})
    task = silo.claim()
    assert task is not None
    silo.post(f"/tasks/{task.task_id}/heartbeat", Heartbeat(state="running", done=7, total=20))
    assert "<td>35%</td>" in (text := ada.get(page).text)
    assert RENEWS in text
    silo.post(f"/tasks/{task.task_id}/decline", Decline(code="policy-benchmark"))
    assert RENEWS not in ada.get(page).text


def test_a_refusal_stands_above_the_form_and_keeps_what_was_written(federation: Federation) -> None:
    """With what to do; nothing was submitted."""
    federation.publish(phases=[phase("over", -9, -2)])
    ada = signed_in(federation, "Ada", "researcher")
    assert "takes no models now" in ada.get("/submit").text
    card = send(ada, bundle_bytes(1))
    closed = ada.send(card, {**CARD, **WISH})
    assert closed.status_code == 409
    assert "The benchmark takes no models now" in closed.text
    assert 'value="From a page"' in closed.text
    undated = ada.send(card, {**CARD, **WISH, "visibility": "embargoed"})
    assert undated.status_code == 422
    past = ada.send(card, {**CARD, "visibility": "embargoed", "embargo_until": "2020-01-01"})
    assert "The embargo ends in the past" in past.text
    assert "None yet" in ada.get("/account/models").text
    empty = ada.http.post(BUNDLE, data={}, headers={"Accept": "text/html", "Sec-Fetch-Site": "same-origin"})
    assert empty.status_code == 422


def test_the_steps_are_a_researchers_own(federation: Federation) -> None:
    """A reader is refused, another organisation sees no page of it, another site's form does nothing."""
    federation.publish()
    ada, eve = signed_in(federation, "Ada", "researcher"), signed_in(federation, "Eve", "researcher", organisation="E")
    card = send(ada, bundle_bytes(1))
    assert ada.send(card, {**CARD, **WISH}, site="cross-site").status_code == 403
    assert eve.get(card).status_code == 404
    assert eve.send(card, {**CARD, **WISH}).status_code == 404
    assert ada.send(card, {**CARD, **WISH}).status_code == 303
    digest = digest_bytes(bundle_bytes(1))
    assert eve.get(f"/account/models/{digest}").status_code == 404
    assert eve.send(f"/account/models/{digest}/withdraw").status_code == 404
    assert signed_in(federation, "Rea", "reader", organisation="R").get("/submit").status_code == 403


def test_a_new_version_and_an_embargo_are_chosen_in_the_form(federation: Federation) -> None:
    """Only models that have no version after them are offered."""
    federation.publish()
    ada = signed_in(federation, "Ada", "researcher")
    first = digest_bytes(bundle_bytes(1))
    ada.send(send(ada, bundle_bytes(1)), {**CARD, **WISH})
    card = send(ada, bundle_bytes(2))
    assert f'value="{first}"' in ada.get(card).text
    day = (datetime.now(UTC) + timedelta(days=9)).date().isoformat()
    wish = {**CARD, "visibility": "embargoed", "embargo_until": day, "version_of": first}
    answer = ada.send(card, wish)
    assert answer.status_code == 303, answer.text
    page = ada.get(answer.location).text
    assert "Version 2" in page
    assert "embargoed" in page
    assert f'value="{first}"' not in ada.get(send(ada, bundle_bytes(3))).text


def test_what_a_researcher_writes_is_text(federation: Federation) -> None:
    """Markup and template syntax in every field stay what they are."""
    federation.publish()
    ada = signed_in(federation, "Ada", "researcher")
    evil = "<script>alert(1)</script>{{ 7 * 7 }}'\"; DROP TABLE entry"
    card = dict.fromkeys(CARD, evil) | WISH
    answer = ada.send(send(ada, bundle_bytes(1)), card)
    assert answer.status_code == 303, answer.text
    for page in (answer.location, "/account/models", f"/models/{digest_bytes(bundle_bytes(1))}"):
        text = ada.get(page).text
        assert "<script>alert" not in text
        assert "{{ 7 * 7 }}" in text


def test_an_owner_sees_every_cell_and_asks_again_from_there(federation: Federation) -> None:
    """A declined cell says why; asked again it waits; nobody else's owner sees the page or asks."""
    owner = signed_in(federation, "Bo", "benchmark-owner", organisation="Board")
    program = federation.person("Bo's program", "benchmark-owner", organisation="Board")
    question = definition(**LAW)
    assert program.post("/benchmarks", question).status_code == 201
    silo = federation.silo()
    silo.register_cohort(question)
    federation.researcher().submit(bundle_bytes(1), "Declined one")
    task = silo.claim()
    assert task is not None
    silo.post(f"/tasks/{task.task_id}/decline", Decline(code="policy-benchmark"))
    assert "/account/benchmarks/chest_phantom/1" in owner.get("/account/benchmarks").text
    path = "/account/benchmarks/chest_phantom/1"
    page = owner.get(path).text
    assert "Declined one" in page
    assert "the site does not take part in that benchmark" in page
    assert RENEWS not in page
    other = signed_in(federation, "Eve", "benchmark-owner", organisation="Elsewhere")
    assert other.get(path).status_code == 403
    wish = {"silo_id": silo.silo_id, "reason": "site-ready"}
    assert other.send(f"{path}/retry", wish).status_code == 403
    assert owner.send(f"{path}/retry", {**wish, "reason": "because"}).status_code == 422
    assert silo.claim() is None
    assert owner.send(f"{path}/retry", wish).status_code == 303
    assert "waiting for the hospital" in (page := owner.get(path).text)
    assert RENEWS in page
    again = silo.claim()
    assert again is not None
    assert again.body.attempt == 2  # type: ignore[union-attr]
