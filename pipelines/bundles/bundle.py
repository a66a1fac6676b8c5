"""A code-free bundle as one value, and what is done with it: read, inspect, pack, take its weights out.

None of this needs torch, so the hub judges a submission with the same code as the researcher's command and the sandbox.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.bundles import archive
from pipelines.bundles.literals import parse_literal_object
from pipelines.bundles.metadata import Metadata, read_metadata
from pipelines.bundles.onnx_file import inspect_onnx, refuse_shapes
from pipelines.bundles.profile import Profile, read_profile, refuse_incompatible
from pipelines.bundles.weights import WeightsIndex, read_weights_index, refuse_not_finite, refuse_other_dtypes
from pipelines.container import ContainerModel, read_container
from pipelines.errors import PipelineError
from pipelines.question import read_question


@dataclass(frozen=True)
class Bundle:
    """A bundle whose archive, configuration and weights header were checked. The weights stay in the file."""

    path: Path
    profile: Profile
    metadata: Metadata
    card: str
    index: WeightsIndex
    weights_offset: int
    weights_size: int
    """Of the safetensors file, of the ONNX model of tier 2, or of what names the container of tier 3."""

    container: ContainerModel | None = None
    """What is run of a model of tier 3."""


@dataclass(frozen=True)
class Inspection:
    """What a static look at a bundle found; nothing of the network was built."""

    profile: Profile
    parameters: int
    parameter_bound: int
    tensors: int
    weights_bytes: int
    tier: int = 1
    """1: code-free bundle; see ``docs/explanation/threat-model.md``."""

    container: ContainerModel | None = None
    """What is run of a model of tier 3."""


def read_bundle(path: Path) -> Bundle:
    """Read a bundle's archive, configuration and weights header.

    Raises ``file-missing`` or a code of the static check; see :func:`inspect_bundle`.
    """
    if not path.is_file():
        raise PipelineError("file-missing", path.name)
    members = archive.read_members(path)
    name = next(name for name in archive.MODELS if name in members)
    weights = members[name]
    profile = read_profile(
        parse_literal_object(archive.read_small(path, members[archive.PROFILE]), archive.PROFILE),
    )
    metadata = read_metadata(
        parse_literal_object(archive.read_small(path, members[archive.METADATA]), archive.METADATA),
    )
    if archive.MODELS.index(name) + 1 != profile.tier:
        raise PipelineError("bundle-invalid", "configs/bundle.json: field format is not that of the model's file")
    described = None
    if profile.tier == 3:
        described = read_container(parse_literal_object(archive.read_small(path, weights), archive.CONTAINER))
    return Bundle(
        path=path,
        profile=profile,
        metadata=metadata,
        card=_card(path, members),
        index=read_weights_index(path, weights.offset, weights.size)
        if profile.tier == 1
        else WeightsIndex((), weights.offset),
        weights_offset=weights.offset,
        weights_size=weights.size,
        container=described,
    )


def inspect_bundle(path: Path, definition: dict[str, Any] | None = None) -> Inspection:
    """Check everything about a bundle that needs no torch, and that it fits a benchmark where one is given.

    Raises, in this order of checks: ``bundle-too-large``, ``bundle-archive-unsafe``, ``bundle-has-code``,
    ``bundle-invalid``, ``transform-unknown``, ``transform-argument-invalid``, ``network-unknown``,
    ``network-argument-invalid``, ``network-too-large``, ``weights-invalid``, ``weights-mismatch``,
    ``model-incompatible``.
    """
    bundle = read_bundle(path)
    if bundle.profile.tier == 2:
        return _inspect_onnx(bundle, definition)
    if bundle.container is not None:
        return _inspect_container(bundle, bundle.container, definition)
    bound = bundle.profile.network_arguments().parameter_bound()
    refuse_other_dtypes(bundle.index)
    if bundle.index.parameters > bound:
        raise PipelineError("weights-mismatch", "there are more numbers than the network can have parameters")
    refuse_not_finite(path, bundle.index)
    if definition is not None:
        refuse_incompatible(bundle.profile, read_question(definition))
    return Inspection(
        profile=bundle.profile,
        parameters=bundle.index.parameters,
        parameter_bound=bound,
        tensors=len(bundle.index.tensors),
        weights_bytes=bundle.weights_size,
    )


def _inspect_onnx(bundle: Bundle, definition: dict[str, Any] | None) -> Inspection:
    profile = bundle.profile
    graph = inspect_onnx(bundle.path, bundle.weights_offset, bundle.weights_size)
    if definition is not None:
        refuse_incompatible(profile, read_question(definition))
    shape, spatial = None if profile.reshapes else profile.input.shape, profile.task == "segmentation"
    refuse_shapes(graph, profile.input.channels, shape, len(profile.labels), spatial=spatial)
    return Inspection(
        profile=profile,
        parameters=graph.parameters,
        parameter_bound=graph.parameters,
        tensors=graph.tensors,
        weights_bytes=bundle.weights_size,
        tier=2,
    )


def _inspect_container(bundle: Bundle, container: ContainerModel, definition: dict[str, Any] | None) -> Inspection:
    """Say what a bundle of tier 3 names. What its image holds cannot be judged statically; a person must."""
    if definition is not None:
        refuse_incompatible(bundle.profile, read_question(definition))
    return Inspection(bundle.profile, 0, 0, 0, 0, tier=3, container=container)


def pack_bundle(folder: Path, out: Path) -> Inspection:
    """Pack a bundle folder into its archive and inspect the result; the same folder gives the same bytes.

    A file that does not belong to a bundle is refused rather than left out. Nothing is left at ``out`` on an error.
    """
    names = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if not path.is_dir()]
    if any((folder / name).is_symlink() for name in names):
        raise PipelineError("bundle-archive-unsafe", "the folder holds a link")
    archive.refuse_names(names)
    if sum((folder / name).stat().st_size for name in names) > archive.MAX_BYTES:
        raise PipelineError("bundle-too-large", f"more than {archive.MAX_BYTES} bytes")
    partial = out.with_name(out.name + ".partial")
    try:
        archive.write_archive(partial, {name: folder / name for name in names})
        inspection = inspect_bundle(partial)
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
    return inspection


def weights_file(bundle: Bundle, out: Path) -> None:
    """Copy a bundle's weights out as a safetensors file: the first global model of a study.

    Raises ``model-incompatible`` for any but a code-free bundle: it has no weights that could be averaged.
    """
    bundle.profile.network_arguments()
    partial, left = out.with_name(out.name + ".partial"), bundle.weights_size
    with bundle.path.open("rb") as source, partial.open("wb") as target:
        source.seek(bundle.weights_offset)
        while left and (block := source.read(min(left, 1 << 20))):
            target.write(block)
            left -= len(block)
    partial.replace(out)


def with_weights(bundle: Bundle, weights: Path, out: Path) -> None:
    """Write the same bundle with another safetensors file as its weights: what a study trained.

    The same bundle and weights always give the same bytes; nothing is inspected.
    """
    members = archive.read_members(bundle.path)
    content: dict[str, Path | bytes] = {
        name: archive.read_small(bundle.path, member) for name, member in members.items() if name != archive.WEIGHTS
    }
    archive.write_archive(out, content | {archive.WEIGHTS: weights})


def _card(path: Path, members: dict[str, archive.Member]) -> str:
    if archive.CARD not in members:
        return ""
    try:
        return archive.read_small(path, members[archive.CARD]).decode("utf-8")
    except UnicodeDecodeError:
        raise PipelineError("bundle-invalid", f"{archive.CARD} is not UTF-8 text") from None
