"""Code-free bundles: what is packed can be read, and everything that is not a plain bundle is refused with its code."""

import io
import json
import pickle
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from pipelines.authoring import initial_weights, write_bundle_folder
from pipelines.bundles import inspect_bundle, pack_bundle, read_bundle, weights_file, with_weights
from pipelines.bundles.archive import CARD, METADATA, PROFILE, WEIGHTS, write_archive
from pipelines.errors import PipelineError
from tests.unit.pipelines.examples import definition, tiny_bundle, tiny_profile

Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A bundle's files before packing."""
    place = tmp_path / "bundle"
    profile = tiny_profile()
    write_bundle_folder(
        place, profile, initial_weights(profile, 0), title="Tiny", description="For tests.", authors="Test"
    )
    return place


def refusal(call: Callable[[], object]) -> str:
    """The code a call is refused with."""
    with pytest.raises(PipelineError) as refused:
        call()
    return refused.value.code


def packed_with(folder: Path, name: str, change: Change) -> Path:
    """Pack a folder by hand after changing one of its JSON files, as an attacker without our tools would."""
    value = json.loads((folder / name).read_text())
    change(value)
    (folder / name).write_text(json.dumps(value))
    return packed(folder)


def packed(folder: Path, **members: bytes) -> Path:
    out = folder.parent / "handmade.zip"
    content: dict[str, Path | bytes] = {name: folder / name for name in (METADATA, PROFILE, CARD, WEIGHTS)}
    write_archive(out, content | members)
    return out


def rezipped(folder: Path, change: Callable[[zipfile.ZipFile], object], compression: int = zipfile.ZIP_STORED) -> Path:
    """A zip with the bundle's members and whatever ``change`` adds, by Python's own zipfile."""
    out = folder.parent / "other.zip"
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name in (METADATA, PROFILE, CARD, WEIGHTS):
            archive.write(folder / name, name)
        change(archive)
    return out


def test_a_packed_bundle_reads_back(folder: Path, tmp_path: Path) -> None:
    """Profile, metadata, card and the tensors' names, without torch having been asked."""
    out = tmp_path / "tiny.zip"
    inspection = pack_bundle(folder, out)
    bundle = read_bundle(out)
    assert bundle.profile.network.name == "Classifier"
    assert bundle.metadata.name == "Tiny"
    assert bundle.card.startswith("# Tiny")
    assert inspection.parameters == bundle.index.parameters <= inspection.parameter_bound


def test_the_same_folder_packs_to_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    """A model is addressed by its digest, so packing must not depend on when or where it happens."""
    first, second = tmp_path / "1.zip", tmp_path / "2.zip"
    pack_bundle(folder, first)
    (folder / "configs/bundle.json").touch()
    pack_bundle(folder, second)
    assert first.read_bytes() == second.read_bytes()


def test_the_weights_come_out_as_they_went_in(folder: Path, tmp_path: Path) -> None:
    """The first global model of a study is the bundle's own file, byte for byte."""
    pack_bundle(folder, tmp_path / "tiny.zip")
    weights_file(read_bundle(tmp_path / "tiny.zip"), tmp_path / "out.safetensors")
    assert (tmp_path / "out.safetensors").read_bytes() == (folder / WEIGHTS).read_bytes()


def test_other_weights_make_another_bundle_of_the_same_profile(folder: Path, tmp_path: Path) -> None:
    """What a study trained becomes a bundle that passes the same inspection."""
    pack_bundle(folder, tmp_path / "tiny.zip")
    weights = {name: array + 1 for name, array in initial_weights(tiny_profile(), 0).items()}
    (tmp_path / "new.safetensors").write_bytes(save(weights))
    with_weights(read_bundle(tmp_path / "tiny.zip"), tmp_path / "new.safetensors", tmp_path / "new.zip")
    assert inspect_bundle(tmp_path / "new.zip").profile == read_bundle(tmp_path / "tiny.zip").profile


