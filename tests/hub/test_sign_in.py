"""The door: how people get in, who is kept out, and when a session ends."""

from datetime import timedelta

import pytest
from sqlalchemy import delete, select, update
from sqlalchemy.exc import DBAPIError

from federation_hub.accounts.browser import HOME, safe_next
from federation_hub.accounts.door import Door
from federation_hub.accounts.sessions import Lifetime
from federation_hub.accounts.tables import AuditEntry, BrowserSession, Invitation, PersonPassword
from federation_hub.db import now
from tests.hub.browsing import PASSWORD, identifier, invited, shown_token, signed_in, visitor
from tests.hub.federation import Caller, Federation


def test_a_one_time_link_is_exchanged_for_a_password_once(federation: Federation) -> None:
    """The second use is refused, and so is a code nobody made; the password is kept as argon2id."""
    code = invited(federation, "Ada", "researcher")
    browser = visitor(federation.app)
    assert "Welcome, Ada" in browser.get(f"/join?code={code}").text
    form = {"code": code, "password": PASSWORD, "again": PASSWORD}
    assert browser.send("/join", form).headers["Location"] == HOME
    assert "Ada" in browser.get("/account").text
    stranger = visitor(federation.app)
    for again in (code, "0" * 32, "../etc"):
        assert stranger.send("/join", {**form, "code": again}).status_code == 403
    with federation.services.database.reading() as session:
        kept = session.scalars(select(PersonPassword.hash)).one()
    assert kept.startswith("$argon2id$v=19$")


def test_an_old_link_opens_nothing(federation: Federation) -> None:
    """Three days, and only the newest of several."""
    code = invited(federation, "Ada", "researcher")
    again = federation.admin.post(f"/persons/{identifier(federation, 'Ada')}/invitation").get_json()
    assert again["link"].endswith(f"/join?code={again['code']}")
    browser = visitor(federation.app)
    assert browser.get(f"/join?code={code}").status_code == 403
    assert browser.get(f"/join?code={again['code']}").status_code == 200
    with federation.services.database.session() as session:
        session.execute(update(Invitation).values(expires=now() - timedelta(seconds=1)))
    assert browser.get(f"/join?code={again['code']}").status_code == 403


@pytest.mark.parametrize("password", ["short", "aaaaaaaaaaaaaaaa", "my name is Lovelace", "x" * 201])
def test_a_weak_password_is_not_taken(federation: Federation, password: str) -> None:
    """Short, of few letters, with the name in it, or endless; the code is not spent by trying."""
    code = invited(federation, "Ada Lovelace", "researcher")
    browser = visitor(federation.app)
    assert browser.send("/join", {"code": code, "password": password, "again": password}).status_code == 422
    assert browser.send("/join", {"code": code, "password": PASSWORD, "again": PASSWORD}).status_code == 303


def test_signing_in_makes_a_new_session_and_ends_the_one_the_browser_came_with(federation: Federation) -> None:
    """So that nobody can plant one; the database knows hashes only."""
    browser = signed_in(federation, "Ada", "researcher")
    first = browser.cookie
    browser.sign_in("Ada")
    assert browser.cookie not in (None, first)
    with federation.services.database.reading() as session:
        kept = session.scalars(select(BrowserSession.hash)).all()
    assert len(kept) == 1
    assert browser.cookie not in kept
    planted = visitor(federation.app)
    planted.http.set_cookie("medsilo-session", first or "")
    assert planted.get("/account").status_code == 303


def test_wrong_and_unknown_are_told_the_same(federation: Federation) -> None:
    """Nobody learns who has an account here, nor that a withdrawn one was."""
    signed_in(federation, "Ada", "researcher")
    federation.person("Bo", "reader")
    federation.admin.post(f"/persons/{identifier(federation, 'Bo')}/withdraw")
    answers = [visitor(federation.app).sign_in(name, "not the password") for name in ("Ada", "Bo", "Nobody")]
    assert {(answer.status_code, answer.text) for answer in answers} == {(403, answers[0].text)}


