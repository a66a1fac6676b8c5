"""Every fault of a benchmark definition at once, each with its line and its key."""

from pathlib import Path

import pytest

from benchmarks.definition import FILE, FOLDER, bundled_names, check_definition
from benchmarks.toml_lines import key_lines, line_of
from benchmarks.validation import judge_text

GOOD = (FOLDER / "chest_phantom" / FILE).read_text()
BAD = '''\
name = "Bad Name"
version = 1
title = "T"
summary = """
over
two"""
task = "classification"
modality = "DX"
provenance = "synthetic"
data_source = "x"
licence = "x"
labels = [
  "a",
  "a",
]
treshold = [0.5]
[input]
channels = 1
shape = [8, 8]
[[preparation]]
name = "Lambda"
[[preparation]]
name = "Resized"
args = { func = "os.system" }
[[metrics]]
name = "auroc"
primary = true
floor = 3
[[metrics]]
name = "f1"
[[phases]]
name = "one"
title = "One"
opens = 2027-02-01T00:00:00Z
closes = 2027-01-01T00:00:00Z
[[phases]]
name = "two"
title = "Two"
opens = 2027-01-15
parent = "three"
'''


def test_every_fault_is_told_at_once_with_its_line() -> None:
    """Of form, between the parts, of the preparation; in the order of the file."""
    definition, findings = judge_text(BAD)
    assert definition is None
    assert [(finding.line, finding.key, finding.code) for finding in findings] == [
        (1, "name", "benchmark-invalid"),
        (12, "labels[1]", "benchmark-invalid"),
        (16, "treshold", "benchmark-invalid"),
        (20, "preparation[0]", "transform-unknown"),
        (22, "preparation[1]", "transform-argument-invalid"),
        (28, "metrics[0].floor", "benchmark-invalid"),
        (30, "metrics[1].name", "metric-unknown"),
        (35, "phases[0].closes", "phase-dates"),
        (39, "phases[1].opens", "benchmark-invalid"),
        (40, "phases[1].parent", "phase-unknown"),
    ]
    assert "did you mean thresholds?" in findings[2].words


@pytest.mark.parametrize("name", bundled_names())
def test_the_bundled_benchmarks_have_no_fault(name: str) -> None:
    """Nor have their reference networks."""
    definition, findings = check_definition(FOLDER / name)
    assert findings == []
    assert definition is not None


@pytest.mark.parametrize(
    ("before", "after", "code", "key"),
    [
        ('name = "auroc"', 'name = "dice"', "metric-unknown", "metrics[0].name"),
        ('name = "auprc"', 'name = "auroc"', "benchmark-invalid", "metrics[1].name"),
        ("primary = true", "primary = false", "benchmark-invalid", "metrics"),
        ('"normal", "opacity"', '"all", "opacity"', "benchmark-invalid", "labels[0]"),
        ("version = 1", "version = 0", "benchmark-invalid", "version"),
        ('task = "classification"', "", "benchmark-invalid", "task"),
        ("shape = [64, 64]", "shape = [64, 64", "benchmark-invalid", "the file"),
    ],
)
def test_one_change_makes_one_fault(before: str, after: str, code: str, key: str) -> None:
    """With the code the hub would refuse it with."""
    _, findings = judge_text(GOOD.replace(before, after, 1))
    assert (code, key) in [(finding.code, finding.key) for finding in findings]


def test_a_reference_network_that_does_not_fit_is_a_fault(tmp_path: Path) -> None:
    """A researcher's first model would be refused."""
    (tmp_path / "reference").mkdir()
    (tmp_path / FILE).write_text(GOOD.replace("[64, 64]", "[32, 32]"))
    reference = (FOLDER / "chest_phantom" / "reference" / "bundle.json").read_text()
    (tmp_path / "reference" / "bundle.json").write_text(reference)
    definition, findings = check_definition(tmp_path)
    assert definition is None
    assert [(finding.key, finding.code) for finding in findings] == [("reference/bundle.json", "model-incompatible")]


def test_phases_may_overlap_and_one_may_stay_open() -> None:
    """Their order is that of their opening."""
    phases = """
[[phases]]
name = "sanity"
title = "Sanity"
opens = 2027-01-01T00:00:00Z
[[phases]]
name = "main"
title = "Main"
opens = 2027-01-01T01:00:00+01:00
closes = 2027-02-01T00:00:00Z
parent = "sanity"
ladder = 0.01
submissions = { a_day = 2 }
"""
    definition, findings = judge_text(GOOD + phases)
    assert findings == []
    assert definition is not None
    assert definition.phases[1].submissions.a_day == 2


def test_lines_are_found_through_strings_and_arrays_over_several_lines() -> None:
    """A key, an element, a key of an inline table, a table that stands several times."""
    lines = key_lines('a = """\nb = 1\n"""\nc = [\n 1,\n 2]\n[[d.e]]\nf = { g = 1 }\n[[d.e]]\n# no key\n"h" = 2\n')
    assert [line_of(lines, path) for path in [("a",), ("c", 1), ("d", "e", 0, "f", "g"), ("d", "e", 1, "h")]] == [
        1,
        4,
        8,
        11,
    ]
    assert line_of(lines, ("d", "e", 1, "missing")) == 9
    assert line_of(lines, ("b",)) is None
