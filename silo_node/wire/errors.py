"""The error tree, and the codes both sides of the door understand.

::

    MedSiloError              code, hint; the message never holds a patient's data or the refused value
    ├── ConfigError           a setting is missing, unknown or out of range
    ├── BadInput              a file, table or argument the user gave is not usable
    ├── WireError             a message is not one of ours, or the hub answered with a problem
    ├── IntegrityError        bytes are not what their digest, signature or manifest says
    ├── PolicyRefusal         a written rule says no
    ├── HubUnavailable        no connection, a proxy in the way, or a time-out; try again later
    ├── SandboxUnavailable    a task cannot be jailed here, so it is not run
    └── WorkFailed            jailed work ended without a result

Every code has an entry in ``PROBLEMS``: the HTTP status it travels with, what it means, and what to do.
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

from pydantic import Field

from silo_node.wire.base import Code, Message


class Problem(NamedTuple):
    """One entry of the registry."""

    status: int
    title: str
    hint: str


class ProblemDocument(Message):
    """An error as it travels: RFC 9457 ``application/problem+json``. It never echoes what was sent."""

    type: Annotated[str, Field(pattern=r"^https?://|^about:|^/")]
    title: str
    status: int
    code: Code
    hint: str
    fields: tuple[str, ...] = ()
    """Declared field names the refusal is about; an undeclared one is told as ``(undeclared)``."""


@dataclass
class MedSiloError(Exception):
    """Anything MedSilo refuses or cannot do, with a stable code and what to do about it."""

    code: str
    detail: str = ""
    """One sentence for the local user. It may name a file the user gave; it never travels over the wire."""

    def __post_init__(self) -> None:
        if self.code not in PROBLEMS:
            raise KeyError(f"unregistered problem code: {self.code}")
        super().__init__(str(self))

    @property
    def title(self) -> str:
        return PROBLEMS[self.code].title

    @property
    def hint(self) -> str:
        return PROBLEMS[self.code].hint

    @property
    def status(self) -> int:
        return PROBLEMS[self.code].status

    def __str__(self) -> str:
        return f"{self.title} [{self.code}]" + (f": {self.detail}" if self.detail else "")


class ConfigError(MedSiloError):
    """A setting is missing, unknown or out of range."""


class BadInput(MedSiloError):
    """Something the user gave cannot be used."""


class WireError(MedSiloError):
    """A message is not one of ours, or the other side refused it."""


class IntegrityError(MedSiloError):
    """Bytes are not what their digest, signature or manifest says."""


class PolicyRefusal(MedSiloError):
    """A written rule says no."""


@dataclass
class HubUnavailable(MedSiloError):
    """The hub cannot be reached now."""

    retry_after: float = 0.0
    """Seconds the hub has asked to be left alone, where it said so."""


class SandboxUnavailable(MedSiloError):
    """A task cannot be jailed here, so it is not run."""


class WorkFailed(MedSiloError):
    """Jailed work ended without a result."""


PROBLEMS: dict[str, Problem] = {
    # the message itself
    "malformed-message": Problem(422, "The message is not as declared", "Send only declared fields, with their types."),
    "body-not-json": Problem(400, "The body is not a JSON object", "Send one UTF-8 JSON object."),
    "body-too-large": Problem(413, "The body is too large", "Send large data through an upload, in chunks."),
    "bad-envelope": Problem(
        422, "The signature or the signed content is not valid", "Sign the canonical bytes with the enrolled key."
    ),
    "wire-version-unsupported": Problem(426, "No common wire version", "Upgrade the older side."),
    "not-found": Problem(404, "There is nothing here", "Check the address; you may also lack the right to see it."),
    "method-not-allowed": Problem(405, "That method is not offered here", "See the OpenAPI document."),
    "rate-limited": Problem(429, "Too many requests", "Wait for the time the Retry-After header gives."),
    "internal-error": Problem(500, "The hub failed", "Try again; tell the operator the request id if it stays."),
    "unavailable": Problem(503, "The hub is not ready", "Try again in a moment."),
    # who is asking
    "not-authenticated": Problem(401, "No valid token", "Send an active token as a bearer token."),
    "not-permitted": Problem(403, "This role may not do that", "Ask a person with the right role."),
    "proof-missing": Problem(401, "The request is not signed", "Upgrade the node; it signs what it hands in."),
    "proof-invalid": Problem(
        401, "The request's signature is not valid", "Sign it with the silo's key; a proxy must not change the path."
    ),
    "clock-skew": Problem(401, "The request's time is not the hub's", "Set this machine's clock, e.g. with chrony."),
    "request-replayed": Problem(409, "This very request was handed in before", "Make and sign a new one."),
    "silo-not-active": Problem(
        403, "The silo is not active", "Ask the hub's admin to compare the fingerprint and approve the silo."
    ),
    "same-person": Problem(
        403,
        "Two different persons must release it",
        "Ask a second person to look at it, under an account of their own.",
    ),
    "same-side": Problem(403, "Whoever asks cannot approve", "Let the other side decide."),
    # accounts
    "sign-in-failed": Problem(
        403, "That name and password do not fit", "Try again, or ask the hub's admin for a link."
    ),
    "sign-in-paused": Problem(429, "Too many attempts to sign in", "Wait for the time the Retry-After header gives."),
    "password-weak": Problem(
        422,
        "The password is too easy to guess",
        "Take at least 12 characters, such as four random words, and not your name.",
    ),
    "invitation-invalid": Problem(
        403, "This link was used before, or is too old", "Ask the hub's admin for a new one."
    ),
    "role-unknown": Problem(
        422, "There is no such role", "Roles: reader, researcher, benchmark-owner, data-steward, hub-admin."
    ),
    "last-admin": Problem(409, "A hub keeps at least one admin", "Give the role to somebody else first."),
    "scope-too-wide": Problem(
        403, "A token cannot do more than whoever makes it", "Ask for fewer roles or a shorter time."
    ),
    "device-code-unknown": Problem(
        404, "That code is not waiting for anybody", "Codes last 15 minutes; run medsilo login again."
    ),
    "identity-unknown": Problem(
        403,
        "Nobody here is linked to that identity",
        "Open your invitation's link first, or sign in with a password and link it on your account's page.",
    ),
    "identity-provider-failed": Problem(
        502, "The identity provider's answer does not hold", "Begin again; tell the hub's operator if it stays."
    ),
    "idempotency-mismatch": Problem(
        422, "That key was used for another request", "Use a fresh Idempotency-Key for each new request."
    ),
    "idempotency-busy": Problem(
        409, "The first request with that key is still being answered", "Repeat it in a moment, with the same key."
    ),
    # enrolment
    "enrolment-code-invalid": Problem(403, "The enrolment code is not valid", "Ask the hub's admin for a new code."),
    "enrolment-code-expired": Problem(
        403, "The enrolment code has expired", "Codes last 15 minutes; ask for a new one."
    ),
    "enrolment-code-used": Problem(
        403, "The enrolment code was used before", "Ask for a new one; tell the admin if it was not you."
    ),
    "fingerprint-mismatch": Problem(
        409, "The fingerprint is not the silo's", "Do not approve; call the hospital and compare again."
    ),
    "already-enrolled": Problem(409, "This node is enrolled already", "Unenrol it first, or use another state folder."),
    "not-enrolled": Problem(409, "This node is not enrolled", "Run silo-node enrol with a code from the hub's admin."),
    "hub-key-changed": Problem(
        409, "The hub's key is not the one pinned at enrolment", "Do not go on; ask the hub's admin by telephone."
    ),
    # state
    "state-conflict": Problem(409, "The state does not allow that", "Read the present state and decide again."),
    "already-exists": Problem(409, "That exists already", "Use another name, or the one there is."),
    "lease-lost": Problem(
        409, "The lease on this task has run out or belongs to another claim", "Drop the work and ask for a task again."
    ),
    "task-done": Problem(409, "The task has been answered already", "Nothing to do; the first answer counts."),
    # uploads
    "digest-mismatch": Problem(422, "The bytes do not match their digest", "Send the file again from the start."),
    "size-mismatch": Problem(
        422, "The bytes do not match the declared size", "Declare the true size and send all of it."
    ),
    "offset-mismatch": Problem(409, "The upload stands at another offset", "Ask for the offset and go on from there."),
    "quota-exceeded": Problem(507, "There is no room", "Free space, or ask for a larger quota."),
    "disk-full": Problem(507, "The disk is full", "Free space; work goes on by itself afterwards."),
    # benchmarks and cohorts
    "inputs-withheld": Problem(
        403,
        "A hospital on this board keeps its own results to itself",
        "Ask the benchmark's owner, who may recompute it.",
    ),
    "snapshot-differs": Problem(
        409,
        "Computed anew, the leaderboard is another one",
        "Compare the versions of the statistics, numpy and scipy it names; with the same ones, tell the hub's operator.",
    ),
    "benchmark-unknown": Problem(404, "There is no such benchmark version", "List the benchmarks."),
    "benchmark-immutable": Problem(409, "A published benchmark version cannot change", "Publish a new version."),
    "benchmark-invalid": Problem(422, "The benchmark definition is not valid", "Run medsilo benchmark check."),
    "metric-unknown": Problem(
        422, "There is no such metric for this kind of task", "Run medsilo benchmark check; it lists those there are."
    ),
    "phase-dates": Problem(
        422,
        "The dates of the phases are in the wrong order",
        "Let each phase open before it closes, and after the last.",
    ),
    "phase-unknown": Problem(
        422, "There is no such phase", "Name a phase of the benchmark; see medsilo benchmark show."
    ),
    "phase-closed": Problem(
        409, "The benchmark takes no models now", "Its phases have dates; see medsilo benchmark show."
    ),
    "parent-phase-missing": Problem(
        409,
        "The phase before must be passed first",
        "Enter a model in the parent phase; once a hospital has reported it above the floor, come again.",
    ),
    "submission-limit-day": Problem(
        429, "The organisation's entries of this day are used up", "Come again after midnight UTC."
    ),
    "submission-limit-month": Problem(
        429, "The organisation's entries of this month are used up", "Come again in the next month (UTC)."
    ),
    "submission-limit-phase": Problem(
        429, "The organisation's entries of this phase are used up", "Wait for the next phase or benchmark version."
    ),
    "model-name-differs": Problem(
        422, "A new version of a model keeps its name", "Use the earlier version's name, or submit it as another model."
    ),
    "model-not-newest": Problem(
        409, "There is a newer version of that model", "Name its newest version; see medsilo model status."
    ),
    "ladder-no-gain": Problem(
        409,
        "The model is not better than the best before by the benchmark's step",
        "Nothing is told of it: the Ladder mechanism keeps the test set from being learnt. Make a real improvement.",
    ),
    "embargo-past": Problem(422, "The embargo ends in the past", "Name a date to come, or none."),
    "entry-public": Problem(409, "What was public stays public", "Withdraw the model if it must not be listed."),
    "block-full": Problem(
        409, "A report holds fifty models at most, and this is not among them", "The benchmark's owner sets priorities."
    ),
    "consent-waiting": Problem(409, "The other side has not consented yet", "Its owner decides."),
    "already-disputed": Problem(409, "The result is disputed already", "Wait for the benchmark's owner to decide."),
    "cohort-unknown": Problem(404, "There is no such cohort", "Register the cohort first."),
    "cohort-changed": Problem(
        409, "The cohort's files are not those that were frozen", "Build a new cohort; a frozen one never changes."
    ),
    "cohort-too-small": Problem(
        422, "The cohort is smaller than the limit", "Collect more cases, or choose another benchmark."
    ),
    "cohort-not-frozen": Problem(409, "The cohort is not frozen", "Build and freeze the cohort first."),
    "cohort-leaks": Problem(
        500,
        "A patient or a picture is in two splits",
        "Report this; it is a fault of the software, and nothing was kept.",
    ),
    "query-invalid": Problem(
        422, "The cohort's query does not hold", "Use the attributes and values that silo-node privacy report lists."
    ),
    # intake
    "file-undecodable": Problem(
        422,
        "A file cannot be decoded",
        "See silo-node intake quarantine; install the missing decoder or drop the file.",
    ),
    "not-dicom": Problem(422, "A file is not DICOM", "Leave it out."),
    "sop-class-refused": Problem(422, "This kind of DICOM object is not taken in", "Only image storage classes are."),
    "pixel-risk": Problem(
        422, "The pixels may show who the patient is", "Allow it in the policy only after a person has looked."
    ),
    "duplicate-conflict": Problem(
        422, "Two files claim the same SOP Instance UID with other bytes", "Find out which is right."
    ),
    "table-column-missing": Problem(422, "The table lacks a required column", "Add the column the message names."),
    "table-duplicate-key": Problem(422, "The table names a case twice", "Keep one row a case."),
    "table-unreadable": Problem(
        422, "The table cannot be read", "Save it as UTF-8 CSV with a header line, or as Parquet."
    ),
    "label-unknown": Problem(422, "A label is not in the benchmark's list", "Correct the table."),
    "label-without-case": Problem(
        422, "The table has a label for a case that is not there", "Take in the missing case, or drop the row."
    ),
    "case-without-label": Problem(422, "A case has no label", "Add a row, or leave the case out."),
    "image-invalid": Problem(422, "An image is not usable", "Check its shape, type and spacing."),
    "series-unknown": Problem(404, "The private store has no such series", "Take it in first, or name its collection."),
    "series-too-short": Problem(
        422, "A series has too few slices for a volume", "Take it in as single images, or wait for the rest of it."
    ),
    "series-mixed": Problem(
        422,
        "The objects of a series do not belong together",
        "Its slices differ in size, kind or patient; leave it out.",
    ),
    "series-no-position": Problem(
        422, "A slice does not say where it lies", "Without position, orientation and spacing there is no volume."
    ),
    "series-orientation": Problem(
        422,
        "The slices of a series point in several directions",
        "It is a localiser or a reconstruction; leave it out.",
    ),
    "series-frame-of-reference": Problem(
        422, "The slices of a series lie in different frames of reference", "They cannot be put into one volume."
    ),
    "series-duplicate-position": Problem(
        422,
        "Two slices of a series lie at the same place",
        "It holds several time points, echoes or copies; send each as a series of its own.",
    ),
    "series-gap": Problem(422, "Slices of a series are missing", "Send the whole series again."),
    "series-spacing": Problem(
        422, "The slices of a series are not equally far apart", "Send the whole series, or one of its reconstructions."
    ),
    "series-tilted": Problem(
        422, "The slices of a series are stacked askew", "The gantry was tilted; use a reconstruction that is not."
    ),
    "series-mosaic": Problem(
        422, "The slices lie side by side in one image", "Export the series as single slices or as an enhanced object."
    ),
    "segmentation-mismatch": Problem(
        422,
        "A segmentation does not lie on its image's voxels",
        "Give the one that was drawn on this series; nothing is resampled.",
    ),
    "segmentation-ambiguous": Problem(
        422, "Several segmentations were drawn on one series", "Name one in the table's column label_path."
    ),
    "segmentation-overlap": Problem(
        422, "Two segments of a segmentation claim the same voxel", "Export it without overlaps, one label a voxel."
    ),
    "patient-missing": Problem(
        422, "Nothing says which patient an image belongs to", "Add a column patient to the table."
    ),
    "split-unknown": Problem(
        422, "The table names a split that there is not", "Use train, validation or test, or leave the cell empty."
    ),
    "patient-in-two-splits": Problem(
        422, "The table puts one patient into two splits", "Give all rows of a patient the same split."
    ),
    "identifier-leak": Problem(
        500,
        "An identifier was found in de-identified output; nothing was kept",
        "Report this; it is a fault of the software or of the profile.",
    ),
    "dataset-unknown": Problem(
        422, "The folder is in no layout that is known", "Write a table, and use silo-node intake table."
    ),
    "archive-unsafe": Problem(
        422,
        "An archive is damaged, encrypted, or unpacks to far too much",
        "Unpack it by hand, look, and take in the folder.",
    ),
    "pacs-unreachable": Problem(
        503,
        "The PACS does not answer",
        "Check host, port and firewall; run the command again, it goes on where it stopped.",
    ),
    "pacs-refused": Problem(
        403,
        "The PACS refuses this node",
        "Let the PACS's administrator enter this node's AE title, or check the credentials.",
    ),
    "pacs-certificate": Problem(
        502, "The certificate of the other side is not trusted", "Check the host name, and ca_bundle in silo.toml."
    ),
    "pacs-failed": Problem(
        502, "The PACS did not deliver", "Run the command again; what is here already is not fetched twice."
    ),
    "search-invalid": Problem(422, "The search is not one a PACS understands", "See silo-node intake pacs --help."),
    "listener-unavailable": Problem(
        409, "The node cannot listen there", "Check intake.listener in silo.toml: address, port, certificate."
    ),
    # models
    "bundle-invalid": Problem(
        422, "The bundle is not in the code-free profile", "Run medsilo model check; it names the file and field."
    ),
    "bundle-too-large": Problem(413, "The bundle is too large", "See the limits in the reference."),
    "bundle-has-code": Problem(
        422,
        "The bundle holds code or something that could run as code",
        "Send safetensors weights and a declared architecture only.",
    ),
    "bundle-archive-unsafe": Problem(
        422, "The bundle's archive is not safe to unpack", "Make it with medsilo model pack."
    ),
    "network-unknown": Problem(
        422, "The architecture is not in the registry", "Choose one that medsilo model networks lists."
    ),
    "network-argument-invalid": Problem(
        422, "An argument of the architecture is unknown or out of range", "See the registry's schema."
    ),
    "network-too-large": Problem(422, "The architecture has too many parameters", "Make it smaller."),
    "transform-unknown": Problem(422, "A transform is not in the list", "Choose one from the reference."),
    "transform-argument-invalid": Problem(
        422, "An argument of a transform is unknown or not a literal", "See the reference."
    ),
    "weights-invalid": Problem(
        422, "The weights are not a sound safetensors file", "Export them again with safetensors."
    ),
    "weights-mismatch": Problem(
        422, "The weights do not fit the architecture", "Names, shapes and dtypes must be exactly the architecture's."
    ),
    "model-not-deterministic": Problem(
        422, "The model answers the same case in two ways", "Leave out whatever is random when it predicts."
    ),
    "model-unknown": Problem(404, "There is no such model", "List the models."),
    "model-incompatible": Problem(
        422, "The model does not fit the benchmark", "Its input and output must be the benchmark's."
    ),
    "model-not-accepted": Problem(409, "The model is not accepted", "Submit it and wait for its check."),
    # updates
    "update-name-missing": Problem(422, "The update lacks a tensor", "Send exactly the global model's tensors."),
    "update-name-extra": Problem(
        422, "The update has a tensor the model lacks", "Send exactly the global model's tensors."
    ),
    "update-shape": Problem(422, "A tensor of the update has another shape", "Send exactly the global model's shapes."),
    "update-dtype": Problem(422, "A tensor of the update has another dtype", "Send exactly the global model's dtypes."),
    "update-not-finite": Problem(422, "The update holds a NaN or an infinity", "Train with a lower learning rate."),
    "update-norm": Problem(
        422, "The update's norm is over the study's bound", "Train fewer steps, or with a lower learning rate."
    ),
    "update-base": Problem(422, "The update was trained from another global model", "Train from the round's model."),
    "update-stale": Problem(409, "The round is over", "The update is recorded as late and not folded."),
    "update-unsound": Problem(422, "The update is not a sound safetensors file", "Send the file again."),
    "update-idle": Problem(
        409,
        "The update is nought, or far shorter than the others of its round",
        "It counted. Ask the site whether it trained; a cohort or learning rate unlike the others' does the same.",
    ),
    "update-repeated": Problem(
        409,
        "The update is an earlier one, or the global model's last change, once more",
        "It counted. Ask the site whether it trained; a very smooth training does the same.",
    ),
    "compression-unknown": Problem(
        422,
        "A compression level this release does not know",
        "Upgrade the older side, or plan a level both know; lossless is always one.",
    ),
    "compression-not-agreed": Problem(
        422, "The update lost more than what was agreed with the silo", "Send it at the level the task names."
    ),
    # estimates
    "estimate-not-psd": Problem(
        422, "A covariance is not positive semi-definite", "Report the fault; nothing was stored."
    ),
    "estimate-inconsistent": Problem(
        422, "An estimate does not agree with its counts", "Report the fault; nothing was stored."
    ),
    "estimate-small-cell": Problem(422, "A count is under the benchmark's limit", "The site must suppress it."),
    "estimate-wrong-task": Problem(422, "The block does not answer the task", "Send the block of the claimed task."),
    # a site's reasons to decline or fail
    "policy-benchmark": Problem(
        403, "The site does not take part in that benchmark", "The site's data steward decides."
    ),
    "policy-study": Problem(403, "The site does not take part in that study", "The site's data steward decides."),
    "policy-model-tier": Problem(403, "This kind of model is not run here", "Send a code-free bundle."),
    "container-unavailable": Problem(
        503,
        "This site has no container engine, or does not hold the model's image",
        "The site's own people load an image by its digest.",
    ),
    "policy-requester": Problem(
        403, "The site does not work for that organisation or person", "The site's data steward decides."
    ),
    "policy-purpose": Problem(
        403, "The site does not allow that purpose or legal basis", "State another, or ask the site's data steward."
    ),
    "policy-budget": Problem(
        403, "The month's budget at the site is spent", "Wait for the next month; send fewer models."
    ),
    "privacy-budget": Problem(
        403,
        "The privacy of the cohort's patients would cost more than the site allows",
        "Ask for less: a smaller epsilon, fewer rounds; what is spent does not come back.",
    ),
    "privacy-spent": Problem(
        403, "The study has used up the steps its promise was made for", "Plan more spare rounds in another study."
    ),
    "privacy-unavailable": Problem(
        503, "The packages for differential privacy are not installed here", "Install medsilo with its extra privacy."
    ),
    "network-not-private": Problem(
        422,
        "The network cannot be trained with differential privacy",
        "Run medsilo model dp-ready; it says why, and can replace batch normalisation.",
    ),
    "policy-differencing": Problem(
        403,
        "The cohort differs from an earlier one by too few patients",
        "Two reports would tell of just those; the site may add or drop more patients.",
    ),
    "budget-exceeded": Problem(
        429, "The organisation's submissions of this month are used up", "Wait for the next month."
    ),
    "policy-minimum-cohort": Problem(
        403, "The cohort is under the site's own minimum", "The site's data steward decides."
    ),
    "policy-refuses-release": Problem(403, "The site did not release the result", "The site's data steward decides."),
    "log-mismatch": Problem(
        409,
        "The hub's intake log and this site's egress log differ",
        "See which lines; what the hub has and this site never logged must be explained by the hub's operator.",
    ),
    "policy-invalid": Problem(422, "The policy file is not valid", "Run silo-node policy check."),
    "task-not-signed": Problem(422, "The task is not signed by the pinned hub key", "Nothing was run."),
    "sandbox-unavailable": Problem(
        503, "The node has no sandbox and runs nothing", "Install bubblewrap: apt-get install bubblewrap."
    ),
    "sandbox-incomplete": Problem(
        503,
        "Libraries are installed where the sandbox does not show them, so the node runs nothing",
        "Install MedSilo with all it needs in one virtual environment: python3.11 -m venv, without system packages.",
    ),
    "sandbox-escape": Problem(
        503,
        "A probe got out of the sandbox, so the node runs nothing",
        "Run silo-node doctor; it says which probe, and what holds it on other machines.",
    ),
    "sandbox-limit": Problem(422, "The work went over its limit of time, memory or disk", "Use a smaller model."),
    "work-failed": Problem(
        422, "The work ended without a result", "The site's own log says more; it does not leave the site."
    ),
    "output-invalid": Problem(422, "The jailed work wrote something that was not declared", "Nothing of it was used."),
    "report-wrong-task": Problem(
        422, "The report does not answer the task", "Send the report of the claimed round of the study."
    ),
    # studies
    "quorum-missed": Problem(
        409, "Too few updates were verified in time", "See the round's refusals; allow more time, or ask more silos."
    ),
    "study-stopped": Problem(409, "The study was stopped", "Nothing to do; what was committed stays on record."),
    "study-unknown": Problem(404, "There is no such study", "List the studies."),
    "plan-invalid": Problem(422, "The study plan does not hold", "Run medsilo study check."),
    "plan-rule-sites": Problem(
        422,
        "The quorum is too small for the rule that combines the updates",
        "Raise the quorum, assume fewer liars, or choose another rule.",
    ),
    "plan-decentralised": Problem(
        422,
        "The plan asks of a study without an aggregator what only an aggregator can do",
        "Take what the sentence names out of the plan, or the table [decentralised].",
    ),
    "plan-liars": Problem(422, "A silo has too few neighbours for the rule", "Draw more edges, or expect fewer liars."),
    "neighbour-unsound": Problem(
        422,
        "What a neighbour is said to have sent is not its own, or does not open",
        "Report it to the hub's operator and to the neighbour: somebody between you changes messages.",
    ),
    "plan-root-absent": Problem(
        422, "The trusted silo takes no part in the study", "Name one of the plan's silos as the root."
    ),
    "plan-clipping-idle": Problem(
        422,
        "No update could ever be clipped",
        "Set the clipping radius below the norm bound, or take the bound away.",
    ),
    "plan-masked-rule": Problem(
        422,
        "The rule that combines the updates would have to see single ones",
        "Take the mean, or enough groups that the rule holds over groups; FLTrust never goes with masks.",
    ),
    "plan-masked-single": Problem(
        422,
        "The plan has to look at single updates, and masks leave only their sum",
        "Take fedavg, fedavgm, fedadam or another strategy that works on the sum, and the schedule rounds; or no masks.",
    ),
    "plan-masked-sites": Problem(
        422,
        "Too few silos for secure aggregation",
        "Three silos a group at least, a threshold above half of the group and a quorum of three at least.",
    ),
    "plan-masked-members": Problem(
        422, "The plan does not name the signing key of each of its silos", "Make the plan anew with medsilo study."
    ),
    "plan-masked-compression": Problem(
        422,
        "Masked updates cannot be compressed",
        "Take compression away: words under masks are noise, which nothing makes smaller. With word_bits 16 in "
        "[secure_aggregation] they are half as long.",
    ),
    "plan-masked-bound": Problem(
        422,
        "Nobody can measure the norm of a masked update",
        "Take norm_bound away; secure_aggregation.largest_change bounds each value at the silo.",
    ),
    "plan-baseline": Problem(
        422,
        "The baseline is not the same study by plain federated averaging",
        'Write baseline = "fedavg" into the plan, and medsilo study start creates it; or name such a study of yours.',
    ),
    "plan-fedbn-idle": Problem(
        422,
        "The model's normalisation layers have no weights, so FedBN would keep nothing at the sites",
        "Set personal to none or ditto, or start from a network whose norm is group, batch, or instance with affine true.",
    ),
    "plan-not-normalisable": Problem(
        422,
        "The silos' steps cannot be made comparable with this local training",
        "Train with sgd and no proximal term, or take normalise_to away.",
    ),
    "plan-privacy-training": Problem(
        422,
        "The plan's other choices do not go with its promise of privacy",
        "The sentence says which two do not go together and what does; take one of them away.",
    ),
    "plan-privacy-weak": Problem(
        422, "The promise of privacy says too little to be called one", "Choose a smaller delta or epsilon."
    ),
    "plan-scaffold-rule": Problem(
        422, "Control variates go with the mean only", "Set robust to mean, or choose another strategy."
    ),
    "plan-scaffold-steps": Problem(
        422,
        "Control variates cannot be worked out from this local training",
        "Train with sgd, momentum 0, no proximal term and no normalise_to, and with compression none or lossless.",
    ),
    "plan-gate-unreachable": Problem(
        422, "So many vetoes may never come together", "Ask for at most as many vetoes as the quorum."
    ),
    "plan-gate-seldom": Problem(
        422,
        "A model would be judged when what came before it is no longer kept",
        "Score the model more often, or take the gate away.",
    ),
    "plan-not-buffered": Problem(
        422,
        "With models of several ages at work this cannot be told of one of them",
        "Set the schedule to rounds, or take what the sentence names away.",
    ),
    "model-vetoed": Problem(
        409, "Sites vetoed the global model", "Nothing to do; the study goes on from the last one that was not."
    ),
    "stop-rule-met": Problem(409, "The study's stop rule was met", "Nothing to do; the best model is registered."),
    "not-evaluated": Problem(422, "The plan does not score this round's model", "See the next scored round."),
    # statistics
    "too-few-cases": Problem(422, "Too few cases", "The value is left undefined."),
    "too-few-positives": Problem(422, "Too few cases of the class", "The value is left undefined."),
    "too-few-negatives": Problem(422, "Too few cases outside the class", "The value is left undefined."),
    "too-few-sites": Problem(422, "Too few sites", "The value is left out until more sites report."),
    # secure aggregation
    "masking-overflow": Problem(
        422,
        "A value does not fit the words of secure aggregation",
        "Train with a lower learning rate, or raise largest_change in a new plan; for many cases take word_bits 32.",
    ),
    "masking-key": Problem(422, "A key, ciphertext or sealed share of a round is not sound", "Report it to the hub."),
    "masking-share": Problem(422, "Shares of a secret do not belong together", "The round is void and tried again."),
    "masking-incomplete": Problem(
        500, "A mask is left in the sum", "The round is void: a sum is exact, or there is none."
    ),
    "masking-roster": Problem(
        422,
        "The roster of a masked round is not the one the plan allows",
        "Report it: the hub shows silos, keys or survivors that were not agreed to.",
    ),
    "masking-answered": Problem(
        409,
        "This silo has helped to open another sum of the same round",
        "Two sums that differ by one silo would tell its update; go on with the next round.",
    ),
    "masking-closed": Problem(409, "That step of the masked round is over", "Nothing to do; the round goes on."),
    "masking-void": Problem(409, "Too few silos were left for a sum", "The round is tried again by itself."),
    # the user's side
    "config-missing": Problem(400, "A setting is missing", "Add it to the configuration file."),
    "config-unknown-key": Problem(
        400, "The configuration has an unknown key", "Correct the spelling; the message suggests a name."
    ),
    "config-invalid": Problem(400, "A setting has a wrong value", "See the reference of settings."),
    "file-missing": Problem(400, "A file or folder is not there", "Check the path."),
    "backup-invalid": Problem(
        422, "The backup is not whole", "Restore another one; nothing of this one was put in place."
    ),
    "backup-failed": Problem(500, "The hub could not be copied", "See what refused it; nothing was kept."),
    "backup-tool-missing": Problem(
        503,
        "One of PostgreSQL's own programs is not installed here",
        "Install the server's client programs, of its release or a newer one: apt-get install postgresql-client.",
    ),
    "hub-unreachable": Problem(
        503, "The hub cannot be reached", "Check network, proxy and address; work goes on by itself once it is back."
    ),
    "hub-answer-unreadable": Problem(
        502, "Something between here and the hub answered in its place", "Look for a proxy or captive portal."
    ),
    "log-broken": Problem(500, "The egress log's chain is broken", "Stop the node and find out who changed the file."),
    "data-missing": Problem(400, "The data set is not there", "Give the folder with --data, see its README."),
    "console-password-weak": Problem(400, "The password is too easy to guess", "Take four or more random words."),
    "console-name-invalid": Problem(400, "That is no name for a person of this site", "Use your user name."),
    "console-login-failed": Problem(403, "That name and password do not fit", "Try again, or ask for a one-time link."),
    "console-login-paused": Problem(
        429, "Too many wrong passwords", "Wait five minutes, or make a link with silo-node console --link."
    ),
    "console-link-spent": Problem(
        403, "This link was used before, or is too old", "Make a new one with silo-node console --link."
    ),
    "console-port-in-use": Problem(409, "Something listens on the console's port", "Choose another one with --port."),
    "console-form-stale": Problem(403, "The form is not from this session", "Open the page again and repeat it."),
    "software-changed": Problem(
        409,
        "What is installed is not what it was",
        "If nobody here meant to change it, take the machine off the network and install it anew.",
    ),
    "state-locked": Problem(409, "Another process uses this state folder", "Stop it first."),
}