def test_a_refused_folder_leaves_nothing_behind(folder: Path, tmp_path: Path) -> None:
    """Neither the archive nor a partial one."""
    (folder / PROFILE).write_text("{}")
    assert refusal(lambda: pack_bundle(folder, tmp_path / "out.zip")) == "bundle-invalid"
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_bundle_that_fits_is_compatible_with_its_benchmark(tmp_path: Path) -> None:
    """And one for another task, other labels or another input is not."""
    bundle = tiny_bundle(tmp_path / "tiny.zip")
    inspect_bundle(bundle, definition())
    for change in ({"labels": ["normal", "other"]}, {"input": {"channels": 1, "shape": [8, 16]}}):
        assert refusal(lambda change=change: inspect_bundle(bundle, definition() | change)) == "model-incompatible"
    assert refusal(lambda: inspect_bundle(bundle, definition("segmentation"))) == "model-incompatible"


@pytest.mark.parametrize(
    ("name", "change", "code"),
    [
        (PROFILE, lambda p: p["network"]["args"].update(act="$__import__('os').getpid()"), "bundle-has-code"),
        (PROFILE, lambda p: p["network"]["args"].update(act=" $1"), "bundle-has-code"),
        (PROFILE, lambda p: p.update(network={"_target_": "os.system", "args": ["id"]}), "bundle-has-code"),
        (PROFILE, lambda p: p.update(network="@net"), "bundle-has-code"),
        (PROFILE, lambda p: p.update(labels=["%/etc/passwd", "b"]), "bundle-has-code"),
        (PROFILE, lambda p: p.update(imports=["os"]), "bundle-has-code"),
        (METADATA, lambda m: m.update(description="$import os"), "bundle-has-code"),
        (METADATA, lambda m: m["network_data_format"]["inputs"].update(_target_={}), "bundle-has-code"),
        (METADATA, lambda m: m.pop("monai_version"), "bundle-invalid"),
        (METADATA, lambda m: m.update(hook="x"), "bundle-invalid"),
        (PROFILE, lambda p: p.update(format="code-free-bundle/9"), "bundle-invalid"),
        (PROFILE, lambda p: p.update(surprise=1), "bundle-invalid"),
        (PROFILE, lambda p: p.update(labels=["a", "a"]), "bundle-invalid"),
        (PROFILE, lambda p: p["network"].update(name="Os.system"), "bundle-invalid"),
        (PROFILE, lambda p: p["network"].update(name="Discriminator"), "network-unknown"),
        (PROFILE, lambda p: p["network"]["args"].update(last_act="sigmoid"), "network-argument-invalid"),
        (PROFILE, lambda p: p["network"]["args"].update(classes="2"), "network-argument-invalid"),
        (PROFILE, lambda p: p["network"]["args"].update(classes=3), "network-argument-invalid"),
        (PROFILE, lambda p: p["network"]["args"].update(in_shape=[1, 8, 9]), "network-argument-invalid"),
        (PROFILE, lambda p: p["network"]["args"].update(channels=[4]), "network-argument-invalid"),
        (PROFILE, lambda p: p["network"]["args"].update(norm=["layer", {}]), "network-argument-invalid"),
        (PROFILE, lambda p: p.update(preprocessing=[{"name": "Lambdad"}]), "transform-unknown"),
        (
            PROFILE,
            lambda p: p.update(preprocessing=[{"name": "ScaleIntensityd", "args": {"keys": ["label"]}}]),
            "transform-argument-invalid",
        ),
    ],
)
def test_a_bad_configuration_is_refused_with_its_code(folder: Path, name: str, change: Change, code: str) -> None:
    """Expressions, references, calls, unknown names, unknown or ill-typed arguments."""
    assert refusal(lambda: inspect_bundle(packed_with(folder, name, change))) == code


def test_ten_to_the_ten_parameters_are_refused_before_anything_is_built(folder: Path) -> None:
    """From the arguments alone: the weights of this bundle have a few hundred numbers."""
    huge = {"channels": [2048, 2048, 2048, 2048], "strides": [1, 1, 1, 1], "kernel_size": 7, "num_res_units": 4}
    bundle = packed_with(folder, PROFILE, lambda p: p["network"]["args"].update(huge))
    assert refusal(lambda: inspect_bundle(bundle)) == "network-too-large"


