"""What is about to leave, in words and to the byte, for the person who lets it go."""

import json
from collections.abc import Iterator
from typing import Any

from silo_node.outbox.box import Item
from silo_node.policy.bits import block_bits, report_bits, update_bits
from silo_node.wire.digests import digest_bytes

_NAMES = {
    "cohort-registration": "a cohort's fingerprint and card",
    "association-decision": "this site's answer to a request",
    "estimate-block": "the results of an evaluation",
    "round-report": "the result of one round of a study",
    "check-report": "the check of a submitted model",
    "statistics-report": "counts of patients",
}


def summary(item: Item) -> str:
    """Return one sentence on what an item is and who it answers, and whose yes it still needs."""
    text = f"{item.item_id} is {item.state}: {_NAMES[item.kind]}, for {item.subject}."
    if item.state == "held" and item.persons > 1:
        said = f"{item.approvals[0]} has released it; " if item.approvals else ""
        text += f" {said}{item.persons - len(item.approvals)} more person(s) must."
    return text


def content(item: Item) -> dict[str, Any]:
    """Return the exact signed content, field by field, as the hub will read it."""
    value: dict[str, Any] = json.loads(item.envelope.payload_bytes())
    return value


def document(item: Item) -> dict[str, Any]:
    """Return everything about an item as plain JSON values."""
    return {
        "item": item.item_id,
        "kind": item.kind,
        "subject": item.subject,
        "state": item.state,
        "code": item.code,
        "released_by": item.released_by,
        "created": item.created,
        "changed": item.changed,
        "persons": item.persons,
        "approvals": list(item.approvals),
        "signed_bytes": len(item.envelope.payload_bytes()),
        "digest": digest_bytes(item.envelope.payload_bytes()),
        "bits": bits(item),
        "content": content(item),
        "attachment": _attachment(item),
        "answer": json.loads(item.answer) if item.answer else None,
    }


def words(item: Item) -> str:
    """Return an item for a person: the sentence, then every field that would leave, one a line."""
    lines = [summary(item), "", "Exactly this would leave, signed by this site, and nothing else:", ""]
    lines += [f"  {path} = {value}" for path, value in _leaves(content(item))]
    payload = item.envelope.payload_bytes()
    lines += ["", f"These are {len(payload):,} bytes with the digest {digest_bytes(payload)}."]
    carried = bits(item)
    if carried is not None:
        lines.append(f"Whatever a model was made to do, these numbers can tell at most {carried:,.0f} bits.")
    attachment = _attachment(item)
    if attachment is not None:
        lines += ["", f"With it a file of {attachment['bytes']:,} bytes: the model update ({attachment['file']})."]
        lines.append(f"It has room for {update_bits(content(item)):,.0f} bits; updates are budgeted by their number.")
    return "\n".join(lines)


def bits(item: Item) -> float | None:
    """Return how many bits the numbers of a result can carry at most; None for what no model has a hand in."""
    if item.kind == "estimate-block":
        return round(block_bits(content(item)), 1)
    return round(report_bits(content(item)), 1) if item.kind == "round-report" else None


def _attachment(item: Item) -> dict[str, Any] | None:
    if item.attachment is None:
        return None
    size = item.attachment.stat().st_size if item.attachment.exists() else None
    return {"file": str(item.attachment), "bytes": size}


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield every field with its dotted path; a row of numbers stays one field."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and any(isinstance(entry, dict | list) for entry in value):
        for place, inner in enumerate(value):
            yield from _leaves(inner, f"{path}[{place}]")
    else:
        yield path, json.dumps(value, ensure_ascii=False)
