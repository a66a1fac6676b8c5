"""One test a threat of ``docs/explanation/threat-model.md``: the control holds, and without it the attack succeeds.

Where a threat has tests of its own elsewhere, the page names them and the last test here checks that they exist.
"""

import ast
import json
import re
import tracemalloc
import zipfile
from collections.abc import Callable
from math import log2
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from benchmarks.statistics.blocks import SiteBlock, site_block
from benchmarks.statistics.leaderboard import ModelEntry, build_leaderboard
from benchmarks.statistics.rules import benchmark_rules
from federation_hub.models.inspection import judge_bundle
from silo_node.agent.estimation import estimate
from silo_node.agent.scores import keep_scores, read_scores
from silo_node.journal import Journal
from silo_node.masking import protocol
from silo_node.policy import Policy, RoundRequest, decide_consent, decide_round
from silo_node.policy.bits import block_bits
from silo_node.policy.differencing import Told, decide_difference
from silo_node.state import Home
from silo_node.wire.benchmarks import BenchmarkReference, DisclosureLimits, MetricSpec
from silo_node.wire.canonical import canonical_bytes, message_digest
from silo_node.wire.cohorts import AssociationDecision
from silo_node.wire.envelope import BadEnvelope, Envelope, new_key, open_envelope, public_key_text, seal
from silo_node.wire.errors import MedSiloError, PolicyRefusal
from silo_node.wire.models import ModelReference
from silo_node.wire.studies import StudyPlan
from tests.conftest import HubProcess
from tests.hostile.corpus import CORPUS
from tests.silo.preparations import classification
from tests.sites import TOY, Person, Site
from tests.unit.masking.rounds import advertised, confirmed, masked_mean, opened, seeded, shared, silo_ids

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "explanation" / "threat-model.md"
DIGEST = "blake3:" + "a" * 64
POLICY = Policy.model_validate_json('{"benchmarks": {"allow": ["little_xray"]}, "studies": {"others": "auto"}}')


def plan(**changes: Any) -> StudyPlan:
    values = {
        "name": "lungs",
        "title": "Lungs",
        "benchmark": BenchmarkReference(name="little_xray", version=1, digest=DIGEST),
        "model": ModelReference(digest=DIGEST, size=10),
        "silos": ("silo-aaaaaaaa", "silo-bbbbbbbb", "silo-cccccccc"),
        "rounds": 3,
        "quorum": 2,
        "deadline_seconds": 60,
        **changes,
    }
    return StudyPlan.model_validate(values)


def block(
    labels: list[int], scores: list[float], folder: Path, limits: DisclosureLimits | None = None
) -> dict[str, Any]:
    """Return the computed part of a site's block for one model, exactly as the node computes it."""
    return block_of_many(labels, [scores], folder, limits)


def block_of_many(
    labels: list[int], models: list[list[float]], folder: Path, limits: DisclosureLimits | None = None
) -> dict[str, Any]:
    """Return the computed part of a site's block for several models."""
    definition = classification()
    kept = limits or definition.disclosure
    cases = [(f"{place:016x}", f"{place:016x}", label, {}) for place, label in enumerate(labels)]
    for number, scores in enumerate(models):
        sheet = folder / "sheet"
        lines = [
            {
                "case": case, "patient": case, "label": 0, "failed": False, "scores": [1 - score, score],
                "structures": None, "seconds": 0.01, "peak_memory_mb": 200.0, "attributes": {},
            }
            for (case, *_), score in zip(cases, scores, strict=True)
        ]  # fmt: skip
        sheet.write_text("".join(json.dumps(line) + "\n" for line in lines))
        keep_scores(read_scores(sheet, [case[0] for case in cases]), folder / f"kept{number}")
    job = {
        "definition": definition.model_dump(mode="json"),
        "digest": message_digest(definition),
        "seed": 1,
        "limits": kept.model_dump(mode="json", include={"minimum_class", "minimum_cell", "decimals"}),
        "cases": cases,
        "models": [str(folder / f"kept{number}") for number in range(len(models))],
    }
    return {**json.loads(json.dumps(estimate(job))), "limits": kept.model_dump(mode="json")}


