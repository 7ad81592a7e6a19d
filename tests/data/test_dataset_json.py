"""``dataset.json`` of the Decathlon and of nnU-Net: classes and channels, and what is wrong with broken ones."""

from __future__ import annotations

import logging

import pytest

from medssm_monai.data import DatalistError, LabelSet, dataset_channels, dataset_labels
from medssm_monai.data.datalists.dataset_json import read_dataset_json

from .volume_builders import write_json

DECATHLON = {"modality": {"0": "FLAIR", "1": "T1w"}, "labels": {"0": "background", "1": "edema", "2": "core"}}
NNUNET = {"channel_names": {"0": "T2"}, "labels": {"background": 0, "PZ": 1, "TZ": 2}, "file_ending": ".nii.gz"}
REGIONS = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3, "ignore": 4}


def test_the_decathlons_form(tmp_path):
    pairs = [{"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}]
    facts = read_dataset_json(write_json(tmp_path, {**DECATHLON, "training": pairs, "test": ["./imagesTs/b.nii.gz"]}))
    assert facts.labels == {"edema": 1, "core": 2}
    assert facts.channel_names == ("FLAIR", "T1w")
    assert facts.pairs == (((tmp_path / "imagesTr/a.nii.gz",), tmp_path / "labelsTr/a.nii.gz"),)
    assert facts.unlabeled == 1


def test_nnunets_form(tmp_path):
    facts = read_dataset_json(write_json(tmp_path, NNUNET))
    assert (facts.labels, facts.channel_names, facts.file_ending) == ({"PZ": 1, "TZ": 2}, ("T2",), ".nii.gz")
    assert facts.pairs == ()


def test_channels_of_one_name_are_numbered(tmp_path):
    facts = read_dataset_json(write_json(tmp_path, {**NNUNET, "channel_names": {"0": "MRI", "1": "CT", "2": "MRI"}}))
    assert facts.channel_names == ("MRI_0", "CT", "MRI_2")


@pytest.mark.parametrize("order", [[1, 2, 3], None])
def test_regions_are_written_as_their_order_says(tmp_path, order):
    content = {**NNUNET, "labels": REGIONS} | ({"regions_class_order": order} if order else {})
    labels = LabelSet.of(read_dataset_json(write_json(tmp_path, content)).labels)
    assert labels.names == ("whole", "core", "enhancing")
    assert labels.written == (1, 2, 3)
    assert labels.ignore == 4


def test_the_order_chooses_among_the_values_of_a_region(tmp_path):
    labels = {"background": 0, "whole": [1, 2, 3], "core": [3]}
    read = read_dataset_json(write_json(tmp_path, {**NNUNET, "labels": labels, "regions_class_order": [2, 3]}))
    assert LabelSet.of(read.labels).written == (2, 3)
    assert set(read.labels["whole"]) == {1, 2, 3}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": REGIONS, "regions_class_order": [1, 2]}, "one number for each of whole, core, enhancing"),
        ({"labels": REGIONS, "regions_class_order": [1, 3, 2]}, "core 3, enhancing 2, but a label map can show"),
        ({"labels": REGIONS, "regions_class_order": "123"}, "one number for each"),
        ({"labels": {"background": 0, "core": [2], "whole": [1, 2]}}, "every value of 'core' belongs to a class named"),
        ({"labels": {}}, "labels are names and values"),
        ({"labels": ["a", "b"]}, "labels are names and values"),
        ({"labels": {"background": 0, "a": "one"}}, "label 'a' has the value 'one'"),
        ({"labels": {"background": 1, "a": 2}}, "the background has the value 1"),
        ({"labels": {"0": "background", "1": "a", "2": "a"}}, "two labels have one name"),
        ({"channel_names": {"1": "T2"}}, "numbered from 0"),
        ({"channel_names": ["T2"]}, "numbered from 0"),
        ({"channel_names": {"0": 5}}, "numbered from 0"),
        ({"training": {"a": "b"}}, "training is a list"),
        ({"training": [{"image": "a.nii.gz"}]}, "entry 0 is"),
        ({"training": [{"image": [1], "label": "a"}]}, "entry 0 is"),
        ({"file_ending": 3}, "file_ending is a text"),
    ],
)
def test_broken_contents(tmp_path, change, message):
    with pytest.raises(DatalistError, match=message):
        read_dataset_json(write_json(tmp_path, {**NNUNET, **change}))


@pytest.mark.parametrize("left_out", ["labels", "channel_names"])
def test_missing_keys(tmp_path, left_out):
    content = {key: value for key, value in NNUNET.items() if key != left_out}
    with pytest.raises(DatalistError, match=f"lacks {left_out}.*its keys are"):
        read_dataset_json(write_json(tmp_path, content))


@pytest.mark.parametrize(("text", "message"), [("{", "not valid JSON"), ("[1]", "no JSON object"), ("\xff", "JSON")])
def test_no_json(tmp_path, text, message):
    (tmp_path / "dataset.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(DatalistError, match=message):
        dataset_labels(tmp_path)


def test_labels_and_channels_of_a_folder(tmp_path):
    assert dataset_labels(tmp_path) == {"lesion": "foreground"}
    assert dataset_channels(tmp_path) is None
    write_json(tmp_path, DECATHLON)
    assert dataset_labels(str(tmp_path)) == {"edema": 1, "core": 2}
    assert dataset_channels(tmp_path) == ["FLAIR", "T1w"]
    assert dataset_channels(tmp_path, None) is None
    assert dataset_channels(tmp_path, ["a", "b"]) == ["a", "b"]
    assert dataset_labels(tmp_path, {"all": [1, 2]}) == {"all": [1, 2]}


def test_a_dataset_json_of_another_program_says_nothing(tmp_path, caplog):
    write_json(tmp_path, {"categories": [], "images": []})
    with caplog.at_level(logging.WARNING):
        assert dataset_labels(tmp_path) == {"lesion": "foreground"}
    assert "says nothing about classes" in caplog.text


def test_the_demo_sets_have_their_own():
    assert dataset_labels("demo") == {"lesion": "foreground"}
    assert dataset_channels("demo") is None
    structures = dataset_labels("demo_structures")
    assert len(structures) > 1
    assert dataset_labels("demo", "auto", 3) == dataset_labels("demo_structures", spatial_dims=3) == structures
    assert dataset_channels("demo_structures") == ["R", "G", "B"]
    assert len(dataset_channels("demo", spatial_dims=3)) == 1


@pytest.mark.parametrize("labels", ["all", 3, {"a": 0}, {"a": "one"}, {}])
def test_labels_that_are_none(tmp_path, labels):
    with pytest.raises(ValueError, match="or 'auto'; got"):
        dataset_labels(tmp_path, labels)


@pytest.mark.parametrize("names", ["t1", [], ["a", "A"], ["a", 1], ["a", " "]])
def test_channel_names_that_are_none(tmp_path, names):
    with pytest.raises(ValueError, match="channel_names are different names"):
        dataset_channels(tmp_path, names)


def test_a_missing_folder():
    with pytest.raises(FileNotFoundError):
        dataset_labels("no/such/folder")
