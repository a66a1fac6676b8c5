"""What a check finds, and the list of all checks: each code, what it looks at, and what to do where it is not well.

Codes stay what they are, so that a ticket from one hospital can be understood in another. The reference page is made
from this list.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

Verdict = Literal["well", "warning", "failed", "skipped"]
DOCUMENTED = "docs/reference/doctor.md"


class Card(NamedTuple):
    """One entry of the list of checks."""

    title: str
    means: str
    remedy: str


CARDS: dict[str, Card] = {
    "SN-CFG-001": Card(
        "The configuration can be read",
        "`silo.toml` is TOML, has only declared keys, and every value is in its range.",
        "Correct the key the finding names; the reference of settings lists all of them.",
    ),
    "SN-CFG-002": Card(
        "The policy can be read, and somebody wrote it",
        "Without `policy.toml` nothing is taken part in, and everything that would leave waits for a person.",
        "Run silo-node benchmark join NAME, or write policy.toml; silo-node policy check tells what is wrong.",
    ),
    "SN-PRM-001": Card(
        "Private files are private",
        "Keys, the token, the private store and the journal are readable by their owner alone.",
        "Run chmod go-rwx on the files the finding names.",
    ),
    "SN-DSK-001": Card(
        "There is room for work",
        "No task is taken while the state folder's disk has less room than `limits.disk_free_mb`.",
        "Free space, retire old cohorts, or lower limits.disk_free_mb.",
    ),
    "SN-SBX-001": Card(
        "A process can be jailed",
        "bubblewrap is installed, and may make namespaces. Without it the node runs nothing.",
        "Install bubblewrap (apt-get install bubblewrap), and allow user namespaces.",
    ),
    "SN-SBX-002": Card(
        "Nothing gets out of the jail",
        "A program in the jail tries the network, other files, other processes, memory and more. While one attempt "
        "succeeds, the node takes no work.",
        "Stop using this machine for models; tell the maintainers the names of the probes that got out.",
    ),
    "SN-LOG-001": Card(
        "The chain of the egress log holds",
        "No line of the log of everything that left was changed, dropped or moved.",
        "Stop the node and find out who changed logs/egress.jsonl.",
    ),
    "SN-SVC-001": Card(
        "The node runs",
        "Its health file says that its loop turned within the last minute.",
        "Start it: silo-node start, or systemctl start silo-node.",
    ),
    "SN-VER-001": Card(
        "The libraries are there, in versions that work",
        "What this release was made for: MONAI from 1.6.1 on, pydicom 3, torch.",
        "Install the silo extra again: pip install 'medsilo[silo]'.",
    ),
    "SN-VER-002": Card(
        "Node and hub speak one language",
        "They have a wire version in common, and this release is not older than the hub recommends.",
        "Run silo-node upgrade --check, and upgrade the older side.",
    ),
    "SN-NET-001": Card(
        "The hub answers",
        "The one connection this node needs: outgoing HTTPS to the hub's address.",
        "Check network, firewall, proxy and address; the other SN-NET codes narrow it down.",
    ),
    "SN-NET-002": Card(
        "The connection is encrypted",
        "The hub's address begins with https, or the hub is on this machine.",
        "Use the hub's https address.",
    ),
    "SN-NET-003": Card(
        "The hub shows the key that was pinned at enrolment",
        "Whoever shows another key is not the hub this site joined. Nothing of it is run.",
        "Do not go on; call the hub's admin by telephone.",
    ),
    "SN-NET-004": Card(
        "The proxy answers",
        "Where a forward proxy is set (`proxy` in silo.toml, or HTTPS_PROXY), it accepts connections to the hub.",
        "Correct the proxy's address, or ask its admin to allow CONNECT to the hub's host and port.",
    ),
    "SN-NET-005": Card(
        "The certificate is trusted, and lasts",
        "It is issued by an authority of this system or of `ca_bundle`, for the hub's name, and is good for two more "
        "weeks. A certificate of a hospital's own authority means that a proxy opens TLS; signatures keep integrity.",
        "Where a proxy inspects TLS: put its authority's certificate, as PEM, into a file and name it in ca_bundle.",
    ),
    "SN-NET-006": Card(
        "The hub's name resolves",
        "This machine's name servers know the hub's host. Behind a forward proxy the proxy resolves it.",
        "Check the hub's address and this machine's DNS settings.",
    ),
    "SN-NET-007": Card(
        "The hub lets this site in",
        "The token is accepted and the site is active at the hub.",
        "Ask the hub's admin to compare the fingerprint and approve the site, or why it was suspended.",
    ),
    "SN-CLK-001": Card(
        "The clocks agree",
        "This machine's clock and the hub's differ by less than a minute. Signed requests are good for two minutes.",
        "Set the clock, for example with chrony.",
    ),
    "SN-DCM-001": Card(
        "DICOM is taken in and de-identified",
        "A made-up X-ray with a made-up patient's name is taken in, and the name is found nowhere afterwards.",
        "Report this; do not take in patients' images until it is well.",
    ),
    "SN-DCM-002": Card(
        "Compressed images can be decoded",
        "Decoders for JPEG, JPEG 2000 and RLE are installed. A file without its decoder goes to quarantine.",
        "Install pylibjpeg, pylibjpeg-openjpeg and pylibjpeg-rle.",
    ),
    "SN-MDL-001": Card(
        "A model runs here",
        "A small model is made, and run on a phantom twice, in the jail, with the same result.",
        "See the finding's code; often torch or MONAI is missing or too old, or memory is short.",
    ),
}


@dataclass(frozen=True)
class Finding:
    """What one check found; ``remedy`` says what to do where it is not well."""

    code: str
    verdict: Verdict
    text: str
    remedy: str | None = None

    @property
    def title(self) -> str:
        return CARDS[self.code].title

    @property
    def docs(self) -> str:
        """Where the reference says more."""
        return f"{DOCUMENTED}#{self.code.lower()}"


def well(code: str, text: str) -> Finding:
    """Return a finding that needs nothing."""
    return Finding(code, "well", text)


def failed(code: str, text: str, remedy: str | None = None) -> Finding:
    """Return a finding that must be repaired."""
    return Finding(code, "failed", text, remedy or CARDS[code].remedy)


def warning(code: str, text: str, remedy: str | None = None) -> Finding:
    """Return a finding that deserves a look."""
    return Finding(code, "warning", text, remedy or CARDS[code].remedy)


def skipped(code: str, text: str, remedy: str | None = None) -> Finding:
    """Return that a check could not be made, and why."""
    return Finding(code, "skipped", text, remedy)
