"""What is installed: a bill of materials, what changed since an earlier one, and files that are not as they came.

pip notes the SHA-256 of every file it installs. A package's contents are the digest over those notes, so that the same
release with other files inside is a change; and the files themselves can be held against the notes.
Format: CycloneDX 1.6, https://cyclonedx.org/docs/1.6/json/.
"""

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

PRODUCT = "medsilo"
CONTENTS = "medsilo:contents"
_REQUIRED = re.compile(r"[A-Za-z0-9._-]+")
_BLOCK = 1024 * 1024
Bill = Mapping[str, Any]


def installed(product: str = PRODUCT, *, search: Sequence[str] | None = None) -> list[Distribution]:
    """Return the product and everything installed that it needs, whatever extras it was installed with."""
    first = _named(product, search)
    if first is None:
        raise PackageNotFoundError(product)
    found: dict[str, Distribution] = {}
    waiting = [first]
    while waiting:
        one = waiting.pop()
        name = _normal(one.metadata["Name"])
        if name not in found:
            found[name] = one
            names = (_REQUIRED.match(text) for text in one.requires or ())
            needed = (_named(name[0], search) for name in names if name is not None)
            waiting += [other for other in needed if other is not None]
    return [found[name] for name in sorted(found)]


def bill_of_materials(found: Sequence[Distribution]) -> dict[str, Any]:
    """Return a CycloneDX document; the same software gives the same bytes, so it has no time in it."""
    product = next(one for one in found if _normal(one.metadata["Name"]) == PRODUCT)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "application", "name": PRODUCT, "version": product.version}},
        "components": [_component(one) for one in found if one is not product],
    }


def differences(before: Bill, now: Bill) -> list[str]:
    """Return what two bills do not have in common, a line a package."""
    old, new = _by_name(before), _by_name(now)
    lines = [f"{name} is gone (it was {old[name][0]})" for name in sorted(old.keys() - new.keys())]
    lines += [f"{name} {new[name][0]} is new" for name in sorted(new.keys() - old.keys())]
    for name in sorted(old.keys() & new.keys()):
        if old[name][0] != new[name][0]:
            lines.append(f"{name} is {new[name][0]}, it was {old[name][0]}")
        elif old[name] != new[name]:
            lines.append(f"{name} {new[name][0]} has other files inside than it had")
    return lines


def changed_files(found: Iterable[Distribution]) -> Iterator[str]:
    """Yield every installed file that is missing, or not what pip noted when it installed it."""
    for one in found:
        for file in one.files or ():
            if file.hash is not None and file.hash.mode == "sha256":
                path = Path(str(one.locate_file(file)))
                if not path.is_file() or _sha256(path) != file.hash.value:
                    yield f"{one.metadata['Name']}: {file}"


def _component(one: Distribution) -> dict[str, Any]:
    name = _normal(one.metadata["Name"])
    address = f"pkg:pypi/{name}@{one.version}"
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": address,
        "name": name,
        "version": one.version,
        "purl": address,
        "properties": [{"name": CONTENTS, "value": _contents(one)}],
    }
    licence = one.metadata.json.get("license_expression")
    return component | ({"licenses": [{"expression": licence}]} if licence else {})


def _contents(one: Distribution) -> str:
    noted = sorted(f"{file} {file.hash.value}" for file in one.files or () if file.hash is not None)
    return hashlib.sha256("\n".join(noted).encode()).hexdigest()


def _by_name(bill: Bill) -> dict[str, tuple[str, str]]:
    """Return version and contents of each package; raises ``ValueError`` for what is no bill of ours."""
    try:
        return {
            one["name"]: (one["version"], next(p["value"] for p in one["properties"] if p["name"] == CONTENTS))
            for one in bill["components"]
        }
    except (KeyError, TypeError, StopIteration) as error:
        raise ValueError("this is no bill of materials that silo-node sbom wrote") from error


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode()


def _named(name: str, search: Sequence[str] | None) -> Distribution | None:
    if search is not None:
        return next(iter(Distribution.discover(name=name, path=list(search))), None)
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