def test_five_wrong_guesses_make_one_wait_also_with_the_right_password(federation: Federation) -> None:
    """The answer says how long; somebody else at another address may still come in."""
    signed_in(federation, "Ada", "researcher")
    browser = visitor(federation.app)
    for _ in range(5):
        assert browser.sign_in("Ada", "not the password").status_code == 403
    paused = browser.sign_in("Ada")
    assert paused.status_code == 429
    assert 0 < int(paused.headers["Retry-After"]) <= 60
    elsewhere = browser.http.post(
        "/sign-in",
        data={"name": "Ada", "password": PASSWORD, "next": ""},
        headers={"Sec-Fetch-Site": "same-origin"},
        environ_base={"REMOTE_ADDR": "192.0.2.7"},
    )
    assert elsewhere.status_code == 303


def test_one_address_cannot_try_many_names_and_many_addresses_not_one_name() -> None:
    """Twenty a burst from an address, fifty at a name."""
    by_address, by_name = Door(), Door()
    for count in range(20):
        assert by_address.wait("192.0.2.1", f"name {count}") == 0
        by_address.failed("192.0.2.1", f"name {count}")
    assert by_address.wait("192.0.2.1", "another name") > 0
    for count in range(50):
        assert by_name.wait(f"192.0.2.{count}", "ada") == 0
        by_name.failed(f"192.0.2.{count}", "Ada")
    assert by_name.wait("198.51.100.1", "ADA") > 0


@pytest.mark.parametrize("column", ["created", "seen"])
def test_a_session_ends_by_itself(federation: Federation, column: str) -> None:
    """After an hour without a request, and after half a day in any case."""
    browser = signed_in(federation, "Ada", "researcher")
    lifetime = Lifetime.of(federation.services.config)
    late = now() - (lifetime.idle if column == "seen" else lifetime.longest)
    with federation.services.database.session() as session:
        session.execute(update(BrowserSession).values({column: late - timedelta(seconds=1)}))
    answer = browser.get("/account?tab=one")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/sign-in?next=/account%3Ftab%3Done")


def test_signing_out_ends_this_session_and_everywhere_ends_all(federation: Federation) -> None:
    """On the server, not only in the browser that asked."""
    one = signed_in(federation, "Ada", "researcher")
    two, cookie = visitor(federation.app), one.cookie
    two.sign_in("Ada")
    assert one.send("/sign-out").headers["Location"] == "/"
    one.http.set_cookie("medsilo-session", cookie or "")
    assert one.get("/account").status_code == 303
    assert two.get("/account").status_code == 200
    one.sign_in("Ada")
    one.send("/account/sign-out-everywhere")
    assert [browser.get("/account").status_code for browser in (one, two)] == [303, 303]


def test_a_new_password_signs_the_others_out_and_needs_the_present_one(federation: Federation) -> None:
    """Whoever finds an open browser cannot take the account."""
    one, two = signed_in(federation, "Ada", "researcher"), visitor(federation.app)
    two.sign_in("Ada")
    form = {"present": "not the password", "password": "another phrase of words", "again": "another phrase of words"}
    assert one.send("/account/password", form).status_code == 403
    assert one.send("/account/password", {**form, "present": PASSWORD}).status_code == 303
    assert [browser.get("/account").status_code for browser in (one, two)] == [200, 303]
    assert visitor(federation.app).sign_in("Ada").status_code == 403
    assert visitor(federation.app).sign_in("Ada", "another phrase of words").status_code == 303


def test_a_form_on_another_site_does_nothing(federation: Federation) -> None:
    """By Sec-Fetch-Site where there is one, else by Origin; a cookie without either is no proof."""
    browser = signed_in(federation, "Ada", "researcher")
    assert browser.send("/sign-out", site="cross-site").status_code == 403
    assert browser.send("/sign-out", site="same-site").status_code == 403
    for headers in ({}, {"Origin": "https://evil.example"}, {"Origin": "null"}):
        assert browser.http.post("/sign-out", data={}, headers=headers).status_code == 403
    assert browser.get("/account").status_code == 200
    assert browser.http.post("/sign-out", data={}, headers={"Origin": "http://localhost"}).status_code == 303


@pytest.mark.parametrize("goal", ["https://evil.example", "//evil.example", "/\\evil.example", "/\tx", "javascript:x"])
def test_nobody_is_led_elsewhere_after_signing_in(goal: str) -> None:
    """The way back is a path of the hub."""
    assert safe_next(goal) == HOME
    assert safe_next("/studies?page=2") == "/studies?page=2"