@pytest.mark.parametrize("text", [b"[]", b"{", b'{"format": 1, "format": 2}', b'{"a": NaN}', b"\xff", b"[" * 100_000])
def test_a_configuration_that_is_not_one_sound_object_is_refused(folder: Path, text: bytes) -> None:
    """Duplicate keys, NaN, other encodings and endless nesting among them."""
    assert refusal(lambda: inspect_bundle(packed(folder, **{PROFILE: text}))) == "bundle-invalid"


def test_a_deeply_nested_value_is_refused(folder: Path) -> None:
    """Before any recursion of ours can be exhausted."""
    value: Any = 1
    for _ in range(40):
        value = [value]
    bundle = packed_with(folder, METADATA, lambda m: m.update(eval_metrics={"x": value}))
    assert refusal(lambda: inspect_bundle(bundle)) == "bundle-invalid"


def test_a_bundle_for_segmentation_may_not_move_its_image(tmp_path: Path) -> None:
    """Its prediction must lie on the benchmark's own grid."""
    folder = tmp_path / "bundle"
    profile = tiny_profile("segmentation")
    write_bundle_folder(folder, profile, initial_weights(profile, 0), title="T", description="d", authors="a")
    flip = [{"name": "Flipd", "args": {"spatial_axis": [0]}}]
    bundle = packed_with(folder, PROFILE, lambda p: p.update(preprocessing=flip))
    assert refusal(lambda: inspect_bundle(bundle)) == "transform-argument-invalid"


@pytest.mark.parametrize("name", ["models/model.pt", "scripts/run.py", "configs/train.yaml", "model.onnx"])
def test_a_bundle_with_a_pickle_or_a_script_beside_it_is_refused(folder: Path, tmp_path: Path, name: str) -> None:
    """In the archive, and in the folder before packing."""
    assert refusal(lambda: inspect_bundle(rezipped(folder, lambda z: z.writestr(name, b"x")))) == "bundle-has-code"
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"x")
    assert refusal(lambda: pack_bundle(folder, tmp_path / "out.zip")) == "bundle-has-code"


def test_weights_that_are_a_pickle_are_refused_as_code(folder: Path) -> None:
    """Renaming a checkpoint does not make it safetensors."""
    assert refusal(lambda: inspect_bundle(packed(folder, **{WEIGHTS: pickle.dumps({"a": 1})}))) == "bundle-has-code"
    torch_zip = io.BytesIO()
    with zipfile.ZipFile(torch_zip, "w") as archive:
        archive.writestr("data.pkl", b"x")
    assert refusal(lambda: inspect_bundle(packed(folder, **{WEIGHTS: torch_zip.getvalue()}))) == "bundle-has-code"


@pytest.mark.parametrize("name", ["../../etc/cron.d/x", "/etc/passwd", "docs/../x", "docs\\x", "notes.txt"])
def test_an_archive_with_a_foreign_name_is_refused(folder: Path, name: str) -> None:
    """A path that leads out, or just a file that is not a bundle's."""
    bundle = rezipped(folder, lambda archive: archive.writestr(name, b"x"))
    assert refusal(lambda: inspect_bundle(bundle)) == "bundle-archive-unsafe"


def test_a_compressed_archive_is_refused_unread(folder: Path) -> None:
    """A bomb needs compression: a gigabyte of zeros is a megabyte of zip."""
    (folder / CARD).write_bytes(b"0" * 10_000_000)
    bundle = rezipped(folder, lambda archive: None, zipfile.ZIP_DEFLATED)
    assert bundle.stat().st_size < 100_000
    assert refusal(lambda: inspect_bundle(bundle)) == "bundle-archive-unsafe"


