"""The HTML page of each kind of evaluation, on generated figures (not real ones)."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image

from medssm_monai.handlers.evaluation_report import EvaluationReport
from medssm_monai.metrics.class_overlap import overlap_of_class
from medssm_monai.reports import ClassifiedImage, FusedPair, summarize, summarize_classification, summarize_fusion
from medssm_monai.reports.cases import choose_cases
from medssm_monai.reports.conformal import summarize_risk, summarize_sets
from medssm_monai.reports.html_classification import write_classification_html
from medssm_monai.reports.html_fusion import write_fusion_html
from medssm_monai.reports.html_images import LARGEST_PNG, picture_source, thumbnail
from medssm_monai.reports.html_markup import Html, element, plain, table
from medssm_monai.reports.html_page import Section, add_section, without_pictures
from medssm_monai.reports.html_segmentation import write_segmentation_html
from medssm_monai.reports.next_steps import next_steps
from medssm_monai.reports.page import format_number
from medssm_monai.reports.sanity import fusion_floors
from medssm_monai.reports.segmentation import ImageRecord
from medssm_monai.reports.segmentation_classes import ClassesRecord, summarize_classes
from medssm_monai.reports.summary import write_summary

from .page_checks import Page, checked

HOSTILE = '</td><script>alert("x")</script> & <img src=x onerror=alert(1)>\'" {{7*7}} ${x} https://evil.example/a'
FEW = 50  # resamples


def finished(summary, figure, entry, counted="images", **more):
    """The summary as a handler completes it."""
    whole = {"name": "test", "data": HOSTILE, **summary, "warnings": [], "details": {"weights": HOSTILE}}
    whole |= {"versions": {"python": "3"}, "written": "today", **more}
    return {**whole, "next_steps": next_steps(whole, figure, entry, counted)}


def classified(count=30, seed=0, names=("benign", HOSTILE)):
    rng = np.random.default_rng(seed)
    records = []
    for number in range(count):
        value = rng.uniform()
        records.append(ClassifiedImage(f"{number}_{HOSTILE}.png", np.array([1 - value, value]), number % 2))
    summary = summarize_classification(records, names, n_resamples=FEW)
    scores = {record.name: float(record.probabilities[record.label]) for record in records}
    cases = [case | {"label": names[0], "predicted": names[1]} for case in choose_cases(scores, 2)]
    return finished(summary, "accuracy", summary["metrics"]["accuracy"], cases=cases)


def test_a_classification_has_the_figures_of_its_summary(tmp_path):
    summary = classified()
    picture = np.random.default_rng(1).integers(0, 256, (28, 28, 3), dtype=np.uint8)
    shown = {case["image"]: thumbnail(picture) for case in summary["cases"]}
    write_classification_html(summary, tmp_path / "report.html", [], shown)
    page = checked(tmp_path / "report.html", HOSTILE)
    write_summary(summary, tmp_path / "summary.json")
    kept = json.loads((tmp_path / "summary.json").read_text())
    for entry in kept["metrics"].values():
        assert format_number(entry["value"]) in page.cells
        assert f"{format_number(entry['low'])} to {format_number(entry['high'])}" in page.cells
    for row, label in zip(kept["confusion_matrix"], kept["class_names"], strict=True):
        place = len(page.cells) - 1 - page.cells[::-1].index(label)  # of the last row of this name
        found = [page.cells[start + 1 : start + 3] for start, cell in enumerate(page.cells) if cell == label]
        assert list(map(str, row)) in found and place
    assert len(page.pictures()) == len(kept["cases"]) == 6
    sizes = {Image.open(io.BytesIO(content)).size for content in page.pictures()}
    assert sizes == {(168, 168)}  # 28 pixels, enlarged by a whole factor


def with_sets(threshold, count=60):
    """A classification whose sets take every class that reaches ``1 - threshold``."""
    summary = classified(count)
    rng, labels = np.random.default_rng(0), np.arange(count) % 2
    second = rng.uniform(size=count)
    conformal = {"method": "lac", "level": 0.9, "threshold": threshold, "classes": 2, "images": 99, "part": HOSTILE}
    conformal |= {"data": HOSTILE, "groups": None}
    names = summary["class_names"]
    return summary | {"conformal": summarize_sets(conformal, np.stack([1 - second, second], 1), labels, names)}


def test_sets_are_measured_against_their_promise(tmp_path):
    summary = with_sets(0.4)  # none is as probable as 0.6 in a fifth of the images, and half of the rest are wrong
    write_classification_html(summary, tmp_path / "report.html", [], {})
    page, found = checked(tmp_path / "report.html", HOSTILE), summary["conformal"]
    assert "Uncertainty that holds" in page.text and "Not kept: the whole interval lies below 90 %." in page.text
    whole = found["coverage"]
    assert f"{100 * whole['value']:.1f} % ({whole['covered']} of 60 images" in page.text
    start = page.cells.index("all classes")
    cells = ["all classes", "60", format_number(whole["value"])]
    cells += [f"{format_number(whole['low'])} to {format_number(whole['high'])}", "below"]
    assert page.cells[start : start + 5] == cells
    sizes = dict(zip(page.cells, page.cells[1:], strict=False))
    assert sizes["none (empty)"] == str(found["sizes"]["0"]) != "0" and sizes["2 (all)"] == "0"
    assert "cannot judge the image" in page.text and "no class is ruled out" in page.text
    assert len(page.pictures()) == 1  # the chart
    every = with_sets(1.0)
    write_classification_html(every, tmp_path / "all.html", [], {})
    page = checked(tmp_path / "all.html", HOSTILE)
    assert "Kept: the whole interval lies above 90 %." in page.text and "100.0 % (60 of 60 images" in page.text


def test_a_promise_for_each_class_is_judged_for_each_class(tmp_path):
    """Of 400 images 380 have a set with their class, of the 60 of the second class 40: only the mean looks kept."""
    summary = classified(400)
    first, second = summary["class_names"]
    labels = np.repeat([0, 1], [340, 60])
    probabilities = np.full((400, 2), (0.8, 0.2))
    probabilities[340:380] = (0.2, 0.8)
    conformal = {"method": "lac_by_class", "level": 0.9, "threshold": [0.5, 0.5], "classes": 2, "images": 99}
    conformal |= {"part": "validation", "data": "others", "groups": None}
    found = summarize_sets(conformal, probabilities, labels, summary["class_names"])
    assert found["coverage"]["low"] > 0.9 > found["per_class"][second]["high"]
    write_classification_html(summary | {"conformal": found}, tmp_path / "report.html", [], {})
    page = checked(tmp_path / "report.html", HOSTILE)
    assert f"{first}: Kept: the whole interval lies above 90 %." in page.text
    assert f"{second}: Not kept: the whole interval lies below 90 %." in page.text


def test_without_a_calibration_there_is_no_such_section(tmp_path):
    write_classification_html(classified(), tmp_path / "report.html", [], {})
    assert "Uncertainty that holds" not in checked(tmp_path / "report.html", HOSTILE).text


@pytest.mark.parametrize(
    ("missed", "said"),
    [
        (0.3, "Not kept: the whole interval lies above 10 %."),
        (0.02, "Kept: the whole interval lies below 10 %."),
        (0.1, "Neither kept nor broken for sure: the interval holds 10 %."),
    ],
)
def test_masks_are_measured_against_their_promise(tmp_path, missed, said):
    _, summary = segmented()
    rng = np.random.default_rng(0)
    values = [{HOSTILE: float(missed + rng.uniform(-0.01, 0.01))} for _ in range(12)]
    conformal = {"method": "crc", "level": 0.9, "thresholds": {HOSTILE: 0.345}, "images": 99, "part": "validation"}
    marked = [{HOSTILE: 1.25}] * 12
    draws = {"n_resamples": FEW, "confidence": 0.95, "seed": 0}
    found = summarize_risk(conformal, values, marked, draws)
    write_segmentation_html(summary | {"conformal": found}, tmp_path / "report.html", {"dice": [0.5]}, [])
    page, entry = checked(tmp_path / "report.html", HOSTILE), found["classes"][HOSTILE]["missed"]
    assert said in page.text and f"{100 * entry['mean']:.1f} % missed" in page.text
    start = page.cells.index(HOSTILE)
    assert page.cells[start : start + 4] == [HOSTILE, "0.345", "12", format_number(entry["mean"])]
    assert "1.2500" in page.cells


def test_names_are_texts_whatever_they_hold(tmp_path):
    summary = classified()
    write_classification_html(summary, tmp_path / "report.html", [], {})
    page = checked(tmp_path / "report.html", HOSTILE)
    assert 'alert("x")' in page.text and "<img src=x onerror=alert(1)>" in page.text
    assert not any(tag == "script" for tag, _ in page.tags)
    assert HOSTILE in page.cells


def segmented(count=12):
    rng = np.random.default_rng(0)
    records = []
    for number in range(count):
        counts = rng.integers(1, 50, 4)
        score = float(rng.uniform(0.2, 1))
        records.append(ImageRecord(f"{number}{HOSTILE}", (16, 16), {"dice": score, "iou": score / 2}, counts, (0, 1)))
    summary = summarize(records, n_resamples=FEW)
    cases = choose_cases({record.name: record.scores["dice"] for record in records}, 1)
    more = {"threshold": 0.5, "distance_unit": "pixels", "normalize": True, "cases_by": "dice", "cases": cases}
    return records, finished(summary, "dice", summary["per_image"]["dice"], **more)


def test_a_segmentation_has_figures_cases_and_their_distribution(tmp_path):
    records, summary = segmented()
    panels = [np.full((40, 90, 3), 40 * number, np.uint8) for number in range(len(summary["cases"]))]
    scores = {"dice": [record.scores["dice"] for record in records]}
    write_segmentation_html(summary, tmp_path / "report.html", scores, panels)
    page = checked(tmp_path / "report.html", HOSTILE)
    for entry in (*summary["per_image"].values(), *summary["pooled"].values()):
        assert f"{format_number(entry['low'])} to {format_number(entry['high'])}" in page.cells
    assert len(page.pictures()) == 1 + len(panels)
    drawn = [np.asarray(Image.open(io.BytesIO(content))) for content in page.pictures()[1:]]
    for panel, picture in zip(panels, drawn, strict=True):
        np.testing.assert_array_equal(picture, panel)
    for case in summary["cases"]:
        assert f"{case['kind']}: dice {case['score']:.4f}" in page.text


def test_classes_have_a_row_each(tmp_path):
    rng = np.random.default_rng(0)
    records = []
    for number in range(6):
        counts = rng.integers(1, 50, (2, 4))
        table_ = {
            name: {key: float(values[k]) for key, values in overlap_of_class(counts).items()}
            for k, name in enumerate(("liver", HOSTILE))
        }
        records.append(ClassesRecord(str(number), (8, 8, 8), table_, counts, [(0, 1)] * 2, ("mm", "ml")))
    summary = summarize_classes(records, True, n_resamples=FEW)
    more = {"threshold": None, "tolerance": 1.0, "cases_by": "dice", "cases": []}
    summary = finished(summary, "dice", summary["per_image"]["dice"], **more)
    scores = {name: [record.scores[name]["dice"] for record in records] for name in records[0].scores}
    write_segmentation_html(summary, tmp_path / "report.html", scores, [])
    page = checked(tmp_path / "report.html", HOSTILE)
    for name, entry in summary["classes"].items():
        assert name in page.cells
        assert any(cell.startswith(format_number(entry["dice"]["mean"])) for cell in page.cells)


def test_a_fusion_has_all_rows(tmp_path):
    rng = np.random.default_rng(0)
    pairs = [
        FusedPair(str(n), (8, 8), {row: {"ssim_mean": float(rng.uniform())} for row in ("fused", "average")}, 0.1)
        for n in range(25)
    ]
    found = summarize_fusion(pairs, n_resamples=FEW)
    more = {"sources": ["MRI", HOSTILE], "cases_by": "ssim_mean", "cases": []}
    more["floors"] = fusion_floors(found["rows"], "fused", "ssim_mean")
    summary = finished(found, "ssim_mean", found["rows"]["fused"]["ssim_mean"], "pairs", **more)
    scores = {row: [pair.scores[row]["ssim_mean"] for pair in pairs] for row in ("fused", "average")}
    write_fusion_html(summary, tmp_path / "report.html", scores, [])
    page = checked(tmp_path / "report.html", HOSTILE)
    for rows in (found["rows"], found["lead"]):
        for entries in rows.values():
            entry = entries["ssim_mean"]
            shown = f"{format_number(entry['mean'])} ({format_number(entry['low'])} to {format_number(entry['high'])})"
            assert shown in page.cells
    assert "25 pairs" in page.text


def test_a_section_can_be_added_before_the_settings(tmp_path):
    _, summary = segmented()
    path = tmp_path / "report.html"
    write_segmentation_html(summary, path, {"dice": [0.5, 0.6]}, [])
    add_section(path, Section("more", "More", element("p", HOSTILE)))
    add_section(path, Section("further", "Further", element("p", "x")))
    page = checked(path, HOSTILE)
    order = [attributes["id"] for tag, attributes in page.tags if tag == "section"]
    assert order[-4:] == ["more", "further", "settings", "provenance"]
    assert page.links == order
    (tmp_path / "other.html").write_text("<p>another page</p>")
    with pytest.raises(ValueError, match="no page of an evaluation"):
        add_section(tmp_path / "other.html", Section("more", "More", Html("")))


def test_a_page_without_pictures_shows_no_patient(tmp_path):
    records, summary = segmented()
    path = tmp_path / "report.html"
    panels = [np.full((9, 9, 3), 7, np.uint8)] * len(summary["cases"])
    write_segmentation_html(summary, path, {"dice": [record.scores["dice"] for record in records]}, panels)
    rest = Page(without_pictures(path.read_text()))
    assert rest.wrong == [] and len(rest.pictures()) == 1  # the chart
    assert rest.text.count("a picture of a patient") == len(panels)


def test_letters_that_turn_others_around_and_control_letters_go():
    assert plain("a\u202egpj.exe\x00\nb") == "a\ufffdgpj.exe b"
    assert plain("gr\udcfcn") == "gr\\udcfcn"
    assert element("p", "<b>", Html("<i>x</i>"), title='"', lang=None) == '<p title="&quot;">&lt;b&gt;<i>x</i></p>'
    assert Page(table("<c>", ["<h>"], [["<r>"]])).text.split() == ["<c>", "<h>", "<r>"]


def test_large_pictures_are_made_smaller():
    noise = np.random.default_rng(0).integers(0, 256, (900, 2400, 3), dtype=np.uint8)
    kind, _, content = picture_source(noise, 1200).partition(";base64,")
    small = picture_source(np.zeros((4, 6, 3), np.uint8))
    assert kind == "data:image/jpeg" and len(content) * 3 / 4 > LARGEST_PNG
    assert small.startswith("data:image/png")


def test_training_validations_write_no_page(tmp_path):
    class Report(EvaluationReport):
        _reset = _score = _finish = None

    assert Report(tmp_path, "test", None, True, None, None, 9).page is None
    assert Report(tmp_path, "test", None, False, None, None, 9).page == tmp_path / "report.html"
