"""A study asks to be let in: the policy decides, or a person does, and the signed yes or no waits in the outbox."""

import logging
from typing import Final

from silo_node.identity import Identity
from silo_node.journal import Journal
from silo_node.outbox.box import Item, Outbox
from silo_node.policy import Asker, Decision, decide_consent, load_policy, offered_levels
from silo_node.privacy.outlook import Outlook
from silo_node.state import Home
from silo_node.wire.canonical import message_digest
from silo_node.wire.cohorts import AssociationDecision
from silo_node.wire.envelope import Envelope, open_envelope, seal
from silo_node.wire.errors import BadInput, IntegrityError, MedSiloError
from silo_node.wire.studies import StudyConsentRequest

KIND: Final = "association-decision"
_LOG = logging.getLogger("silo_node.agent")


def consider(home: Home, identity: Identity, journal: Journal, request: StudyConsentRequest) -> Item | None:
    """Decide on a study once; return the item in the outbox, or None where it was decided before.

    Raises :class:`IntegrityError` ``hub-key-changed`` where the request names another hub than the one pinned.
    """
    if request.hub_public_key != identity.enrolment.hub_public_key:
        raise IntegrityError("hub-key-changed")
    # Cohorts are imported when a study asks for the first time: a node that waits stays small.
    from silo_node.agent.holdings import training_cases

    outbox = Outbox(journal)
    if outbox.about(KIND, request.association_id) is not None:
        return None
    asker = Asker(request.organisation, request.requested_by)
    cases = training_cases(home, request.plan.benchmark)
    decision = _decided(home, journal, request, cases, asker)
    _remember(journal, request)
    approve = decision.verdict != "refuse"
    envelope = seal(
        AssociationDecision(
            association_id=request.association_id,
            silo_id=identity.silo_id,
            approve=approve,
            reason=decision.code,
            sealing_key=_sealing_key(home, identity, request) if approve else None,
            levels=_levels(home, request) if approve else None,
        ),
        identity.key,
    )
    release = decision if approve else Decision("allow", decision.code, decision.rule)
    _LOG.info("study asks for consent", extra={"study": request.study_id, "verdict": decision.verdict})
    return outbox.add(KIND, request.association_id, envelope, release)


def outlook_of(home: Home, journal: Journal, request: StudyConsentRequest) -> Outlook | None:
    """Return what a study would cost the patients of this site's cohort; None where there is no cohort for it."""
    from silo_node.privacy.account import PrivacyAccount

    return PrivacyAccount(home, journal).outlook(request.plan, load_policy(home), request.study_id)


def _decided(home: Home, journal: Journal, request: StudyConsentRequest, cases: int | None, asker: Asker) -> Decision:
    try:
        outlook = outlook_of(home, journal, request)
    except MedSiloError as error:
        return Decision("refuse", error.code, "privacy", error.title)
    return decide_consent(load_policy(home), request.plan, cases, asker, outlook)


def _sealing_key(home: Home, identity: Identity, request: StudyConsentRequest) -> Envelope | None:
    """Return the signed key under which neighbours shall encrypt for this site; None where there are none."""
    if request.plan.decentralised is None:
        return None
    from silo_node.neighbours.own import OwnPart, public_key

    own = OwnPart.of(home, request.study_id)
    digest = message_digest(request.plan)
    return seal(public_key(own.keys, request.study_id, identity.silo_id, digest), identity.key)


def _levels(home: Home, request: StudyConsentRequest) -> tuple[str, ...] | None:
    """Return the compression levels this site offers, where the study's updates are compressed."""
    return None if request.plan.compression.level == "none" else offered_levels(load_policy(home))


def decline_held(journal: Journal, identity: Identity, item: Item, by: str | None = None) -> Item:
    """Turn a yes that waits for a person, or was given before, into a signed no on its way out."""
    decision = AssociationDecision(
        association_id=item.subject, silo_id=identity.silo_id, approve=False, reason="policy-study"
    )
    return Outbox(journal).release(item.item_id, by, instead=seal(decision, identity.key))


def end_consent(journal: Journal, identity: Identity, study_id: str, by: str | None = None) -> Item:
    """Turn a yes that was given into a signed no: no round runs here from now on, whenever the hub hears of it.

    Raises :class:`BadInput` ``not-found`` where the study never asked, ``state-conflict`` where there is no yes to end.
    """
    rows = journal.rows("SELECT association_id FROM consent WHERE study_id = ?", (study_id,))
    item = Outbox(journal).about(KIND, rows[0]["association_id"]) if rows else None
    if item is None:
        raise BadInput("not-found", "see silo-node status for the studies of this node")
    if not may_end(item):
        raise BadInput("state-conflict", "there is no consent to end")
    return decline_held(journal, identity, item, by)


def may_end(item: Item) -> bool:
    """Tell whether an answer to a study is a yes that the hub has acknowledged."""
    said = AssociationDecision.model_validate_json(item.envelope.payload_bytes())
    return item.state == "acknowledged" and said.approve


def agreed_plan(journal: Journal, identity: Identity, study_id: str) -> str | None:
    """Return the digest of the plan this site has said yes to, or None where it has not."""
    rows = journal.rows("SELECT association_id, plan_digest FROM consent WHERE study_id = ?", (study_id,))
    item = Outbox(journal).about(KIND, rows[0]["association_id"]) if rows else None
    if item is None or item.state not in ("released", "sent", "acknowledged"):
        return None
    approved = open_envelope(item.envelope, AssociationDecision, identity.enrolment.public_key).approve
    return str(rows[0]["plan_digest"]) if approved else None


def request_of(journal: Journal, association_id: str) -> StudyConsentRequest | None:
    """Return what a study asked, whole, for a person to read."""
    rows = journal.rows("SELECT request FROM consent WHERE association_id = ?", (association_id,))
    return StudyConsentRequest.model_validate_json(rows[0]["request"]) if rows else None


def request_of_study(journal: Journal, study_id: str) -> StudyConsentRequest | None:
    """Return what a study asked, by the study's id."""
    rows = journal.rows("SELECT request FROM consent WHERE study_id = ?", (study_id,))
    return StudyConsentRequest.model_validate_json(rows[0]["request"]) if rows else None


def _remember(journal: Journal, request: StudyConsentRequest) -> None:
    with journal.writing() as connection:
        connection.execute(
            "INSERT OR REPLACE INTO consent VALUES (?,?,?,?,?)",
            (
                request.study_id,
                request.association_id,
                request.model_dump_json(),
                message_digest(request.plan),
                journal.now(),
            ),
        )
