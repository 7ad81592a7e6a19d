"""A network learns from a baseline of its bundle; a teacher that does not fit is refused before anything is trained."""

from __future__ import annotations

import json

import pytest
import torch
from monai.bundle import ConfigParser

from medssm_monai.bundle import load_teacher
from medssm_monai.utils.files import file_sha256

from .bundle_runs import MAMBA_MIS, MEDCONVMAMBA, MEDSPECTRALNET, failing

TEACHABLE = (MAMBA_MIS, MEDCONVMAMBA, MEDSPECTRALNET)
CLASSES = ["lobed", "mottled", "ring", "smooth"]
DISTIL = ("train.yaml", "distil.yaml")
STUDENT = {"in_channels": 3, "image_size": [32, 32], "spatial_dims": 2}


def configs(bundle):
    return bundle.config("train.yaml", bundle.overlays[1])


def make_teacher(bundle, folder, **changes):
    """A baseline as a training of it leaves it, with its first weights."""
    parser = ConfigParser()
    parser.read_config(configs(bundle))
    settings = {key: value for key, value in STUDENT.items() if key in parser["settings"]} | changes
    for key in settings.keys() - {"class_names"}:
        parser[key] = settings[key]
    if bundle is not MAMBA_MIS:
        settings = {"class_names": CLASSES, **settings}
        parser["num_classes"] = len(settings["class_names"])
    torch.manual_seed(0)
    network = parser.get_parsed_content("network_def")
    folder.mkdir(parents=True)
    torch.save(network.state_dict(), folder / "model.pt")
    own = {"variant": parser["variant"], **settings, "trained_on": "demo"}
    (folder / "model.json").write_text(json.dumps(own))
    return network


@pytest.mark.parametrize("bundle", TEACHABLE, ids=str)
def test_a_baseline_is_built_as_it_was_trained(bundle, tmp_path):
    network = make_teacher(bundle, tmp_path / "run")
    teacher = load_teacher(tmp_path / "run", configs(bundle), STUDENT)
    image = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(teacher.network(image), network.eval()(image))
    assert not teacher.network.training and not any(p.requires_grad for p in teacher.network.parameters())
    assert teacher.sha256 == file_sha256(tmp_path / "run" / "model.pt")
    assert (
        teacher.name.startswith("monai_") and "trained on demo" in teacher.name and teacher.sha256[:12] in teacher.name
    )


@pytest.mark.parametrize(
    ("student", "match"),
    [
        ({"class_names": CLASSES[:2]}, "trained with class_names .*'smooth'.*this network has"),
        ({"class_names": CLASSES[::-1]}, "class_names"),
        ({"in_channels": 1}, "trained with in_channels 3, this network has 1"),
        ({"image_size": (64, 64)}, "trained with image_size"),
        ({"mean": [0.4] * 3}, None),  # the teacher's settings do not say
    ],
)
def test_a_teacher_of_other_images_or_classes_is_refused(student, match, tmp_path):
    make_teacher(MEDCONVMAMBA, tmp_path / "run")
    wanted = {**STUDENT, "class_names": CLASSES, **student}
    if match is None:
        assert load_teacher(tmp_path / "run", configs(MEDCONVMAMBA), wanted).name
        return
    with pytest.raises(ValueError, match=match):
        load_teacher(tmp_path / "run", configs(MEDCONVMAMBA), wanted)


def test_what_is_missing_is_said(tmp_path):
    with pytest.raises(ValueError, match="needs a teacher: .*--teacher"):
        load_teacher(None, configs(MAMBA_MIS), STUDENT)
    with pytest.raises(FileNotFoundError, match="weights of a teacher not found: .*nowhere.*--teacher"):
        load_teacher(tmp_path / "nowhere", configs(MAMBA_MIS), STUDENT)
    make_teacher(MAMBA_MIS, tmp_path / "run")
    with pytest.raises(FileNotFoundError, match=r"no config .*typo.yaml.*--teacher_overlay"):
        load_teacher(tmp_path / "run", [*configs(MAMBA_MIS), "typo.yaml"], STUDENT)
    with pytest.raises(ValueError, match="cannot build the teacher monai_unet .*--teacher_overlay"):
        load_teacher(tmp_path / "run", MAMBA_MIS.config("train.yaml"), STUDENT | {"variant": "mamba_mis_s"})
    (tmp_path / "run" / "model.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"no .*model.json beside the teacher's weights"):
        load_teacher(tmp_path / "run", configs(MAMBA_MIS), STUDENT)


def test_settings_are_never_read_as_expressions(tmp_path):
    make_teacher(MEDCONVMAMBA, tmp_path / "run", class_names=["$1/0", "@device", "%x"])
    wanted = {**STUDENT, "class_names": ["$1/0", "@device", "%x"]}
    assert load_teacher(tmp_path / "run", configs(MEDCONVMAMBA), wanted).network.fc.out_features == 3


@pytest.mark.integration
@pytest.mark.parametrize("bundle", TEACHABLE, ids=str)
def test_a_run_learns_from_its_teacher_and_names_it(bundle, tmp_path):
    normalized = {"mean": 0.5, "std": 0.25} if bundle is MAMBA_MIS else {}
    make_teacher(bundle, tmp_path / "teacher", **normalized)
    options = {**bundle.tiny, "teacher": str(tmp_path / "teacher"), "teacher_weight": 1.0, "max_epochs": 2}
    out = tmp_path / "out"
    flow = bundle.run(DISTIL, out, **options, run_name="run")
    name = flow.parser.get_parsed_content("load_teacher").name
    assert json.loads((out / "run" / "model.json").read_text())["teacher"] == name
    _, (run,) = bundle.mlflow_runs(out)
    assert run.data.params["distillation.teacher"] == name
    first = torch.load(out / "run" / "checkpoint_epoch=1.pt", weights_only=True)
    assert first["distillation"] == {"teacher_sha256": file_sha256(tmp_path / "teacher" / "model.pt")}
    assert not any("teacher" in key for key in first["model"])

    start = {"resume_from": str(out / "run" / "checkpoint_epoch=1.pt"), "run_name": "resumed"}
    bundle.run(DISTIL, out, **options, **start)
    assert (out / "resumed" / "model.pt").read_bytes() == (out / "run" / "model.pt").read_bytes()
    make_teacher(bundle, tmp_path / "other", **normalized)
    state = torch.load(tmp_path / "other" / "model.pt", weights_only=True)
    torch.save({key: value + 1 for key, value in state.items()}, tmp_path / "other" / "model.pt")
    with failing(ValueError, "another teacher than"):
        bundle.run(DISTIL, out, **{**options, "teacher": str(tmp_path / "other")}, **{**start, "run_name": "third"})
    with failing(FileNotFoundError, "weights of a teacher not found"):
        bundle.workflow(DISTIL, out, **{**options, "teacher": str(tmp_path / "typo")})