def test_a_link_is_refused(folder: Path, tmp_path: Path) -> None:
    """In an archive by its mode, in a folder by what it is."""
    out = folder.parent / "link.zip"
    with zipfile.ZipFile(out, "w") as archive:
        for name in (METADATA, PROFILE, WEIGHTS):
            archive.write(folder / name, name)
        info = zipfile.ZipInfo(CARD)
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    assert refusal(lambda: inspect_bundle(out)) == "bundle-archive-unsafe"
    (folder / CARD).unlink()
    (folder / CARD).symlink_to("/etc/passwd")
    assert refusal(lambda: pack_bundle(folder, tmp_path / "x.zip")) == "bundle-archive-unsafe"


def test_a_member_twice_is_refused(folder: Path) -> None:
    """Readers differ in which of the two they take."""

    def again(archive: zipfile.ZipFile) -> None:
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr(PROFILE, b"{}")

    assert refusal(lambda: inspect_bundle(rezipped(folder, again))) == "bundle-archive-unsafe"


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data + b"x",
        lambda data: b"MZ" + data,
        lambda data: b"",
        lambda data: b"PK\x05\x06" + b"\0" * 18,
        lambda data: data.replace(b"configs/bundle.json", b"configs/bundle.jsoN", 1),
    ],
)
def test_a_damaged_or_padded_archive_is_refused(folder: Path, damage: Callable[[bytes], bytes]) -> None:
    """Bytes before, after, missing, or two headers that disagree about a name."""
    bundle = packed(folder)
    bundle.write_bytes(damage(bundle.read_bytes()))
    assert refusal(lambda: inspect_bundle(bundle)) in ("bundle-archive-unsafe", "bundle-invalid")


def test_a_flipped_byte_in_a_configuration_is_noticed(folder: Path) -> None:
    """By its check sum, where the JSON would still parse."""
    bundle = packed(folder)
    bundle.write_bytes(bundle.read_bytes().replace(b'"finding"', b'"fonding"', 1))
    assert refusal(lambda: inspect_bundle(bundle)) == "bundle-archive-unsafe"


def test_a_bundle_without_weights_is_refused(folder: Path, tmp_path: Path) -> None:
    """With the name of what is missing."""
    (folder / WEIGHTS).unlink()
    with pytest.raises(PipelineError, match=r"bundle-invalid.*model\.safetensors"):
        pack_bundle(folder, tmp_path / "out.zip")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused(folder: Path, value: float) -> None:
    """One such number anywhere makes every prediction useless."""
    weights = initial_weights(tiny_profile(), 0)
    weights["final.1.bias"] = weights["final.1.bias"].copy()
    weights["final.1.bias"][0] = value
    with pytest.raises(PipelineError, match=r"weights-invalid.*final\.1\.bias"):
        inspect_bundle(packed(folder, **{WEIGHTS: save(weights)}))


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int64])
def test_weights_of_another_dtype_are_refused(folder: Path, dtype: type) -> None:
    """Networks are float32, and integer buffers never travel."""
    weights = {name: array.astype(dtype) for name, array in initial_weights(tiny_profile(), 0).items()}
    assert refusal(lambda: inspect_bundle(packed(folder, **{WEIGHTS: save(weights)}))) == "weights-mismatch"


def test_more_numbers_than_the_network_can_have_are_refused_without_torch(folder: Path) -> None:
    """The bound of the arguments serves the hub, which never builds a network."""
    weights = initial_weights(tiny_profile(), 0) | {"stowaway": np.zeros(1_000_000, np.float32)}
    assert refusal(lambda: inspect_bundle(packed(folder, **{WEIGHTS: save(weights)}))) == "weights-mismatch"


def test_reading_and_inspecting_a_bundle_loads_no_torch(tmp_path: Path) -> None:
    """The hub and the command line start in a blink."""
    import subprocess
    import sys

    bundle = tiny_bundle(tmp_path / "tiny.zip")
    program = (
        "import sys; from pathlib import Path; from pipelines.bundles import inspect_bundle; import pipelines.job;"
        f"inspect_bundle(Path({str(bundle)!r})); print('torch' in sys.modules or 'monai' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
