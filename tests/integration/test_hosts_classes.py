"""Networks of several classes in volumes with other hosts: arrays that a host has loaded itself, MONAI's federated
client, several processes, and archives."""

from __future__ import annotations

import json
import shutil

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow
from monai.data import MetaTensor
from monai.fl.client import MonaiAlgo
from monai.fl.utils.constants import ExtraItems
from monai.fl.utils.exchange_object import ExchangeObject

import medssm_monai
from medssm_monai.bundle import pack_bundle, verify_archive
from medssm_monai.data import LabelSet

from ..bundles.bundle_runs import MAMBA_MIS, REPOSITORY, program
from ..bundles.class_sets import AFFINE, FOUR, REGIONS, ClassSet

pytestmark = pytest.mark.integration

ORGANS = ClassSet("four classes 3D", 3, FOUR)
CHANNELS = ClassSet("regions 3D", 3, REGIONS, channels=2)
FEDERATED = {  # what the settings beside weights would say, and a site's own data must not
    "variant": "mamba_mis_3d_s",
    "spatial_dims": 3,
    "in_channels": 1,
    "labels": FOUR,
    "spacing": [1.0, 1.2, 2.0],
    "intensity": [{"kind": "zscore"}],
}
VOLUMES = (*ORGANS.overlays, "multi_gpu_train.yaml")


@pytest.fixture(scope="module", params=[ORGANS, CHANNELS], ids=str)
def case(request):
    return request.param


@pytest.fixture(scope="module")
def trained(case, tmp_path_factory):
    """Folder of a training of one epoch, with the data in ``data``."""
    out = tmp_path_factory.mktemp("hosts")
    settings = case.tiny | {"ema_decay": 0, "learning_rate": 0.01, "warmup_epochs": 0}
    MAMBA_MIS.run(case.overlays, out, dataset_dir=str(case.write(out / "data")), run_name="first", **settings)
    return out


@pytest.mark.parametrize("form", ["channels first", "channels last"])
def test_a_host_that_loads_the_volume_itself_gets_the_label_map_of_the_file(case, trained, tmp_path, form):
    """As MONAI Deploy does it: loaders and savers are left out by the beginning of their names."""
    ckpt = str(trained / "models" / "model.pt")
    image, _ = case.sample(100)
    files = case.write_image(tmp_path / "in", "new", image)
    predictor = medssm_monai.load(MAMBA_MIS.folder, ckpt_path=ckpt, device="cpu")
    expected = predictor.predict(files[0] if len(files) == 1 else tuple(files))
    options = {"bundle_root": str(MAMBA_MIS.folder), "ckpt_path": ckpt, "device": "cpu"}
    flow = ConfigWorkflow(
        config_file=MAMBA_MIS.config("inference.yaml"), workflow_type="infer", logging_file=False, **options
    )
    flow.initialize()
    steps = {
        part: [one for one in getattr(flow, part).transforms if not type(one).__name__.startswith(prefix)]
        for part, prefix in (("preprocessing", "LoadImage"), ("postprocessing", "SaveImage"))
    }
    assert len(steps["preprocessing"]) == len(flow.preprocessing.transforms) - 1
    assert len(steps["postprocessing"]) < len(flow.postprocessing.transforms)
    flow.preprocessing.transforms, flow.postprocessing.transforms = (
        tuple(steps["preprocessing"]),
        tuple(steps["postprocessing"]),
    )
    arrays = np.stack([np.asarray(nib.load(file).dataobj, np.float32) for file in files])
    if case.channels == 1 and form == "channels last":
        values = arrays[0]  # (X, Y, Z)
    else:
        values = arrays if form == "channels first" else np.moveaxis(arrays, 0, -1)
    item = flow.preprocessing({"image": MetaTensor(torch.from_numpy(values.copy()), affine=torch.as_tensor(AFFINE))})
    flow.network_def.load_state_dict(torch.load(ckpt, weights_only=True))
    network = flow.network_def.eval()
    with torch.no_grad():
        pred = flow.inferer(item["image"][None], network)[0]
    found = flow.postprocessing({**item, "pred": pred})["pred"]
    assert tuple(found.shape) == (1, *case.size)
    assert len(np.unique(expected.label_map)) >= 3
    np.testing.assert_array_equal(np.asarray(found[0]), expected.label_map)