def test_a_plan_or_a_task_with_one_changed_byte_is_refused() -> None:
    """Threat 2. What was agreed to is a digest, and what is run is signed by the pinned key."""
    agreed = message_digest(plan())
    changed = message_digest(plan(rounds=4))
    assert decide_round(POLICY, RoundRequest("little_xray", 100, agreed, agreed)).verdict == "allow"
    assert decide_round(POLICY, RoundRequest("little_xray", 100, changed, agreed)).code == "policy-study"
    hub = new_key()
    sealed = seal(plan(), hub)
    other = seal(plan(rounds=4), hub)
    forged = Envelope.model_validate(sealed.model_dump() | {"payload": other.payload})
    pinned = public_key_text(hub.public_key())
    assert open_envelope(sealed, StudyPlan, pinned) == plan()
    with pytest.raises(BadEnvelope):
        open_envelope(forged, StudyPlan, pinned)
    # Without the signature nothing tells them apart: the forged plan is a sound message.
    assert StudyPlan.model_validate_json(forged.payload_bytes()) == plan(rounds=4)


def test_two_reports_do_not_tell_of_one_patient(tmp_path: Path) -> None:
    """Threat 7. Each keeps every limit, and their difference is one patient's label; the second is refused."""
    generator = np.random.default_rng(3)
    scores = [float(value) for value in generator.uniform(0.1, 0.9, 81)]
    labels = [place % 2 for place in range(80)]
    for secret in (0, 1):
        first = block(labels, scores[:80], tmp_path)["classes"][0]
        second = block([*labels, secret], scores, tmp_path)["classes"][0]
        assert second["positives"] - first["positives"] == secret, "without the control the label is read off"
    journal = Journal(Home(tmp_path / "silo").create())
    told, patients = Told(journal), frozenset(f"{place:016x}" for place in range(81))
    told.remember("little_xray", "first", frozenset(sorted(patients)[:80]))
    earlier = told.others("little_xray", "second")
    assert decide_difference(10, patients, earlier).code == "policy-differencing"
    assert decide_difference(10, frozenset(sorted(patients)[1:81]), earlier).code == "policy-differencing"
    assert decide_difference(10, frozenset(sorted(patients)[:80]), earlier).verdict == "allow"
    assert decide_difference(1, patients, earlier).verdict == "allow"
    assert told.others("little_xray", "first") == {}
    journal.close()


def test_a_small_class_is_told_neither_directly_nor_by_what_is_left(tmp_path: Path) -> None:
    """Threat 7. The site's own minimum counts where it is stricter than the benchmark's."""
    generator = np.random.default_rng(3)
    labels = [1] * 25 + [0] * 60
    scores = [float(value) for value in generator.uniform(0.1, 0.9, 85)]
    assert block(labels, scores, tmp_path)["classes"][0]["positives"] == 25
    strict = DisclosureLimits(minimum_class=30)
    entry = block(labels, scores, tmp_path, strict)["classes"][0]
    assert (entry["positives"], entry["negatives"]) == (None, None)
    assert all(metric["status"] == "undefined" for metric in entry["metrics"])


def test_a_site_with_five_cases_answers_as_one_with_none() -> None:
    """Threat 8. A hub that asks around for a rare disease learns nothing from the noes."""

    def answer(cases: int | None) -> bytes:
        decision = decide_consent(POLICY, plan(), cases)
        no = AssociationDecision(
            association_id="assoc-12345678", silo_id="silo-12345678", approve=False, reason=decision.code
        )
        assert decision.verdict == "refuse"
        return canonical_bytes(no)

    assert answer(None) == answer(0) == answer(5) == answer(19)
    assert decide_consent(POLICY, plan(), 20).verdict == "allow"
    # A site that said what it found would tell: to a hub whose study it has joined it does.
    agreed = message_digest(plan())
    codes = [decide_round(POLICY, RoundRequest("little_xray", cases, agreed, agreed)).code for cases in (None, 5)]
    assert codes == ["cohort-unknown", "policy-minimum-cohort"]


