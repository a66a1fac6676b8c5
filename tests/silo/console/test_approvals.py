"""What the console tells before anything leaves, in whose name it leaves, and what it says when the hub is away."""

import base64
import json
import re

from silo_node.agent.consents import agreed_plan
from silo_node.console.guard import COOKIE
from silo_node.identity import load_identity
from silo_node.journal import Journal
from silo_node.outbox.box import Outbox
from silo_node.outbox.words import content
from silo_node.policy import Decision
from silo_node.state import Home
from tests.silo.console.browsing import PERSON, application, item, signed_in, token
from tests.silo.peer import peer
from tests.silo.stand_in import StandIn


def test_every_number_of_a_block_is_told_before_it_leaves(home: Home) -> None:
    """In words where they help, and to the byte: the signed content is on the page whole."""
    block = item(home, "estimate-block")
    page = signed_in(home).get(f"/approvals/{block.item_id}").text
    assert "0.912 (0.853 to 0.971)" in page
    assert "not told: too-few-cases" in page
    shown = re.search(r'<pre class="bytes"[^>]*>(.*?)</pre>', page, re.DOTALL)
    assert shown is not None
    assert json.loads(shown.group(1).replace("&#34;", '"').replace("&#39;", "'")) == content(block)


def test_a_study_is_told_whole_before_it_is_said_yes_to(home: Home) -> None:
    page = signed_in(home).get(f"/approvals/{item(home, 'association-decision').item_id}").text
    for said in ("Dr Ada Keller (Lakeside University)", "2 other sites", "28.4 MB", "2 epochs a round", "25 at most"):
        assert said in page


def test_an_update_is_told_with_its_file(home: Home) -> None:
    page = signed_in(home).get(f"/approvals/{item(home, 'round-report').item_id}").text
    assert "exactly the model&#39;s tensors and nothing else" in page
    assert "Round 4 of “Lungs together”" in page
    assert "16.5 kB" in page


def test_what_is_released_bears_the_name_of_who_released_it(fresh: tuple[Home, StandIn]) -> None:
    """It goes at once where no node runs, and arrives as it was shown."""
    home, hub = fresh
    client, block = signed_in(home), item(home, "estimate-block")
    with peer(hub) as server:
        home.config_file.write_text(f'provenance = "synthetic"\nhub_url = "{server.url}"\n')
        answer = client.post(f"/approvals/{block.item_id}/release", data={"form_token": token(client)})
    assert answer.status_code == 303
    (said,) = hub.heard("/result")
    assert said["payload"] == block.envelope.payload
    assert item(home, "estimate-block").released_by == PERSON
    assert f"Released by {PERSON}" in client.get(f"/approvals/{block.item_id}").text


def test_what_is_kept_here_does_not_leave(fresh: tuple[Home, StandIn]) -> None:
    """The hub hears a code; and a study's question gets a signed no."""
    home, hub = fresh
    client = signed_in(home)
    with peer(hub) as server:
        home.config_file.write_text(f'hub_url = "{server.url}"\n')
        for kind in ("estimate-block", "association-decision"):
            client.post(f"/approvals/{item(home, kind).item_id}/reject", data={"form_token": token(client)})
    assert hub.heard("/decline") == [{"code": "policy-refuses-release", "retry": False}]
    assert hub.heard("/result") == []
    assert content(item(home, "association-decision"))["approve"] is False
    late = client.post(f"/approvals/{item(home, 'estimate-block').item_id}/release", data={"form_token": token(client)})
    assert late.status_code == 409


def test_a_given_consent_is_ended_in_the_browser_and_no_round_runs_any_more(fresh: tuple[Home, StandIn]) -> None:
    """At once here, whatever the hub knows; signed, with the name of who ended it. There is nothing to end twice."""
    home, hub = fresh
    client, study = signed_in(home), "study-7h2j5k8m"
    identity = load_identity(home)

    def agreed() -> str | None:
        journal = Journal(home)
        try:
            return agreed_plan(journal, identity, study)
        finally:
            journal.close()

    assert client.post(f"/studies/{study}/end", data={"form_token": token(client)}).status_code == 409
    assert "End the consent" not in client.get("/studies").text
    with peer(hub) as server:
        home.config_file.write_text(f'hub_url = "{server.url}"\n')
        decision = item(home, "association-decision").item_id
        client.post(f"/approvals/{decision}/release", data={"form_token": token(client)})
        assert agreed() is not None
        assert "End the consent" in client.get("/studies").text
        assert client.post(f"/studies/{study}/end", data={"form_token": "x"}).status_code == 403
        assert agreed() is not None
        assert client.post(f"/studies/{study}/end", data={"form_token": token(client)}).status_code == 303
    assert agreed() is None
    ended = item(home, "association-decision")
    assert (content(ended)["approve"], ended.state, ended.released_by) == (False, "acknowledged", PERSON)
    assert [json.loads(base64.b64decode(said["payload"]))["approve"] for said in hub.heard("/decision")] == [
        True,
        False,
    ]
    page = client.get("/studies").text
    assert "The consent is ended" in page
    assert "End the consent" not in page
    assert client.post("/studies/study-nothere1/end", data={"form_token": token(client)}).status_code == 404


def test_a_hub_that_is_away_is_no_error(fresh: tuple[Home, StandIn]) -> None:
    home, _ = fresh
    home.config_file.write_text('hub_url = "http://127.0.0.1:9"\n')
    client, block = signed_in(home), item(home, "estimate-block")
    client.post(f"/approvals/{block.item_id}/release", data={"form_token": token(client)})
    assert "the node sends the answer later" in client.get("/approvals").text


def test_two_persons_release_where_the_site_wants_it(fresh: tuple[Home, StandIn]) -> None:
    """The first one's yes is shown to the second, and nobody is two persons."""
    home, hub = fresh
    journal, block = Journal(home), item(home, "estimate-block")
    hold = Decision("hold", None, "release.results", persons=2)
    waiting = Outbox(journal).add(block.kind, block.subject, block.envelope, hold)
    journal.close()
    client, console = application(home)
    with peer(hub) as server:
        home.config_file.write_text(f'hub_url = "{server.url}"\n')
        for person, status in (("m.okafor", 303), ("m.okafor", 403), ("j.fischer", 303)):
            client.set_cookie(COOKIE, console.sessions.begin(person))
            page = client.get(f"/approvals/{waiting.item_id}").text
            assert "Two different persons must release it" in page
            answer = client.post(f"/approvals/{waiting.item_id}/release", data={"form_token": token(client)})
            assert answer.status_code == status, person
            assert status == 303 or "same-person" in answer.text
    assert "m.okafor has released it already" in page
    assert item(home, "estimate-block").released_by == "m.okafor, j.fischer"
    assert len(hub.heard("/result")) == 1
