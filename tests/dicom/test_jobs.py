"""Which predictions a folder of studies makes, by what the network takes and by rules."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from medssm_monai.bundle.tasks import FusionTask, SegmentationTask
from medssm_monai.dicom import find_series
from medssm_monai.dicom.jobs import plan_jobs
from medssm_monai.dicom.selection import Selection

from .objects import image, require_libraries, save, slices, turned

require_libraries()
import pydicom  # noqa: E402
from pydicom.uid import generate_uid  # noqa: E402

PIXELS = np.arange(48, dtype=np.uint8).reshape(6, 8)


def network(dims=2, kind="segmentation", channels=(), sources=("source_a", "source_b")):
    """What ``plan_jobs`` asks of a predictor."""
    task = FusionTask(sources) if kind == "fusion" else SegmentationTask()
    return SimpleNamespace(
        name="net", kind=kind, task=task, channel_files=tuple(channels), settings={"spatial_dims": dims}
    )


def change(folder, **values):
    for path in sorted(folder.glob("*.dcm")):
        header = pydicom.dcmread(path)
        for name, value in values.items():
            setattr(header, name, value)
        header.save_as(path)
    return folder


def volume(folder, description, study, frame_of_reference="1.2.3", number=1, **values):
    slices(folder, turned(10), study=study)
    return change(
        folder, SeriesDescription=description, FrameOfReferenceUID=frame_of_reference, SeriesNumber=number, **values
    )


def test_pictures_and_volumes_go_to_the_networks_that_take_them(tmp_path):
    slices(tmp_path / "mr", turned(5))
    save(image("DX", PIXELS), tmp_path / "dx.dcm")
    cine = np.stack([PIXELS] * 3)
    save(image("USM", cine, NumberOfFrames=3, FrameTime="40"), tmp_path / "cine.dcm")
    found = find_series(tmp_path)
    flat, flat_passed = plan_jobs(found, network(2))
    deep, deep_passed = plan_jobs(found, network(3))
    assert sorted(len(job.pictures) for job in flat) == [1, 1, 1, 1]
    assert [passed.reason for passed in flat_passed] == ["a volume; the network takes pictures"]
    assert len(deep) == 1 and deep[0].pictures == () and len(deep[0].series[0].instances) == 5
    assert {passed.reason for passed in deep_passed} == {"pictures; the network takes volumes"}
    assert len({job.key for job in flat + deep}) == 5


def test_keys_follow_from_identifiers_not_from_names_or_neighbors(tmp_path):
    study, series = generate_uid(), generate_uid()
    first = image("DX", PIXELS, 1, study, series)
    save(first, tmp_path / "a" / "1.dcm")
    save(first, tmp_path / "b" / "renamed.dcm")
    save(image("DX", PIXELS, 2, study, series), tmp_path / "b" / "later.dcm")
    alone = plan_jobs(find_series(tmp_path / "a"), network())[0]
    together = plan_jobs(find_series(tmp_path / "b"), network())[0]
    assert [job.key for job in together if job.instance_uid == first.SOPInstanceUID] == [alone[0].key]


@pytest.mark.parametrize(
    ("rules", "kept"),
    [
        ({}, 2),
        ({"modality": ("dx",)}, 1),
        ({"modality": ("DX", "CR", "XC")}, 2),
        ({"body_part": "chest|thorax"}, 1),
        ({"description": "^pa$"}, 1),
        ({"description": "ap"}, 0),
    ],
)
def test_rules(tmp_path, rules, kept):
    save(image("DX", PIXELS, BodyPartExamined="CHEST", SeriesDescription="PA"), tmp_path / "1.dcm")
    save(image("XC", PIXELS), tmp_path / "2.dcm")
    jobs, passed = plan_jobs(find_series(tmp_path), network(), Selection(**rules))
    assert (len(jobs), len(passed)) == (kept, 2 - kept)
    assert all("asked for" in one.reason for one in passed)


def test_own_results_are_no_input_unless_asked_for(tmp_path):
    save(image("DX", PIXELS, Manufacturer="medssm-monai"), tmp_path / "1.dcm")
    found = find_series(tmp_path)
    assert plan_jobs(found, network())[1][0].reason == "a result of medssm-monai itself"
    assert len(plan_jobs(found, network(), Selection(own_results=True))[0]) == 1


def test_a_pattern_that_is_none_is_named():
    with pytest.raises(ValueError, match=r"source_a: '\(' is no regular expression"):
        Selection(sources={"source_a": "("})


def test_the_only_two_volumes_on_one_grid_are_a_pair_in_the_order_of_their_numbers(tmp_path):
    study = generate_uid()
    volume(tmp_path / "1", "ct bone", study, number=7)
    volume(tmp_path / "2", "t1", study, number=2)
    slices(tmp_path / "3", turned(30), study=study)  # lies elsewhere
    jobs, passed = plan_jobs(find_series(tmp_path), network(3, "fusion"))
    assert [[one.description for one in job.series] for job in jobs] == [["t1", "ct bone"]]
    assert [one.reason for one in passed] == ["no partner on the same voxels of one frame of reference"]


def test_rules_name_the_sources_and_more_than_one_fit_is_no_guess(tmp_path):
    study = generate_uid()
    for number, what in enumerate(("t1", "t2", "ct"), start=1):
        volume(tmp_path / what, what, study, number=number)
    found, fusion = find_series(tmp_path), network(3, "fusion")
    assert "3 pairs of the study" in plan_jobs(found, fusion)[1][0].reason
    jobs, _ = plan_jobs(found, fusion, Selection(sources={"source_a": "^ct", "source_b": "t2"}))
    assert [one.description for one in jobs[0].series] == ["ct", "t2"] and len(jobs) == 1
    jobs, passed = plan_jobs(found, fusion, Selection(sources={"source_a": "^ct"}))
    assert jobs == [] and "several series fit one of source_a and source_b" in passed[0].reason
    with pytest.raises(ValueError, match=r"net has no source mr; it has source_a, source_b"):
        plan_jobs(found, fusion, Selection(sources={"mr": "t1"}))
    with pytest.raises(ValueError, match="it takes one series at a time"):
        plan_jobs(found, network(3), Selection(sources={"mr": "t1"}))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"frame_of_reference": "1.2.4"}, "of one frame of reference, as source_a and source_b must; register"),
        ({"description": "t1"}, ""),
    ],
)
def test_other_places_and_other_studies_are_no_pair(tmp_path, values, reason):
    study = generate_uid()
    volume(tmp_path / "1", "t1", study)
    volume(tmp_path / "2", **{"description": "ct", "study": study, **values})
    jobs, passed = plan_jobs(find_series(tmp_path), network(3, "fusion"))
    assert len(jobs) == (0 if reason else 1)
    assert not reason or all(reason in one.reason for one in passed)


def test_channels_are_found_by_their_names_in_descriptions(tmp_path):
    for patient in "ab":
        study = generate_uid()
        for number, what in enumerate(("Ax FLAIR 3mm", "ax t1 post", "localizer like"), start=1):
            volume(tmp_path / patient / str(number), what, study, number=number)
    volume(tmp_path / "c", "t1", generate_uid())
    jobs, passed = plan_jobs(find_series(tmp_path), network(3, channels=("t1", "flair")))
    assert [[one.description for one in job.series] for job in jobs] == [["ax t1 post", "Ax FLAIR 3mm"]] * 2
    assert {one.reason for one in passed} == {
        "no source: t1 and flair",
        "the study has no series for flair; give rules for sources",
    }


def test_pairs_of_pictures(tmp_path):
    study, first, second = generate_uid(), generate_uid(), generate_uid()
    for number in (1, 2):
        save(image("XC", PIXELS, number, study, first, SeriesDescription="a"), tmp_path / f"a{number}.dcm")
        save(image("XC", PIXELS, number, study, second, SeriesDescription="b"), tmp_path / f"b{number}.dcm")
    jobs, _ = plan_jobs(find_series(tmp_path), network(2, "fusion"), Selection(sources={"source_b": "^a$"}))
    names = [[picture.rpartition("/")[2] for picture in job.pictures] for job in jobs]
    assert names == [["b1.dcm", "a1.dcm"], ["b2.dcm", "a2.dcm"]]
