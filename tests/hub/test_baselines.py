"""A study beside its baseline: the same one by plain federated averaging, which the plan names beforehand."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from federation_hub.accounts.service import add_person
from federation_hub.client.hub import Hub
from federation_hub.client.plans import PlanFile
from federation_hub.client.studies import create_study, print_report, study_report
from federation_hub.config import HubConfig
from federation_hub.studies.baseline import averaging_twin
from silo_node.wire.studies import RoundTask
from tests.hub.running import START, Federation, running_hub
from tests.sites import toy_plan


@pytest.fixture
def federation(hub_config: HubConfig, tmp_path: Path) -> Iterator[Federation]:
    with running_hub(hub_config) as hub:
        made = Federation(hub, tmp_path)
        yield made
        made.close()


def test_a_study_is_shown_beside_plain_averaging_over_the_same_sites(
    federation: Federation, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both are studies that every site agrees to by itself; report and page have both scores of each site."""
    with federation.hub.services.database.session() as session:
        token = add_person(session, name="Grace", organisation="University", roles=["researcher"])
    hub = Hub(federation.hub.url, token)
    words = {"name": "compared", "title": "Compared", "benchmark": "toy", "model": federation.model.digest}
    file = {**words, "silos": tuple(site.silo_id for site in federation.sites), "rounds": 1, "deadline_seconds": 30}
    asked = PlanFile.model_validate({**file, "strategy": "fedadam", "baseline": "fedavg"})
    study_id, baseline = create_study(hub, asked)
    federation.agree()
    for created in (study_id, baseline):
        hub.start_study(created)
    for _ in range(4):
        for site, door in zip(federation.sites, federation.doors, strict=True):
            task = site.claim(door)
            assert isinstance(task.body, RoundTask)
            score = 0.75 if task.body.study_id == study_id else 0.625
            if task.body.validate_only:
                site.report(door, task, None, score=score)
            else:
                ones = {name: np.ones_like(array) for name, array in START.items()}
                site.send(door, task, ones, score=score)
    for created in (study_id, baseline):
        federation.researcher.wait_for(created, "completed")
    study, other = hub.study(study_id), hub.study(baseline)
    assert study["plan"]["baseline"] == baseline
    assert (study["plan"]["strategy"]["name"], other["plan"]["strategy"]["name"]) == ("fedadam", "fedavg")
    print_report(study, other)
    lines = [line for line in capsys.readouterr().out.splitlines() if "Site " in line]
    assert len(lines) == 3
    assert all("0.75" in line and "0.625" in line for line in lines)
    assert study_report(other)["curves"][0]["points"][-1]["score"] == 0.625
    assert f'href="/studies/{baseline}"' in federation.researcher.page(f"/studies/{study_id}")
    table = federation.researcher.page(f"/studies/{study_id}/beside.csv").splitlines()
    assert table[-1].endswith("0.75,,,0.625")


def test_a_baseline_is_of_the_own_organisation_and_differs_in_the_strategy_only(federation: Federation) -> None:
    """Else a study could be shown beside a baseline that was never given a chance."""
    plan = toy_plan(federation.model, federation.sites, strategy="fedadam")
    twin = federation.create(averaging_twin(plan))
    longer = federation.create(averaging_twin(plan.model_copy(update={"rounds": 3})))
    for baseline in ("study-000000000000", longer):
        body = plan.model_copy(update={"baseline": baseline}).model_dump_json()
        answer = federation.researcher.ask("POST", "/studies", body)
        assert (answer.status_code, answer.json()["code"]) == (422, "plan-baseline")
    assert federation.create(plan.model_copy(update={"baseline": twin}))