def _describe(metadata, case):
    """What a user writes into the metadata of a copy, ``network_data_format``."""
    content = json.loads(metadata.read_text())
    image, pred = (content["network_data_format"][part] for part in ("inputs", "outputs"))
    image, pred = image["image"], pred["pred"]
    labels = LabelSet.of(case.labels)
    names = {str(number): f"t{number + 1}" for number in range(case.channels)}
    image |= {"num_channels": case.channels, "spatial_shape": ["16*n"] * 3, "channel_def": names, "format": "magnitude"}
    classes = {str(number): name for number, name in enumerate(labels.channel_names)}
    pred |= {"num_channels": labels.out_channels, "spatial_shape": ["16*n"] * 3, "channel_def": classes}
    metadata.write_text(json.dumps(content))


def test_weights_of_volumes_are_packed_and_verified(case, trained, tmp_path):
    copied = tmp_path / "copies" / "mamba_mis"
    shutil.copytree(MAMBA_MIS.folder, copied, ignore=shutil.ignore_patterns("eval", "trained"))
    weights = trained / "models" / "model.pt"
    channels = LabelSet.of(case.labels).out_channels
    differs = f"describes another network.*dimensions of the image 2, not 3, classes 1, not {channels}"
    with pytest.raises(ValueError, match=differs):
        pack_bundle(copied, tmp_path / "out", ckpt_path=weights)
    _describe(copied / "configs" / "metadata.json", case)
    archive = pack_bundle(copied, tmp_path / "out", ckpt_path=weights)
    assert "models/model.json" in verify_archive(archive)
    shutil.unpack_archive(archive, tmp_path / "unpacked")
    root = tmp_path / "unpacked" / "mamba_mis"
    assert json.loads((root / "models" / "model.json").read_text())["spatial_dims"] == 3
    files = case.write_image(tmp_path / "in", "new", case.sample(100)[0])
    source = files[0] if len(files) == 1 else tuple(files)
    found, expected = (
        medssm_monai.load(folder, ckpt_path=weights, device="cpu").predict(source)
        for folder, weights in (
            (root, root / "models" / "model.pt"),
            (MAMBA_MIS.folder, trained / "models" / "model.pt"),
        )
    )
    np.testing.assert_array_equal(found.label_map, expected.label_map)


def test_two_sites_of_a_federation_train_on_volumes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "app" / "mamba_mis"
    shutil.copytree(MAMBA_MIS.folder, root, ignore=shutil.ignore_patterns("eval", "trained"))
    data = ORGANS.write(tmp_path / "data")
    shared = {**ORGANS.tiny, "dataset_dir": str(data), "output_dir": f"$'{(tmp_path / 'out').as_posix()}'"}
    del shared["max_epochs"]
    shared |= FEDERATED

    def site(seed):
        made = MonaiAlgo(
            bundle_root="app/mamba_mis",
            config_train_filename=["configs/train.yaml", "configs/volume.yaml"],
            train_kwargs={**shared, "ckpt_dir": str(tmp_path / "models"), "seed": seed},
            config_evaluate_filename=["configs/train.yaml", "configs/volume.yaml", "configs/evaluate.yaml"],
            eval_kwargs={**shared, "ckpt_path": str(tmp_path / "global.pt")},
            send_weight_diff=False,
        )
        made.initialize({ExtraItems.APP_ROOT: str(tmp_path)})
        return made

    sites = [site(seed) for seed in (1, 2)]
    together = {key: value.clone() for key, value in sites[0].get_weights().weights.items()}
    own = []
    for one in sites:
        one.train(ExchangeObject(weights=together))
        own.append({key: value.clone() for key, value in one.get_weights().weights.items()})
    assert all(any(not torch.equal(weights[key], together[key]) for key in together) for weights in own)
    metrics = sites[0].evaluate(ExchangeObject(weights=own[0])).metrics
    assert 0 <= metrics["val_mean_dice"] <= 1
    for one in sites:
        one.finalize()


def test_two_processes_train_on_volumes(tmp_path):
    configs = MAMBA_MIS.config(*VOLUMES)
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "monai.bundle", "run"]
    words += ["training", "--config_file", str(configs), "--output_dir", f"$'{(tmp_path / 'out').as_posix()}'"]
    words += ["--ckpt_dir", str(tmp_path / "models"), "--run_name", "both"]
    options = {**ORGANS.tiny, "dataset_dir": str(ORGANS.write(tmp_path / "data", count=14))}  # two to validate
    words += [word for key, value in options.items() for word in (f"--{key}", str(value))]
    done = program(words, REPOSITORY, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((tmp_path / "models" / "model.json").read_text())["spatial_dims"] == 3
    weights = torch.load(tmp_path / "models" / "model.pt", weights_only=True)
    assert not any(name.startswith("module.") for name in weights)
    assert all(torch.isfinite(value).all() for value in weights.values() if value.is_floating_point())
