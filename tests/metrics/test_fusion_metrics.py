"""Fusion metrics against counts by hand, scikit-image (SSIM), SciPy and literal transcriptions of the papers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.stats import pearsonr
from skimage.metrics import structural_similarity

from medssm_monai.metrics import FUSION_METRICS, fusion_metrics

from . import fusion_oracles as oracle


def gray(height: int, width: int, seed: int) -> np.ndarray:
    """Smooth shapes with a dark border and some noise, 8-bit values as float64."""
    rng = np.random.default_rng(seed)
    image = gaussian_filter(rng.normal(size=(height, width)), 3) * 900 + rng.normal(scale=6, size=(height, width)) + 60
    image[:5], image[:, -4:] = 0, 0
    return np.clip(np.round(image), 0, 255)


def batch(*images: np.ndarray) -> torch.Tensor:
    return torch.tensor(np.stack(images))[:, None] / 255


SIZES = [(48, 64), (61, 45), (64, 64)]


@pytest.fixture(scope="module", params=SIZES, ids=str)
def triples(request):
    """Two samples of (fused, a, b) in one size, as gray levels."""
    fused, a, b = ([gray(*request.param, seed=10 * k + s) for s in range(2)] for k in range(3))
    fused = [np.round(0.4 * x + 0.6 * y + 0.1 * f).clip(0, 255) for x, y, f in zip(a, b, fused, strict=True)]
    return list(zip(fused, a, b, strict=True))


@pytest.fixture(scope="module")
def scores(triples):
    return fusion_metrics(*(batch(*images) for images in zip(*triples, strict=True)))


def skimage_ssim(f, s):
    gaussian = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return structural_similarity(f, s, data_range=255, **gaussian)


PAIRWISE = {
    "psnr": (oracle.psnr, 1e-9),
    "ssim": (skimage_ssim, 1e-5),
    "mi": (oracle.mutual_information, 1e-9),
    "nmi": (oracle.studholme, 1e-9),
    "qmi": (oracle.arithmetic, 1e-9),
    "fsim": (oracle.fsim, 1e-7),
    "vif": (oracle.vif, 1e-7),
}


@pytest.mark.parametrize("name", PAIRWISE)
def test_pairwise_metrics_and_both_conventions(name, triples, scores):
    independent, tolerance = PAIRWISE[name]
    expected = [independent(f, a) + independent(f, b) for f, a, b in triples]
    np.testing.assert_allclose(scores[f"{name}_sum"], expected, rtol=tolerance)
    np.testing.assert_allclose(scores[f"{name}_mean"], np.array(expected) / 2, rtol=tolerance)


def scd(f, a, b):
    return pearsonr((f - b).ravel(), a.ravel())[0] + pearsonr((f - a).ravel(), b.ravel())[0]


def pooled_psnr(f, a, b):
    return 10 * np.log10(255**2 / ((((f - a) ** 2).mean() + ((f - b) ** 2).mean()) / 2))


def spatial_frequency(f, a, b):
    rows = [(f[i, j] - f[i, j - 1]) ** 2 for i in range(f.shape[0]) for j in range(1, f.shape[1])]
    columns = [(f[i, j] - f[i - 1, j]) ** 2 for i in range(1, f.shape[0]) for j in range(f.shape[1])]
    return math.sqrt(np.mean(rows) + np.mean(columns))


WHOLE = {
    "psnr_pooled": pooled_psnr,
    "entropy": lambda f, a, b: oracle.entropy_bits(f),
    "sf": spatial_frequency,
    "sd": lambda f, a, b: np.std(f),
    "scd_sum": scd,
    "scd_mean": lambda f, a, b: scd(f, a, b) / 2,
    "qabf": oracle.qabf,
}


@pytest.mark.parametrize("name", WHOLE)
def test_metrics_of_the_whole(name, triples, scores):
    np.testing.assert_allclose(scores[name], [WHOLE[name](*triple) for triple in triples], rtol=1e-7)


def test_every_name_is_checked_above(scores):
    checked = {f"{name}_{convention}" for name in PAIRWISE for convention in ("mean", "sum")} | set(WHOLE)
    assert checked == set(FUSION_METRICS) == set(scores)


def test_fsim_averages_large_images_down():
    a, b = gray(400, 390, 1), gray(400, 390, 2)
    value = fusion_metrics(batch(a), batch(b), batch(b), ["fsim_mean"])["fsim_mean"]
    np.testing.assert_allclose(value, [oracle.fsim(a, b)], rtol=1e-7)


def test_by_hand_on_a_small_image():
    """Two rows of four pixels: half black, half white."""
    fused = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0]])[None, None]
    other = torch.tensor([[0.0, 1.0, 0.0, 1.0], [0.0, 1.0, 0.0, 1.0]])[None, None]
    got = fusion_metrics(fused, fused, other, ["entropy", "mi_sum", "nmi_sum", "qmi_sum", "sd", "sf", "psnr_pooled"])
    expected = {"entropy": 1, "mi_sum": 1, "nmi_sum": 3, "qmi_sum": 1, "sd": 127.5, "sf": 255 * math.sqrt(1 / 3)}
    expected["psnr_pooled"] = -10 * math.log10((0 + 0.5) / 2)
    assert {name: value.item() for name, value in got.items()} == pytest.approx(expected)


def test_uneven_counts_by_hand():
    """Four pixels: the fused image is black three times, the source twice; they agree in three pixels.

    H(F) = 2 - 3/4·log2(3), H(S) = 1; the pairs come 2, 1 and 1 times, so H(F, S) = 1/2·1 + 2·1/4·2 = 1.5 bits.
    """
    fused = torch.tensor([[0.0, 0.0], [0.0, 1.0]])[None, None]
    source = torch.tensor([[0.0, 0.0], [1.0, 1.0]])[None, None]
    h_fused = 2 - 0.75 * math.log2(3)
    mutual = h_fused + 1 - 1.5
    expected = {"entropy": h_fused, "mi_mean": mutual, "nmi_mean": (h_fused + 1) / 1.5}
    expected |= {"qmi_mean": 2 * mutual / (h_fused + 1), "psnr_mean": -10 * math.log10(0.25)}
    both = torch.cat([fused, source]), torch.cat([source, source])  # a copy stands second in the batch
    got = fusion_metrics(both[0], both[1], both[1], list(expected))
    assert all(value.shape == (2,) and value.dtype == torch.float64 for value in got.values())
    assert {name: value[0].item() for name, value in got.items()} == pytest.approx(expected)
    copy = {"entropy": 1, "mi_mean": 1, "nmi_mean": 2, "qmi_mean": 1, "psnr_mean": math.inf}
    assert {name: value[1].item() for name, value in got.items()} == pytest.approx(copy)


def test_two_constant_images_share_nothing_and_have_no_normalized_information():
    gray = torch.full((1, 1, 3, 3), 0.5)
    names = ["entropy", "mi_sum", "psnr_mean", "nmi_mean", "qmi_mean"]
    got = [value.item() for value in fusion_metrics(gray, gray, torch.zeros_like(gray), names).values()]
    assert got[:3] == [0, 0, math.inf] and math.isnan(got[3]) and math.isnan(got[4])


def test_a_perfect_copy_scores_the_maximum():
    image = batch(gray(48, 64, 3))
    got = {name: value.item() for name, value in fusion_metrics(image, image, image).items()}
    ones = ["ssim_mean", "fsim_mean", "vif_mean", "qmi_mean"]
    assert [got[name] for name in ones] == pytest.approx([1] * 4, abs=1e-6)
    assert got["nmi_mean"] == pytest.approx(2)
    assert got["qabf"] == pytest.approx(0.9994 / (1 + math.exp(-7.5)) * 0.9879 / (1 + math.exp(-4.4)), rel=1e-3)
    assert got["psnr_mean"] == math.inf
    assert math.isnan(got["scd_sum"])


def test_volume_is_the_mean_of_its_slices_that_show_something():
    planes = [np.stack([gray(48, 50, 10 * k + z) for z in range(3)] + [np.zeros((48, 50))], axis=-1) for k in range(3)]
    names = ["ssim_mean", "fsim_sum", "vif_sum", "sf", "qabf"]
    got = fusion_metrics(*(batch(v) for v in planes), names)
    flat = fusion_metrics(*(batch(*(v[..., z] for z in range(3))) for v in planes), names)
    for name in names:
        torch.testing.assert_close(got[name], flat[name].mean(0, keepdim=True))
    whole = fusion_metrics(*(batch(v) for v in planes), ["entropy", "mi_sum"])
    assert whole["entropy"].item() == pytest.approx(oracle.entropy_bits(planes[0]))
    assert whole["mi_sum"].item() == pytest.approx(
        sum(oracle.mutual_information(planes[0], source) for source in planes[1:])
    )


def test_constant_source_gives_nan_where_undefined_and_never_an_error():
    image, flat = batch(gray(48, 48, 1)), torch.zeros(1, 1, 48, 48)
    got = fusion_metrics(image, image, flat)
    undefined = {name for name, value in got.items() if not value.isfinite().all()}
    assert undefined == {"vif_mean", "vif_sum", "scd_mean", "scd_sum", "psnr_mean", "psnr_sum"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"b": torch.rand(1, 1, 48, 47)}, "one shape"),
        ({"fused": torch.full((1, 1, 48, 48), math.nan)}, "NaN"),
        ({"fused": torch.randn(1, 1, 48, 48)}, r"\[0, 1\]"),
        ({"a": 255 * torch.rand(1, 1, 48, 48)}, "data_range"),
        ({"metrics": ["ssim"]}, "ssim_mean"),
        ({"metrics": []}, "choose"),
        (dict.fromkeys(["fused", "a", "b"], torch.rand(1, 3, 48, 48)), "luminance"),
        (dict.fromkeys(["fused", "a", "b"], torch.rand(48, 48)), "gray images"),
        (dict.fromkeys(["fused", "a", "b"], torch.rand(1, 1, 40, 48)), "at least 41"),
    ],
)
def test_bad_input_is_named(arguments, message):
    good = {name: torch.rand(1, 1, 48, 48) for name in ("fused", "a", "b")}
    with pytest.raises(ValueError, match=message):
        fusion_metrics(**{**good, **arguments})


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("folder", "modality", "expected_ssim", "expected_qabf"),
    [
        ("harvard_mri_ct", "CT", (0.735, 0.734, 0.732, 0.732), (0.358, 0.589, 0.566, 0.536)),
        ("harvard_mri_pet", "PET", (0.659, 0.692, 0.687, 0.687), (0.438, 0.749, 0.797, 0.245)),
    ],
)
def test_trivial_fusions_of_the_harvard_test_pairs(real_data, folder, modality, expected_ssim, expected_qabf):
    """Average, maximum, copy of A, copy of B over the 24 test pairs; figures measured independently beforehand."""
    root = real_data / folder / "test"
    if not root.is_dir():
        pytest.skip(f"no {folder} in {real_data}")
    names = sorted(path.name for path in (root / "MRI").iterdir())
    assert len(names) == 24
    weights = np.array([0.299, 0.587, 0.114])
    a = batch(*(np.asarray(Image.open(root / "MRI" / name).convert("L"), dtype=float) for name in names))
    b = batch(*(np.asarray(Image.open(root / modality / name).convert("RGB")) @ weights for name in names))
    rows = [fusion_metrics(f, a, b, ["ssim_mean", "qabf"]) for f in ((a + b) / 2, torch.maximum(a, b), a, b)]
    assert [round(row["ssim_mean"].mean().item(), 3) for row in rows] == list(expected_ssim)
    assert [round(row["qabf"].mean().item(), 3) for row in rows] == list(expected_qabf)
