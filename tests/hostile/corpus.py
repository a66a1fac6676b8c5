"""The hostile corpus: files made here, by the test run itself, each with the code it must be refused with.

Nothing is downloaded and nothing is kept. A maker gets an empty folder and returns the file an attacker would submit.
Most payloads would leave a mark at :data:`MARK` if anything ever executed them; a test looks for it at the end.
"""

import gzip
import io
import json
import os
import pickle
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from pipelines.authoring import initial_weights, write_bundle_folder
from pipelines.bundles.archive import CARD, CONTAINER, METADATA, PROFILE, WEIGHTS, write_archive
from tests.hostile import onnx_models as onnx
from tests.unit.pipelines.examples import tiny_profile

DIGEST = "sha256:" + "a" * 64
MARK = "/tmp/medsilo-hostile-mark"
ARCHIVE, CODE, INVALID, WEIGHTS_BAD = "bundle-archive-unsafe", "bundle-has-code", "bundle-invalid", "weights-invalid"


@dataclass(frozen=True)
class Hostile:
    """One file of the corpus."""

    name: str
    code: str
    make: Callable[[Path], Path]


class Runs:
    """What a pickle that runs a command looks like."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.system, (f"touch {MARK}",)


def sound(folder: Path, task: str = "classification") -> Path:
    """Write an honest bundle's files and return their folder."""
    place, profile = folder / "bundle", tiny_profile(task)
    weights = initial_weights(profile, 0)
    write_bundle_folder(place, profile, weights, title="Tiny", description="For tests.", authors="Test")
    return place


def container(
    profile: dict[str, Any] | None = None, members: dict[str, bytes] | None = None, **changes: Any
) -> Callable[[Path], Path]:
    """Return a maker of a bundle of tier 3 whose container, profile or members were changed."""
    named = {"image": f"example.org/model@{DIGEST}", "command": ["/predict"]} | changes

    def make(folder: Path) -> Path:
        place, out = sound(folder), folder / "model.zip"
        honest = {name: value for name, value in tiny_profile().items() if name != "network"}
        described = honest | {"format": "container-bundle/1"} | (profile or {})
        parts = {PROFILE: json.dumps(described).encode(), CONTAINER: json.dumps(named).encode()} | (members or {})
        write_archive(out, {METADATA: place / METADATA, CARD: place / CARD} | parts)
        return out

    return make


def content(folder: Path, **changed: bytes) -> Path:
    """Pack an honest bundle with some members replaced."""
    place, out = sound(folder), folder / "model.zip"
    members: dict[str, Path | bytes] = {name: place / name for name in (METADATA, PROFILE, CARD, WEIGHTS)}
    write_archive(out, members | changed)
    return out


def edited(name: str, change: Callable[[dict[str, Any]], object]) -> Callable[[Path], Path]:
    """Return a maker of a bundle one of whose JSON files was edited by hand."""

    def make(folder: Path) -> Path:
        value = json.loads((sound(folder) / name).read_text())
        change(value)
        return content(folder, **{name: json.dumps(value).encode()})

    return make


def profile(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], Path]:
    return edited(PROFILE, change)


def argument(**values: object) -> Callable[[Path], Path]:
    return profile(lambda found: found["network"]["args"].update(values))


def weights(data: Callable[[], bytes]) -> Callable[[Path], Path]:
    """Return a maker of a bundle with other bytes for weights."""
    return lambda folder: content(folder, **{WEIGHTS: data()})


def tensors(**changed: np.ndarray) -> Callable[[Path], Path]:
    return weights(lambda: save(initial_weights(tiny_profile(), 0) | changed))


def header(value: object, data: bytes = b"\0" * 16) -> Callable[[Path], Path]:
    """Return a maker of a bundle whose weights have a forged safetensors header."""

    def forged() -> bytes:
        text = value if isinstance(value, bytes) else json.dumps(value).encode()
        return len(text).to_bytes(8, "little") + text + data

    return weights(forged)