def test_no_round_runs_without_this_sites_yes_to_the_whole_plan() -> None:
    """Threats 9 and 14. Neither a study nobody agreed to, nor the same one with another roster or purpose."""
    agreed = message_digest(plan())
    assert decide_round(POLICY, RoundRequest("little_xray", 100, agreed, None)).code == "policy-study"
    for change in ({"silos": ("silo-aaaaaaaa", "silo-bbbbbbbb")}, {"purpose": "product-development"}, {"quorum": 1}):
        asked = message_digest(plan(**change))
        assert decide_round(POLICY, RoundRequest("little_xray", 100, asked, agreed)).code == "policy-study"
        # Nothing but the comparison with what was agreed to stands between: each is a plan this site could run.
        assert decide_round(POLICY, RoundRequest("little_xray", 100, asked, asked)).verdict == "allow"


def test_two_sums_of_one_round_that_differ_by_a_site_are_not_both_opened(tmp_path: Path) -> None:
    """Threat 14. Each is an honest sum over enough sites, and their difference is one site's update."""
    generator, ids, weights = np.random.default_rng(5), silo_ids(4), (30, 20, 40, 25)
    updates = {silo_id: {"w": generator.normal(0, 0.1, 50).astype(np.float32)} for silo_id in ids}
    sums = []
    for name, vanished in (("whole", ()), ("one less", (3,))):
        (tmp_path / name).mkdir()
        mean = load_file(masked_mean(tmp_path / name, updates, weights, never_send=vanished))["w"]
        sums.append(mean.astype(np.float64) * sum(weights[place] for place in range(4) if place not in vanished))
    np.testing.assert_allclose((sums[0] - sums[1]) / weights[3], updates[ids[3]]["w"], atol=1e-5)
    sites = seeded(shared(advertised(weights)))
    answered = protocol.close(opened(confirmed(sites, ids))[0].session)
    second = confirmed(sites[:3], ids[:3])[0].session.model_copy(update={"task_id": "task-000099"})
    with pytest.raises(PolicyRefusal, match="masking-answered"):
        protocol.refuse_second_sum(second, [answered])


def test_a_model_that_knows_one_hospitals_cases_or_answers_all_alike_gains_nothing(tmp_path: Path) -> None:
    """Threat 16. It would lead where its hospital is the only one; over several its failure elsewhere is shown."""
    random, reports = np.random.default_rng(4), []
    for site in range(4):
        labels = [place % 2 for place in range(160)]
        truth = np.array(labels, float)
        honest = 1 / (1 + np.exp(-(1.6 * truth - 0.8 + random.normal(0, 1, 160))))
        knows = 0.05 + 0.9 * truth if site == 0 else random.uniform(0.1, 0.9, 160)
        rows = [list(map(float, scores)) for scores in (honest, knows, np.full(160, 0.5))]
        found = block_of_many(labels, rows, tmp_path)
        report = {**found, "silo_id": f"site{site}", "models": ["honest", "knows", "alike"], "finished": "2026-01-01"}
        reports.append(site_block(report, digest=f"block{site}"))
    metric = MetricSpec(name="auroc", primary=True, floor=0.6)
    definition = classification().model_copy(update={"metrics": (metric,)}).model_dump(mode="json")
    models = [ModelEntry(name, name, False) for name in ("honest", "knows", "alike")]

    def board(reported: list[SiteBlock], minimum_sites: int) -> list[dict[str, Any]]:
        limits = definition["disclosure"] | {"minimum_sites": minimum_sites}
        rules = benchmark_rules(definition | {"disclosure": limits}, digest=DIGEST)
        names = [report.site for report in reported]
        return list(build_leaderboard(rules, reported, models, seed=1, named_sites=names)["rows"])

    assert board(reports[:1], 1)[0]["model"] == "knows", "one hospital alone would be taken in"
    rows = {row["model"]: row for row in board(reports, 3)}
    assert next(iter(rows)) == "honest"
    assert rows["honest"]["worst_site"]["estimate"] > 0.6 > rows["knows"]["worst_site"]["estimate"]
    assert rows["alike"]["estimate"] == 0.5


