"""Every list that grows comes in pages: nothing lost or doubled while things are added, whoever asks."""

import base64
import json
import re
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from html import unescape
from itertools import product

from sqlalchemy import select, update

from federation_hub.accounts.pages.dashboard import MOST as DASHBOARD
from federation_hub.accounts.tables import Organisation, Person, Token
from federation_hub.associations.tables import Association
from federation_hub.benchmarks.tables import Benchmark
from federation_hub.benchmarks.version_pages import BOARDS_SHOWN
from federation_hub.client.study_pages import joined
from federation_hub.db import now
from federation_hub.entries.tables import Entry
from federation_hub.evaluations.tables import EstimateBlockRow, Evaluation, Task
from federation_hub.leaderboards.tables import Snapshot
from federation_hub.models.tables import Model
from federation_hub.silos.keys import new_silo_token
from federation_hub.silos.tables import Silo
from federation_hub.studies.tables import Study, StudyRound, StudyUpdate
from tests.hub.browsing import signed_in
from tests.hub.federation import Caller, Federation
from tests.hub.test_query_counts import copied

SILO = "/silo/associations"
LISTS = {
    "/models": ("models", "digest"),
    "/models?benchmark=chest_phantom": ("models", "digest"),
    "/evaluations": ("evaluations", "evaluation_id"),
    "/evaluations?benchmark=chest_phantom": ("evaluations", "evaluation_id"),
    "/associations": ("associations", "association_id"),
    "/studies": ("studies", "study_id"),
    "/benchmarks": ("benchmarks", "name"),
    "/tokens": ("tokens", "token_id"),
    "/silos": ("silos", "silo_id"),
    "/persons": ("persons", "person_id"),
    "/organisations": ("organisations", "organisation_id"),
    "/audit": ("entries", "number"),
}
EVERY = {**LISTS, SILO: ("associations", "association_id")}
MORE = 7
NONSENSE = ("x", "bm9uc2Vuc2U", "W10", "W251bGwsIG51bGxd", "WyJhIiwgImIiLCAiYyJd", "WzEsIDJd", "Wy0xXQ", "W3RydWVd")


