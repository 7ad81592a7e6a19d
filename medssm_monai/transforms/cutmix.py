"""CutMix of a batch with soft labels that weigh each class by the pixels it really has."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, Randomizable, RandomizableTransform
from monai.utils import convert_to_dst_type
from torch.nn.functional import one_hot

__all__ = ["AreaCutMix", "AreaCutMixD", "AreaCutMixDict", "AreaCutMixd"]


class AreaCutMix(RandomizableTransform):
    """Replace one box in every image of a batch by the same box of another image, and mix the labels by area.

    For a batch, a share ``λ ~ Beta(alpha, alpha)`` and the center of the box (uniform over the pixels) are drawn; the
    box has the sides ``size * (1 - λ) ** (1 / dims)``, rounded down, and is clipped at the border. Partners come from a
    random permutation of the batch. The label is ``w * own + (1 - w) * partner`` with ``w`` the share of the pixels
    that are the image's own after clipping. A batch of one image is its own partner and stays as it is.

    Args:
        num_classes: classes ``K``, at least 2.
        prob: probability that a batch is mixed at all.
        alpha: parameter of the Beta distribution, above 0; 1 is uniform.

    Raises:
        ValueError: for values outside these ranges.

    Source: Yun et al., "CutMix", ICCV 2019, section 3 and its published code (one box for the batch).
    MONAI 1.6.1's ``CutMix`` mixes the images but hands out one label for each, without a mixture; hence one of our own.

    Example:
        >>> images, labels = AreaCutMix(num_classes=3).set_random_state(0)(torch.rand(4, 1, 8, 8), [0, 1, 2, 1])
        >>> labels.shape, labels.sum(1).tolist()
        (torch.Size([4, 3]), [1.0, 1.0, 1.0, 1.0])
    """

    def __init__(self, num_classes: int, prob: float = 0.5, alpha: float = 1.0) -> None:
        if num_classes < 2 or alpha <= 0 or not 0 <= prob <= 1:
            raise ValueError(
                f"num_classes must be at least 2, alpha above 0 and prob in [0, 1], got {num_classes}, {alpha}, {prob}."
            )
        super().__init__(prob)
        self.num_classes, self.alpha = num_classes, alpha
        self.box: tuple[slice, ...] = ()
        self.partners = np.arange(0)

    def randomize(self, data: torch.Tensor) -> None:
        """Draw whether to mix, the box and the partners for a batch of the shape of ``data``."""
        super().randomize(None)
        if not self._do_transform:
            return
        sizes = np.array(data.shape[2:])
        sides = (sizes * (1.0 - self.R.beta(self.alpha, self.alpha)) ** (1.0 / len(sizes))).astype(int)
        starts = [self.R.randint(0, size) - side // 2 for size, side in zip(sizes, sides, strict=True)]
        self.box = tuple(
            slice(max(start, 0), min(start + int(side), int(size)))
            for start, side, size in zip(starts, sides, sizes, strict=True)
        )
        self.partners = self.R.permutation(len(data))

    def __call__(  # type: ignore[override]  # MONAI's own array transforms take more than its base class says too
        self, images: torch.Tensor, labels: Any, randomize: bool = True
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Mix a batch.

        Args:
            images: ``(B, C, H, W)`` or ``(B, C, X, Y, Z)``.
            labels: class indices ``(B,)`` or ``(B, 1)``, or probabilities ``(B, K)``.
            randomize: ``False`` uses the values drawn last.

        Returns:
            Images of the same shape and type, and probabilities ``(B, K)`` in float32, also for batches left unmixed.

        Raises:
            ValueError: for images of another number of axes, labels of another shape, or indices outside ``0..K-1``.
        """
        if images.ndim not in (4, 5):
            raise ValueError(f"images must have shape (B, C, H, W) or (B, C, X, Y, Z), got {tuple(images.shape)}.")
        soft = self._probabilities(labels, len(images)).to(images.device)
        if randomize:
            self.randomize(images)
        if not self._do_transform:
            return images, soft
        partners = torch.as_tensor(self.partners, device=images.device)
        plain = images.as_tensor() if isinstance(images, MetaTensor) else images
        region = (slice(None), slice(None), *self.box)
        mixed = plain.clone()
        mixed[region] = plain[partners][region]
        of_one: tuple[int | slice, ...] = (0, 0, *self.box)
        own = 1.0 - mixed[of_one].numel() / mixed[0, 0].numel()
        return convert_to_dst_type(mixed, dst=images)[0], own * soft + (1.0 - own) * soft[partners]

    def _probabilities(self, labels: Any, batch: int) -> torch.Tensor:
        values = torch.as_tensor(labels)
        values = values.as_tensor() if isinstance(values, MetaTensor) else values
        if values.shape == (batch, self.num_classes):
            return values.float()
        if values.shape not in ((batch,), (batch, 1)):
            raise ValueError(
                f"labels must be indices (B,) or (B, 1), or probabilities (B, {self.num_classes}), for a batch of "
                f"{batch} images; got shape {tuple(values.shape)}."
            )
        indices = values.flatten().long()
        if (
            not torch.equal(indices.to(values.dtype), values.flatten())
            or not ((indices >= 0) & (indices < self.num_classes)).all()
        ):
            raise ValueError(
                f"class indices must be whole numbers in 0..{self.num_classes - 1}, got {values.tolist()}."
            )
        return one_hot(indices, self.num_classes).float()


class AreaCutMixd(MapTransform, Randomizable):
    """Dictionary version of :class:`AreaCutMix`, for a batch as a data loader hands it out.

    A trainer takes it through ``prepare_batch``, where it runs once per batch in the main process.

    Args:
        keys: entries with images ``(B, C, *spatial)`` of one spatial size, all cut at the same place.
        label_key: entry with the labels; becomes probabilities ``(B, K)``.
        num_classes, prob, alpha: see :class:`AreaCutMix`.
        allow_missing_keys: pass over keys that are not there.

    Raises:
        ValueError: when the images have different spatial sizes, and as :class:`AreaCutMix`.
    """

    def __init__(
        self,
        keys: KeysCollection,
        label_key: Hashable,
        num_classes: int,
        prob: float = 0.5,
        alpha: float = 1.0,
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        self.label_key = label_key
        self.cutmix = AreaCutMix(num_classes, prob, alpha)

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> AreaCutMixd:
        super().set_random_state(seed, state)
        self.cutmix.set_random_state(seed, state)
        return self

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        keys = list(self.key_iterator(result))
        sizes = {key: tuple(result[key].shape[2:]) for key in keys}
        if len(set(sizes.values())) > 1:
            raise ValueError(f"images that are cut at the same place must have one spatial size, got {sizes}.")
        labels = result[self.label_key]
        for i, key in enumerate(keys):
            result[key], result[self.label_key] = self.cutmix(result[key], labels, randomize=i == 0)
        return result


AreaCutMixD = AreaCutMixDict = AreaCutMixd
