"""Fusion metrics written again from their papers in NumPy and SciPy, image by image, for the tests."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.signal import convolve2d


def entropy_bits(levels: np.ndarray) -> float:
    share = np.unique(levels, return_counts=True)[1] / levels.size
    return float(-(share * np.log2(share)).sum())


def _entropies(fused: np.ndarray, source: np.ndarray) -> tuple[float, float, float]:
    return entropy_bits(fused), entropy_bits(source), entropy_bits(256 * fused + source)


def mutual_information(fused: np.ndarray, source: np.ndarray) -> float:
    own, other, joint = _entropies(fused, source)
    return own + other - joint


def studholme(fused: np.ndarray, source: np.ndarray) -> float:
    own, other, joint = _entropies(fused, source)
    return (own + other) / joint


def arithmetic(fused: np.ndarray, source: np.ndarray) -> float:
    own, other, joint = _entropies(fused, source)
    return 2 * (own + other - joint) / (own + other)


def psnr(fused: np.ndarray, source: np.ndarray) -> float:
    return float(20 * np.log10(255) - 10 * np.log10(np.mean((fused - source) ** 2)))


def sobel(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    dx = convolve2d(image, [[1, 0, -1], [2, 0, -2], [1, 0, -1]], mode="same")
    dy = convolve2d(image, [[1, 2, 1], [0, 0, 0], [-1, -2, -1]], mode="same")
    with np.errstate(divide="ignore", invalid="ignore"):
        angle = np.where(dx == 0, np.pi / 2, np.arctan(dy / dx))
    return np.sqrt(dx**2 + dy**2), angle


def qabf(fused: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
    """Xydeas and Petrovic 2000, pixel by pixel."""
    strength_f, angle_f = sobel(fused)
    above = below = 0.0
    for source in (a, b):
        strength_s, angle_s = sobel(source)
        for at in np.ndindex(fused.shape):
            g, h = strength_s[at], strength_f[at]
            ratio = 0.0 if max(g, h) == 0 else min(g, h) / max(g, h)
            turn = abs(abs(angle_s[at] - angle_f[at]) - np.pi / 2) / (np.pi / 2)
            kept_g = 0.9994 / (1 + np.exp(-15 * (ratio - 0.5)))
            kept_a = 0.9879 / (1 + np.exp(-22 * (turn - 0.8)))
            above, below = above + kept_g * kept_a * g, below + g
    return above / below


def vif(fused: np.ndarray, source: np.ndarray) -> float:
    """Pixel-domain VIF on gray levels 0..255, with SciPy's Gaussian filter cut to the valid part."""
    kept = held = 0.0
    for scale in range(1, 5):
        size = 2 ** (5 - scale) + 1
        half = size // 2

        def smooth(x, size=size, half=half):
            return gaussian_filter(x, size / 5, truncate=half / (size / 5), mode="constant")[half:-half, half:-half]

        if scale > 1:
            fused, source = smooth(fused)[::2, ::2], smooth(source)[::2, ::2]
        ms, mf = smooth(source), smooth(fused)
        vs, vf, cov = smooth(source**2) - ms**2, smooth(fused**2) - mf**2, smooth(source * fused) - ms * mf
        for s, f, c in zip(vs.ravel(), vf.ravel(), cov.ravel(), strict=True):
            s, f = max(s, 0), max(f, 0)
            gain = c / (s + 1e-10) if s >= 1e-10 and f >= 1e-10 else 0
            noise = f - gain * c if s >= 1e-10 else f
            noise = f if gain < 0 else noise
            gain, s = max(gain, 0), s if s >= 1e-10 else 0
            kept += np.log10(1 + gain**2 * s / (max(noise, 1e-10) + 2))
            held += np.log10(1 + s / 2)
    return kept / held


def phase_congruency(image: np.ndarray) -> np.ndarray:
    """Kovesi's measure with the constants of FSIM; filters on a centered grid, shifted afterwards."""
    rows, columns = image.shape

    def axis(n):
        return np.arange(-(n - 1) / 2, (n - 1) / 2 + 1) / (n - 1) if n % 2 else np.arange(-n / 2, n / 2) / n

    x, y = np.meshgrid(axis(columns), axis(rows))
    radius, theta = (np.fft.ifftshift(v) for v in (np.sqrt(x**2 + y**2), np.arctan2(-y, x)))
    low_pass = 1 / (1 + (radius / 0.45) ** 30)
    radius[0, 0] = 1
    energy_all, amplitude_all = np.zeros(image.shape), np.zeros(image.shape)
    for o in range(4):
        angle = o * np.pi / 4
        turn = np.arctan2(np.sin(theta - angle), np.cos(theta - angle))
        spread = np.exp(-(turn**2) / (2 * (np.pi / 4 / 1.2) ** 2))
        bank, responses = [], []
        for s in range(4):
            gabor = np.exp(-(np.log(radius * 6 * 2**s) ** 2) / (2 * np.log(0.55) ** 2)) * low_pass
            gabor[0, 0] = 0
            bank.append(gabor * spread)
            responses.append(np.fft.ifft2(np.fft.fft2(image) * bank[-1]))
        total = sum(responses)
        norm = np.abs(total) + 1e-4
        energy = np.zeros(image.shape)
        for r in responses:
            even, odd, mean_even, mean_odd = r.real, r.imag, total.real / norm, total.imag / norm
            energy += even * mean_even + odd * mean_odd - np.abs(even * mean_odd - odd * mean_even)
        power = -np.median(np.abs(responses[0]) ** 2) / np.log(0.5) / (bank[0] ** 2).sum()
        kernels = [np.fft.ifft2(f).real * np.sqrt(rows * columns) for f in bank]
        squares = sum((k**2).sum() for k in kernels)
        products = sum((kernels[i] * kernels[j]).sum() for i in range(4) for j in range(i + 1, 4))
        tau = np.sqrt((2 * power * squares + 4 * power * products) / 2)
        threshold = tau * np.sqrt(np.pi / 2) + 2 * np.sqrt((2 - np.pi / 2) * tau**2)
        energy_all += np.maximum(energy - threshold / 1.7, 0)
        amplitude_all += sum(np.abs(r) for r in responses)
    return energy_all / amplitude_all


def fsim(fused: np.ndarray, source: np.ndarray) -> float:
    """Zhang et al. 2011 on gray levels 0..255."""
    factor = max(1, int(min(fused.shape) / 256 + 0.5))
    kernel = np.full((factor, factor), 1 / factor**2)
    start, (rows, columns) = (
        factor // 2,
        fused.shape,
    )  # MATLAB's "same" part, which differs from SciPy's for even kernels
    images = [convolve2d(x, kernel)[start : start + rows, start : start + columns] for x in (fused, source)]
    images = [x[::factor, ::factor] for x in images]
    scharr = np.array([[3, 0, -3], [10, 0, -10], [3, 0, -3]]) / 16
    slopes = [np.hypot(convolve2d(x, scharr, mode="same"), convolve2d(x, scharr.T, mode="same")) for x in images]
    phases = [phase_congruency(x) for x in images]

    def alike(x, y, t):
        return (2 * x * y + t) / (x**2 + y**2 + t)

    weight = np.maximum(*phases)
    return float((alike(*phases, 0.85) * alike(*slopes, 160) * weight).sum() / weight.sum())