def grow(federation: Federation, first: int = 0) -> None:
    """Write some more of everything, two at a moment, as a program does that fills a database."""
    at = now()
    with federation.services.database.session() as session:
        rows = {
            table: session.scalars(select(table)).first()
            for table in (Person, Silo, Organisation, Benchmark, Model, Evaluation, Study)
        }
        rows[Token] = session.scalars(select(Token).join(Person).where(Person.name == "admin")).first()
        place = session.scalars(select(Association).where(Association.kind == "model-benchmark")).first()
        for number in range(first, first + MORE):
            later = {"created": at + timedelta(seconds=number // 2)}
            digest = f"blake3:{number:064x}"
            session.add(copied(rows[Organisation], id=f"org-{number:012d}", name=f"Place {number}"))
            session.add(copied(rows[Benchmark], id=f"bench-{number:06d}", name=f"bench_{number}", digest=digest))
            session.add(copied(rows[Model], digest=digest, **later))
            session.flush()
            session.add(copied(rows[Person], id=f"per-{number:012d}", name=f"Person {number}"))
            session.add(copied(rows[Silo], id=f"silo-{number:012d}", name=f"Silo {number}", public_key=None))
            session.add(copied(rows[Study], id=f"study-{number:06d}", **later))
            session.add(copied(rows[Evaluation], id=f"eval-{number:06d}", state="cancelled", **later))
            session.add(copied(place, id=f"assoc-{number:06d}", model_digest=digest, **later))
            session.add(copied(rows[Token], id=f"tok-{number:06d}", hash=f"{number:064x}", **later))


def walk(caller: Caller, address: str, *, meanwhile: Callable[[], None] | None = None, limit: int = 3) -> list[object]:
    """Return what a list names, page after page; ``meanwhile`` happens after the first page."""
    path, _, filtered = address.partition("?")
    key, name = EVERY[address]
    query = dict(part.split("=") for part in filtered.split("&")) if filtered else {}
    found: list[object] = []
    cursor: dict[str, str] = {}
    while True:
        answer = caller.get(path, **query, limit=limit, **cursor)
        assert answer.status_code == 200, answer.text
        page = answer.get_json()
        assert len(page[key]) <= limit
        assert len(page[key]) == limit or page["next"] is None, "only the last page may be shorter"
        found += [row[name] for row in page[key]]
        if page["next"] is None:
            return found
        cursor = {"cursor": page["next"]}
        if meanwhile is not None:
            meanwhile()
            meanwhile = None


def test_every_list_is_whole_page_by_page_also_while_it_grows(filled: Federation) -> None:
    """What was there at the start is told exactly once, in one order; what comes meanwhile at most once."""
    grow(filled)
    for turn, address in enumerate(LISTS):
        whole = walk(filled.admin, address, limit=500)
        assert len(whole) >= MORE, address
        assert len(set(whole)) == len(whole), address
        growing = walk(filled.admin, address, meanwhile=partial(grow, filled, 10 * (turn + 1)), limit=len(whole) // 3)
        assert len(set(growing)) == len(growing), address
        assert [name for name in growing if name in whole] == whole


def test_a_cursor_nobody_gave_is_refused_by_every_list(federation: Federation) -> None:
    """As malformed: of another list, of another kind, too large for any calendar, or no text at all."""
    texts = (
        ["\ud800"],
        ["a\x00"],
        ["0001-01-01T00:00:00+23:59", "a"],
        ["2026-01-01T00:00:00+00:00", "\udfff"],
        [2**63],
    )
    made = [base64.urlsafe_b64encode(json.dumps(text).encode()).decode() for text in texts]
    for address, cursor in product(LISTS, (*NONSENSE, *made)):
        answer = federation.admin.get(address.partition("?")[0], cursor=cursor)
        assert (answer.status_code, answer.get_json()["code"]) == (422, "malformed-message"), (address, cursor)
        assert answer.get_json()["fields"] == ["cursor"]


def test_what_a_hospital_was_asked_comes_in_pages_too(filled: Federation) -> None:
    """The same for a node, which asks with its own token."""
    with filled.services.database.session() as session:
        place = session.scalars(select(Association).where(Association.kind == "silo-study")).first()
        assert place is not None
        for number in range(MORE):
            session.add(copied(place, id=f"assoc-{number:06d}", study_id=f"study-{number:06d}"))
        token, _ = new_silo_token(session, str(place.silo_id), timedelta(days=1))
    node = Caller(filled.app.test_client(), token)
    whole = walk(node, SILO, limit=500)
    assert len(whole) > MORE
    assert walk(node, SILO) == whole
    assert node.get(SILO, cursor="W10").get_json()["code"] == "malformed-message"


def test_where_a_model_stands_and_the_matrix_come_in_pages_too(filled: Federation) -> None:
    """A model on many benchmarks, and a benchmark with many models, to whoever looks after them."""
    grow(filled)
    with filled.services.database.session() as session:
        place = session.scalars(select(Association).where(Association.kind == "model-benchmark")).first()
        assert place is not None
        digest = str(place.model_digest)
        for number in range(MORE):
            session.add(copied(place, id=f"assoc-9{number:05d}", benchmark_id=f"bench-{number:06d}"))
    entries, matrix = f"/models/{digest}/entries", "/benchmarks/chest_phantom/1/matrix"
    for address, kind, name in ((entries, "entries", "benchmark"), (matrix, "models", "model")):
        EVERY[address] = (kind, name)
        whole = walk(filled.admin, address, limit=500)
        assert len(whole) == len(set(whole)) > MORE
        assert walk(filled.admin, address) == whole
        assert filled.admin.get(address, cursor="W10").get_json()["code"] == "malformed-message"


def test_a_study_of_many_rounds_comes_in_pages(filled: Federation) -> None:
    """Every round once, scored by the sites of the round after it; put together it is what one page would tell."""
    with filled.services.database.reading() as session:
        study_id = session.scalar(select(StudyRound.study_id))
    whole = filled.admin.get(f"/studies/{study_id}", limit=500).get_json()
    assert len(whole["rounds"]) > 3
    assert any(one["score"] for one in whole["rounds"])
    for limit in (1, 2, 3):
        found = filled.admin.get(f"/studies/{study_id}", limit=limit).get_json()
        while found["next"] is not None:
            assert len(found["rounds"]) % limit == 0
            cursor = found["next"]
            found = joined(found, filled.admin.get(f"/studies/{study_id}", limit=limit, cursor=cursor).get_json())
        assert found == whole
    assert filled.admin.get(f"/studies/{study_id}", cursor="W10").get_json()["code"] == "malformed-message"


def test_the_page_of_a_study_of_many_rounds_is_no_heavier(filled: Federation) -> None:
    """It shows the last ones; its table as data has every one."""
    with filled.services.database.session() as session:
        last = session.scalars(select(StudyRound).where(~StudyRound.validate_only)).all()[-1]
        updates = session.scalars(select(StudyUpdate).where(StudyUpdate.number == last.number)).all()
        tasks = {update.task_id: session.get_one(Task, update.task_id) for update in updates}
        for number in range(100, 200):
            session.add(copied(last, number=number, base_round=number - 1))
            for place, update in enumerate(updates):
                made = copied(tasks[update.task_id], id=f"task-{number}{place:03d}")
                session.add(made)
                session.flush()
                session.add(copied(update, number=number, state="rejected", started=None, task_id=made.id))
    path = f"/studies/{last.study_id}"
    page, table = filled.app.test_client().get(path), filled.app.test_client().get(f"{path}/rounds.csv")
    assert len(page.data) < 150_000
    assert "The last 50; the CSV has all" in page.text
    assert '<th scope="row">199</th>' in page.text
    assert "\r\n120," in table.text


def test_a_steward_reaches_every_result_of_the_own_hospital(filled: Federation) -> None:
    """From the dashboard, fifty at a time, each once."""
    with filled.services.database.session() as session:
        block = session.scalars(select(EstimateBlockRow)).first()
        assert block is not None
        silo = session.get_one(Silo, block.silo_id)
        home = session.get_one(Organisation, silo.organisation_id).name
        evaluation = session.get_one(Evaluation, block.evaluation_id)
        for number in range(DASHBOARD):
            made = copied(evaluation, id=f"eval-8{number:05d}")
            session.add(made)
            session.flush()
            session.add(copied(block, digest=f"blake3:8{number:063x}", evaluation_id=made.id, state="superseded"))
    steward, path, seen = signed_in(filled, "Stew", "data-steward", organisation=home), "/dashboard", []
    while path:
        text = steward.get(path).text
        seen += re.findall(r'<a href="/account/evaluations/(eval-\w+)">', text)
        found = re.search(r'<a href="([^"]*)" rel="next"', text)
        path = unescape(found[1]) if found else ""
    assert len(seen) == len(set(seen)) == DASHBOARD + 1


def test_people_see_their_own_pages_only(filled: Federation) -> None:
    """A page is cut from what this person may see, so that what others have leaves no gap in it."""
    grow(filled)
    stranger = filled.researcher("Somebody else")
    for address in ("/evaluations", "/associations", "/studies", "/tokens"):
        assert len(walk(stranger, address, limit=1)) == (address == "/tokens")
    hidden = walk(filled.admin, "/models", limit=500)[:2]
    with filled.services.database.session() as session:
        session.get_one(Model, hidden[0]).state = "withdrawn"
        benchmark = session.scalars(select(Benchmark)).first()
        assert benchmark is not None
        model = session.get_one(Model, hidden[1])
        private = {"organisation_id": model.owner_organisation_id, "person_id": model.owner_person_id}
        session.add(
            Entry(benchmark_id=benchmark.id, model_digest=model.digest, visibility="private", attempt=1, **private)
        )
    seen = walk(stranger, "/models", limit=2)
    assert seen == [digest for digest in walk(filled.admin, "/models") if digest not in hidden]
    seen = walk(stranger, "/models?benchmark=chest_phantom", limit=2)
    assert not set(seen) & set(hidden)


def test_a_page_that_lists_leads_on_to_what_comes_after_it(filled: Federation) -> None:
    """A hundred rows and a link; the last page has none, and nonsense in the address is told."""
    steward = signed_in(filled, "Root", "hub-admin", "researcher")
    for first in range(0, 105, MORE):
        grow(filled, first)
    with filled.services.database.session() as session:
        root = session.scalars(select(Person).where(Person.name == "Root")).one()
        session.execute(update(Token).where(Token.id.startswith("tok-0")).values(person_id=root.id))
        session.execute(update(Model).values(owner_organisation_id=root.organisation_id))
    lists = ("/studies", "/benchmarks", "/account/models", "/account/tokens", "/account/benchmarks", "/admin/people")
    for path in (*lists, "/admin/silos"):
        text, visited = steward.get(path).text, 1
        while (following := re.search(r'<a href="([^"]*)" rel="next"', text)) is not None:
            answer = steward.get(unescape(following[1]))
            assert answer.status_code == 200, path
            text, visited = answer.text, visited + 1
        assert visited == (4 if path == "/benchmarks" else 2), path
        assert steward.get(f"{path}?cursor=nonsense").status_code == 422


def test_earlier_boards_are_all_reached_from_the_page_of_their_benchmark(filled: Federation) -> None:
    """The one that stands first, and once; then every earlier one, some at a time."""
    with filled.services.database.session() as session:
        standing = session.scalars(select(Snapshot).where(Snapshot.superseded_by.is_(None))).one()
        for number in range(BOARDS_SHOWN):
            row = copied(standing, digest=f"blake3:{number:064x}", superseded_by=standing.digest)
            session.add(row)
        every = {standing.digest, *session.scalars(select(Snapshot.digest))}
    client, path, seen = filled.app.test_client(), "/benchmarks/chest_phantom/1", []
    while path:
        text = client.get(path).text
        seen += re.findall(r'<a href="/snapshots/(blake3:\w+)">', text)
        found = re.search(r'<a href="([^"]*)" rel="next"', text)
        path = unescape(found[1]) if found else ""
    assert seen[0] == standing.digest
    assert sorted(seen) == sorted(every)