def with_auroc(pairs: int) -> tuple[list[int], list[float]]:
    """Return labels and scores of 100 cases each whose AUROC is ``pairs`` of 10,000: a channel for one number."""
    above = [pairs // 100 + (place < pairs % 100) for place in range(100)]
    return [0] * 100 + [1] * 100, [_at(2 * place) for place in range(100)] + [_at(2 * count - 1) for count in above]


def _at(step: int) -> float:
    return float(1 / (1 + np.exp(-(step - 100) / 16)))


def test_what_is_smuggled_through_a_score_fits_the_bits_that_are_booked(tmp_path: Path) -> None:
    """Threat 18. A model that knows the labels encodes a number in its AUROC; each decimal less takes its bits away."""
    secrets = [17, 4242, 4243, 9999]
    fine, coarse = DisclosureLimits(decimals=4), DisclosureLimits(decimals=2)

    def told(pairs: int, limits: DisclosureLimits) -> float:
        labels, scores = with_auroc(pairs)
        return float(block(labels, scores, tmp_path, limits)["classes"][0]["metrics"][0]["theta"][0])

    assert [round(told(secret, fine) * 10_000) for secret in secrets] == secrets, "the channel is real"
    assert told(4242, coarse) == told(4243, coarse), "and closed by rounding"
    labels, scores = with_auroc(4242)
    booked = {}
    for limits in (fine, coarse):
        found = block(labels, scores, tmp_path, limits)
        metric = found["classes"][0]["metrics"][0]
        step = 10**limits.decimals
        booked[limits.decimals] = block_bits(found)
        only = block_bits(
            {"limits": found["limits"], "cases": 200, "classes": [{"metrics": [{"theta": metric["theta"]}]}]}
        )
        assert only == pytest.approx(log2(step + 1))
    assert booked[2] < booked[4]


def test_a_bomb_is_refused_in_constant_memory(tmp_path: Path) -> None:
    """Threat 22. Fifty megabytes of nothing are never unpacked; a reader that unpacks first would hold them all."""
    bomb = next(entry for entry in CORPUS if entry.name == "zip bomb")
    path = bomb.make(tmp_path)

    def refuse() -> None:
        with pytest.raises(MedSiloError):
            judge_bundle(path, None)

    def unpack() -> None:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                archive.read(name)

    assert peak(refuse) < 2_000_000
    assert peak(unpack) > 50_000_000


def peak(call: Callable[[], None]) -> int:
    """Return the most memory a call held, in bytes."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_no_secret_is_in_any_log_or_error(hub: HubProcess, tmp_path: Path) -> None:
    """Threat 21. Neither the site's key nor its token, on either side, whatever was refused meanwhile."""
    admin = Person(hub.url, hub.admin_token)
    if not admin.ask("GET", f"/benchmarks/{TOY.name}/{TOY.version}").ok:
        admin.do("POST", "/benchmarks", canonical_bytes(TOY))
    site = Site.join(tmp_path / "silo", hub.url, admin, "Secretive")
    connection = site.dial()
    connection.status()
    with pytest.raises(MedSiloError) as refused:
        connection.retire_cohort("coh-nothere1")
    connection.close()
    key = site.home.key_file.read_text().splitlines()[1]
    secrets = [key, site.home.token_file.read_text().strip(), hub.admin_token]
    logs = [*site.home.logs.rglob("*"), hub.home.parent / f"{hub.home.name}.log"]
    texts = [path.read_text(errors="replace") for path in logs if path.is_file()] + [str(refused.value)]
    assert len(texts) >= 2
    assert not [secret for secret in secrets for text in texts if secret in text]
    # The search can fail: a log with one secret in it is found.
    texts.append(f"claimed with {secrets[1]}")
    assert [secret for secret in secrets for text in texts if secret in text] == [secrets[1]]


def test_every_test_the_threat_model_names_exists() -> None:
    """So that a control cannot lose its test without the page losing its claim."""
    named = re.findall(r"`(tests/[a-z_/]+\.py)::(\w+)`", PAGE.read_text("utf-8"))
    assert len(named) >= 20
    for path, name in named:
        tree = ast.parse((ROOT / path).read_text("utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, f"{path}::{name}"