def test_the_cookie_is_for_this_host_over_https_and_no_script(federation: Federation) -> None:
    """With a public address of https it has the prefix by which browsers hold it to that."""
    browser = visitor(federation.app)
    code = invited(federation, "Ada", "researcher")
    form = {"code": code, "password": PASSWORD, "again": PASSWORD}
    answer = browser.http.post(
        "/join", data=form, headers={"Sec-Fetch-Site": "same-origin"}, base_url="https://localhost"
    )
    written = answer.headers["Set-Cookie"]
    assert written.startswith("__Host-medsilo-session=")
    assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} <= {part.strip() for part in written.split(";")}
    assert answer.headers["Cache-Control"] == "no-store"


def test_roles_and_withdrawal_count_from_the_next_request_on(federation: Federation) -> None:
    """Sessions hold no roles of their own."""
    browser = signed_in(federation, "Ada", "researcher")
    person_id = identifier(federation, "Ada")
    federation.admin.post(f"/persons/{person_id}/roles", {"roles": ["reader"]})
    assert "reader" in browser.get("/account").text
    assert federation.admin.post(f"/persons/{person_id}/withdraw").get_json()["active"] is False
    assert browser.get("/account").status_code == 303
    assert federation.admin.post(f"/persons/{person_id}/withdraw").status_code == 409
    assert federation.admin.post(f"/persons/{person_id}/reinstate").get_json()["active"] is True
    assert browser.sign_in("Ada").status_code == 303


def test_the_last_admin_stays(federation: Federation) -> None:
    """Or nobody could give the role back."""
    me = federation.admin.get("/me").get_json()["person_id"]
    answer = federation.admin.post(f"/persons/{me}/roles", {"roles": ["reader"]})
    assert answer.get_json()["code"] == "last-admin"
    assert federation.admin.post(f"/persons/{me}/withdraw").get_json()["code"] == "last-admin"


def test_a_token_is_made_on_a_page_and_shown_once(federation: Federation) -> None:
    """It works, it does no more than was ticked, and revoking ends it."""
    browser = signed_in(federation, "Ada", "researcher", "reader")
    page = browser.send("/account/tokens", {"name": "a script", "scopes": "reader", "days": "7"})
    ada = Caller(federation.app.test_client(), shown_token(page))
    assert ada.get("/me").get_json()["roles"] == ["reader"]
    assert ada.token not in browser.get("/account/tokens").text
    token_id = ada.get("/tokens").get_json()["tokens"][0]["token_id"]
    assert browser.send(f"/account/tokens/{token_id}/revoke").status_code == 303
    assert ada.get("/me").status_code == 401


def test_a_token_makes_none_that_can_do_more_or_lasts_longer(federation: Federation) -> None:
    """Or one that leaked could never be got rid of."""
    ada = federation.person("Ada", "researcher", "reader")
    made = ada.post("/tokens", {"name": "narrow", "scopes": ["reader"], "days": 2}).get_json()
    narrow = Caller(federation.app.test_client(), made["token"])
    assert narrow.post("/tokens", {"name": "x", "scopes": ["researcher"], "days": 1}).status_code == 403
    assert narrow.post("/tokens", {"name": "x", "days": 3}).get_json()["code"] == "scope-too-wide"
    assert narrow.post("/tokens", {"name": "x", "days": 1}).get_json()["view"]["scopes"] == ["reader"]


def test_nobody_revokes_somebody_else_s_token(federation: Federation) -> None:
    """Nor learns that there is one."""
    ada, bo = federation.researcher("Ada"), federation.researcher("Bo")
    token_id = ada.get("/tokens").get_json()["tokens"][0]["token_id"]
    assert bo.post(f"/tokens/{token_id}/revoke").status_code == 404
    assert ada.post(f"/tokens/{token_id}/revoke").status_code == 204


def test_the_database_itself_keeps_the_audit_trail(federation: Federation) -> None:
    """No line can be changed or dropped, whatever the program asks."""
    database = federation.services.database
    for statement in (update(AuditEntry).values(action="nothing"), delete(AuditEntry)):
        with pytest.raises(DBAPIError, match="append-only"), database.session() as session:
            session.execute(statement)