def entry(begin: int, end: int, shape: list[int], dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def zipped(
    change: Callable[[zipfile.ZipFile], object], compression: int = zipfile.ZIP_STORED
) -> Callable[[Path], Path]:
    """Return a maker of a zip by Python's own writer, with whatever ``change`` adds to an honest bundle."""

    def make(folder: Path) -> Path:
        place, out = sound(folder), folder / "model.zip"
        with zipfile.ZipFile(out, "w", compression) as archive:
            for name in (METADATA, PROFILE, CARD, WEIGHTS):
                archive.write(place / name, name)
            change(archive)
        return out

    return make


def beside(name: str, data: Callable[[], bytes] = lambda: b"x") -> Callable[[Path], Path]:
    return zipped(lambda archive: archive.writestr(name, data()))


def special(name: str, mode: int, data: bytes) -> Callable[[Path], Path]:
    """Return a maker of a zip with a member of another kind than a file."""

    def add(archive: zipfile.ZipFile) -> None:
        info = zipfile.ZipInfo(name)
        info.create_system, info.external_attr = 3, (mode | 0o777) << 16
        archive.writestr(info, data)

    return zipped(add)


def raw(data: Callable[[], bytes]) -> Callable[[Path], Path]:
    """Return a maker of a file with just these bytes."""

    def make(folder: Path) -> Path:
        (folder / "model.zip").write_bytes(data())
        return folder / "model.zip"

    return make


def torch_checkpoint() -> bytes:
    """A zip as ``torch.save`` makes it, whose pickle runs a command."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Runs()))
        archive.writestr("archive/version", "3\n")
    return stream.getvalue()


def exported_program() -> bytes:
    """A ``.pt2`` with a planted sample input: ``torch.export.load`` falls back to a full unpickle for it."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/archive_format", "pt2")
        archive.writestr("archive/models/model.json", "{}")
        archive.writestr("archive/data/sample_inputs/model.pt", pickle.dumps(Runs()))
    return stream.getvalue()


def torchscript() -> bytes:
    """TorchScript that reads a file of the host and writes another, all in its "pure" graph."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("m/data.pkl", pickle.dumps({}, protocol=2))
        archive.writestr("m/constants.pkl", pickle.dumps((), protocol=2))
        source = "def forward(self, x):\n  torch.save(torch.from_file('/etc/passwd', False, 64), '" + MARK + "')\n"
        archive.writestr("m/code/__torch__.py", source)
    return stream.getvalue()


def stride_bomb() -> bytes:
    """A small checkpoint whose tensor claims to be 32 GiB by a stride of nought."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(K\x00(J\x00\x00\x00\x7ft.")
        archive.writestr("archive/data/0", b"\0\0\0\0")
    return stream.getvalue()


