"""Which series are for which bundle."""

from __future__ import annotations

import json

import pytest

from medssm_monai.apps.dicom.in_orthanc import entry_file, rules
from medssm_monai.apps.dicom.in_orthanc.rules import Rule, content_of, is_source, matching_series, read_rules
from medssm_monai.dicom.facts import MANUFACTURER


def series(modality: str = "CR", instances=("i",), **tags: str) -> dict:
    return {"MainDicomTags": {"Modality": modality, **tags}, "Instances": list(instances)}


@pytest.mark.parametrize(
    ("rule", "tags", "matches"),
    [
        ({}, {}, True),
        ({"modality": "CR|DX"}, {"Modality": "dx"}, True),
        ({"modality": "CR"}, {"Modality": "CRX"}, False),
        ({"modality": "CR"}, {}, False),
        ({"body_part": "CHEST"}, {"BodyPartExamined": "Chest "}, True),
        ({"body_part": "CHEST"}, {"BodyPartExamined": "CHESTABDPELV"}, False),
        ({"description": "t1"}, {"SeriesDescription": "Ax T1 post"}, True),
        ({"description": "^t1"}, {"SeriesDescription": "Ax T1 post"}, False),
        ({"protocol": "polyp"}, {"ProtocolName": "Polyps"}, True),
        ({"manufacturer": "acme"}, {"Manufacturer": "Acme Inc."}, True),
        ({"modality": "MR", "description": "t1"}, {"Modality": "MR", "SeriesDescription": "T2"}, False),
    ],
)
def test_matching(rule, tags, matches):
    assert Rule("b", **rule).matches(tags) is matches


def test_own_results_and_objects_about_images_never_match():
    assert rules.OURS == MANUFACTURER
    assert not is_source({"Modality": "MR", "Manufacturer": MANUFACTURER})
    assert all(not is_source({"Modality": name}) for name in ("SEG", "SR", "PR", "KO", "RTSTRUCT", "seg"))
    assert is_source({"Modality": "MR", "Manufacturer": "Acme"}) and is_source({})
    for level in ("series", "study"):
        assert matching_series(Rule("b", level), [series("SR"), series(Manufacturer=MANUFACTURER)]) == []


def test_a_study_goes_whole_where_one_series_matches():
    mr, ct, report = series("MR"), series("CT"), series("SR")
    assert matching_series(Rule("b", "study", modality="MR"), [mr, ct, report]) == [mr, ct]
    assert matching_series(Rule("b", "study", modality="PT"), [mr, ct, report]) == []
    assert matching_series(Rule("b", modality="MR"), [mr, ct]) == [mr]


def test_content_follows_from_the_instances():
    one = content_of([series(instances=("a", "b")), series(instances=("c",))])
    assert one == content_of([series(instances=("c", "a")), series(instances=("b",))])
    assert one != content_of([series(instances=("a", "b"))])


def test_all_mistakes_are_named_at_once(tmp_path):
    wrong = [
        {"modality": "("},
        {"bundle": "b", "level": "patient", "body_parts": "x", "description": 3},
        "b",
    ]
    path = tmp_path / "rules.json"
    path.write_text(json.dumps(wrong))
    with pytest.raises(ValueError) as error:
        read_rules(str(path))
    for part in ("rule 1: no bundle", "rule 1: modality is no regular expression", "rule 2: unknown key 'body_parts'"):
        assert part in str(error.value)
    for part in ("rule 2: description is no text", 'rule 2: level is "series" or "study"', "rule 3 is no object"):
        assert part in str(error.value)
    for bad in ([], {}, None):
        with pytest.raises(ValueError, match="a list of one rule or more"):
            read_rules(bad)
    with pytest.raises(ValueError, match=r"nowhere\.json: cannot be read as JSON"):
        read_rules(str(tmp_path / "nowhere.json"))


def test_rules_are_read():
    assert read_rules([{"bundle": "b", "level": "study", "modality": "MR"}]) == [Rule("b", "study", modality="MR")]


def test_what_runs_in_orthanc_needs_only_the_standard_library():
    import ast
    import sys

    folder = entry_file().parent
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert node.level in (0, 1)
                names = [] if node.level else [node.module or ""]
            outside = {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - {"orthanc"}
            assert outside == set(), path.name