def tarball(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, target
        archive.addfile(info, io.BytesIO(b""))
    return stream.getvalue()


def lying_size(folder: Path) -> Path:
    """A member whose two headers disagree about its size, as parsers disagree about which of them counts."""
    out = content(folder)
    data = bytearray(out.read_bytes())
    struct.pack_into("<L", data, 18, 7)
    out.write_bytes(bytes(data))
    return out


def two_ends(folder: Path) -> Path:
    """One file that is two archives: which of them is read depends on the reader."""
    out = content(folder)
    out.write_bytes(out.read_bytes() + (sound_bytes(folder / "other")))
    return out


def sound_bytes(folder: Path) -> bytes:
    folder.mkdir()
    return content(folder).read_bytes()


def polyglot(folder: Path) -> Path:
    """A shell script in front of an archive that most readers would still open."""
    out = content(folder)
    out.write_bytes(f"#!/bin/sh\ntouch {MARK}\nexit\n".encode() + out.read_bytes())
    return out


def hidden_bytes(folder: Path) -> Path:
    """Bytes between two members that no directory names."""
    out = content(folder)
    with zipfile.ZipFile(out) as archive:
        place = sorted(info.header_offset for info in archive.infolist())[1]
    data = out.read_bytes()
    out.write_bytes(data[:place] + b"hidden" * 100 + data[place:])
    return out


def many_members() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for number in range(5000):
            archive.writestr(f"configs/{number}.json", "{}")
    return stream.getvalue()


def nested(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


def not_a_number() -> np.ndarray:
    found = initial_weights(tiny_profile(), 0)["final.1.bias"].copy()
    found[0] = np.nan
    return found


HUGE = {"channels": [2048] * 4, "strides": [1] * 4, "kernel_size": 7, "num_res_units": 4}
EXPRESSION = f"$__import__('os').system('touch {MARK}')"
CALL = {"_target_": "os.system", "command": f"touch {MARK}"}
PICKLE = pickle.dumps(Runs())

CORPUS: tuple[Hostile, ...] = (
    # pickles in every disguise
    Hostile("pickle as the file", ARCHIVE, raw(lambda: PICKLE)),
    Hostile("pickle as the weights", CODE, weights(lambda: PICKLE)),
    Hostile("pickle of protocol 0 as the weights", WEIGHTS_BAD, weights(lambda: pickle.dumps(Runs(), protocol=0))),
    Hostile("pickle compressed as the weights", WEIGHTS_BAD, weights(lambda: gzip.compress(PICKLE))),
    Hostile("checkpoint as the weights", CODE, weights(torch_checkpoint)),
    Hostile("checkpoint as the file", CODE, raw(torch_checkpoint)),
    Hostile("checkpoint beside the weights", CODE, beside("models/model.pt", torch_checkpoint)),
    Hostile("checkpoint with another suffix", CODE, beside("models/model.ckpt", torch_checkpoint)),
    Hostile("numpy file with a pickle", CODE, beside("models/model.npy", lambda: b"\x93NUMPY\x01\x00" + PICKLE)),
    Hostile("stride bomb as the weights", CODE, weights(stride_bomb)),
    Hostile("exported program as the weights", CODE, weights(exported_program)),
    Hostile("exported program beside the weights", CODE, beside("models/model.pt2", exported_program)),
    Hostile("exported program as the file", CODE, raw(exported_program)),
    Hostile("TorchScript as the weights", CODE, weights(torchscript)),
    Hostile("TorchScript beside the weights", CODE, beside("models/model.ts", torchscript)),
    Hostile("script beside the weights", CODE, beside("scripts/__init__.py", lambda: f"open({MARK!r},'w')".encode())),
    Hostile("shared library beside the weights", CODE, beside("lib/op.so", lambda: b"\x7fELF")),
    # configuration that is a program
    Hostile("expression in an argument", CODE, argument(act=EXPRESSION)),
    Hostile("expression after blanks", CODE, argument(act=f" \t{EXPRESSION}")),
    Hostile("call in place of the network", CODE, profile(lambda found: found.update(network=CALL))),
    Hostile("call deep in an argument", CODE, argument(norm=["group", CALL])),
    Hostile("call in the metadata", CODE, edited(METADATA, lambda found: found.update(eval_metrics=CALL))),
    Hostile("reference to another entry", CODE, argument(classes="@network")),
    Hostile("file read by a path", CODE, argument(act="%/etc/passwd")),
    Hostile("imports", CODE, profile(lambda found: found.update(imports=["$import os"]))),
    Hostile("disabled marker", CODE, profile(lambda found: found["network"].update(_disabled_="$False"))),
    Hostile(
        "configuration in YAML", CODE, beside("configs/inference.yaml", lambda: b"a: !!python/object/apply:os.system")
    ),
    Hostile("network by a path", INVALID, profile(lambda found: found["network"].update(name="monai.bundle.run"))),
    Hostile(
        "network that downloads", "network-unknown", profile(lambda found: found["network"].update(name="HoVerNet"))
    ),
    Hostile(
        "transform that runs code",
        "transform-unknown",
        profile(lambda f: f.update(preprocessing=[{"name": "Lambdad"}])),
    ),
    Hostile(
        "transform that opens files",
        "transform-unknown",
        profile(lambda f: f.update(preprocessing=[{"name": "LoadImaged"}])),
    ),
    Hostile(
        "transform that touches the label",
        "transform-argument-invalid",
        profile(lambda f: f.update(preprocessing=[{"name": "ScaleIntensityd", "args": {"keys": ["label"]}}])),
    ),
    Hostile(
        "transform that asks for 100 GB",
        "transform-argument-invalid",
        profile(lambda f: f.update(preprocessing=[{"name": "Resized", "args": {"spatial_size": [4096, 4096, 4096]}}])),
    ),
    Hostile("configuration nested without end", INVALID, lambda folder: content(folder, **{PROFILE: nested(100_000)})),
    Hostile(
        "configuration with a key twice",
        INVALID,
        lambda folder: content(folder, **{PROFILE: b'{"format":1,"format":2}'}),
    ),
    Hostile("configuration of a gigabyte", INVALID, lambda folder: content(folder, **{METADATA: b" " * 2_000_000})),
    # archives
    Hostile("zip bomb", ARCHIVE, zipped(lambda a: a.writestr(CARD + "x", b"0" * 50_000_000), zipfile.ZIP_DEFLATED)),
    Hostile("gzip bomb", ARCHIVE, raw(lambda: gzip.compress(b"\0" * 50_000_000))),
    Hostile("compressed stream", ARCHIVE, raw(lambda: zlib.compress(b"\0" * 1_000_000))),
    Hostile("zip-slip", ARCHIVE, beside("../../../../tmp/medsilo-hostile-mark")),
    Hostile("zip-slip by backslashes", ARCHIVE, beside("..\\..\\evil")),
    Hostile("absolute name", ARCHIVE, beside("/etc/cron.d/evil")),
    Hostile("name with a control character", ARCHIVE, beside("docs/\x1b[2J")),
    Hostile("name that looks like another", ARCHIVE, beside("models/mоdel.safetensors")),
    Hostile("symbolic link", ARCHIVE, special("docs/link.md", stat.S_IFLNK, b"/etc/passwd")),
    Hostile("device", ARCHIVE, special("docs/device.md", stat.S_IFCHR, b"")),
    Hostile("named pipe", ARCHIVE, special("docs/pipe.md", stat.S_IFIFO, b"")),
    Hostile("five thousand members", ARCHIVE, raw(many_members)),
    Hostile("two headers that disagree", ARCHIVE, lying_size),
    Hostile("two archives in one file", ARCHIVE, two_ends),
    Hostile("script before the archive", ARCHIVE, polyglot),
    Hostile("bytes that belong to no member", ARCHIVE, hidden_bytes),
    Hostile("tar with a path that leads out", ARCHIVE, raw(lambda: tarball("../../evil"))),
    Hostile("tar with a link", ARCHIVE, raw(lambda: tarball("link", tarfile.SYMTYPE, "/etc/passwd"))),
    Hostile("empty file", ARCHIVE, raw(lambda: b"")),
    # weights
    Hostile("header of four exabytes", WEIGHTS_BAD, weights(lambda: (2**62).to_bytes(8, "little") + b"{}")),
    Hostile("header that is not JSON", WEIGHTS_BAD, header(b"{'a': 1}")),
    Hostile("header nested without end", WEIGHTS_BAD, header(b"[" * 50_000)),
    Hostile("tensor of a petabyte", WEIGHTS_BAD, header({"a": entry(0, 2**50, [2**48])})),
    Hostile("tensor whose size overflows", WEIGHTS_BAD, header({"a": entry(0, 16, [2**32, 2**32, 2**32])})),
    Hostile("tensors that overlap", WEIGHTS_BAD, header({"a": entry(0, 16, [4]), "b": entry(8, 16, [2])})),
    Hostile("bytes that belong to no tensor", WEIGHTS_BAD, header({"a": entry(0, 8, [2])})),
    Hostile("negative offsets", WEIGHTS_BAD, header({"a": entry(-16, 0, [4])})),
    Hostile("unknown dtype", WEIGHTS_BAD, header({"a": entry(0, 16, [4], "PICKLE")})),
    Hostile("a name of a megabyte", WEIGHTS_BAD, header({"a" * 1_000_000: entry(0, 16, [4])})),
    Hostile("not a number", WEIGHTS_BAD, tensors(**{"final.1.bias": not_a_number()})),
    Hostile("images as a stowaway tensor", "weights-mismatch", tensors(stowaway=np.zeros(100_000, np.float32))),
    Hostile("weights of doubles", "weights-mismatch", tensors(**{"final.1.bias": np.zeros(2)})),
    # networks that are too much
    Hostile("a network of 100 GB", "network-too-large", argument(**HUGE)),
    Hostile("channels without number", "network-argument-invalid", argument(channels=[2**40, 2])),
    Hostile("kernel that is a string", "network-argument-invalid", argument(kernel_size="3")),
    # ONNX
    Hostile("ONNX with weights at a path that leads out", CODE, onnx.changed(onnx.external)),
    Hostile("ONNX with operators of another domain", CODE, onnx.changed(onnx.node("Run", "com.evil"))),
    Hostile("ONNX that imports another domain", CODE, onnx.changed(onnx.opset(1, "com.evil"))),
    Hostile("ONNX with a loop", CODE, onnx.changed(onnx.looped)),
    Hostile("ONNX with a function", CODE, onnx.changed(onnx.own_function)),
    Hostile("ONNX with an operator that is random", "network-unknown", onnx.changed(onnx.node("RandomNormalLike"))),
    Hostile("ONNX that decodes images", "network-unknown", onnx.changed(onnx.node("ImageDecoder"))),
    Hostile("ONNX of a petabyte", WEIGHTS_BAD, onnx.changed(onnx.lying)),
    Hostile("ONNX of a petabyte without a byte", WEIGHTS_BAD, onnx.changed(onnx.no_data)),
    Hostile("ONNX with what is not a number", WEIGHTS_BAD, onnx.changed(onnx.poisoned)),
    Hostile("ONNX of an operator set to come", INVALID, onnx.changed(onnx.opset(999))),
    Hostile("ONNX nested without end", INVALID, onnx.nested_messages),
    Hostile("ONNX that is a pickle", INVALID, lambda folder: onnx.packed(folder, PICKLE)),
    Hostile("ONNX that is empty", INVALID, lambda folder: onnx.packed(folder, b"")),
    Hostile("ONNX cut off", INVALID, lambda folder: onnx.packed(folder, onnx.classifier().SerializeToString()[:-9])),
    Hostile(
        "ONNX said to be code-free", INVALID, lambda folder: onnx.packed(folder, b"x", format="code-free-bundle/1")
    ),
    Hostile(
        "ONNX of another shape",
        "model-incompatible",
        lambda folder: onnx.packed(folder, onnx.classifier(image=[1, 3, 64, 64]).SerializeToString()),
    ),
    Hostile(
        "ONNX that gives back the image",
        "model-incompatible",
        lambda folder: onnx.packed(folder, onnx.classifier(logits=[1, 1, 8, 8]).SerializeToString()),
    ),
    # containers
    Hostile("container by a tag that may change overnight", INVALID, container(image="evil/model:latest")),
    Hostile("container with an option for its engine", INVALID, container(image=f"--privileged@{DIGEST}")),
    Hostile("container whose program is an option", INVALID, container(command=["--volume=/:/host", "sh"])),
    Hostile("container with rights of its own", INVALID, container(privileged=True)),
    Hostile("container that mounts the machine", INVALID, container(volumes=["/:/host"])),
    Hostile("container without a command", INVALID, container(command=[])),
    Hostile("container whose command is an expression", CODE, container(command=["$import os"])),
    Hostile("container said to be code-free", INVALID, container(profile={"format": "code-free-bundle/1"})),
    Hostile("container beside weights", ARCHIVE, container(members={WEIGHTS: b"x"})),
)
