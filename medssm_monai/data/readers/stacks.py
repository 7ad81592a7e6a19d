"""Stacks of slices: where planes lie in space, whether they make an even volume, and its affine.

Coordinates of DICOM are LPS+ (left, posterior, superior) in mm; affines here are RAS+, as MONAI's and nibabel's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

__all__ = ["Plane", "Stack", "StackError", "plane_affine", "stack_planes"]

OFF = 0.1  # of a voxel, by which a slice may lie beside its even place
SHEAR = np.tan(np.deg2rad(0.25))  # by which the line through the slices may lean from the normal
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


class StackError(ValueError):
    """Slices that make no even volume; the message says why."""


@dataclass(frozen=True)
class Plane:
    """One slice in space.

    Attributes:
        position: center of the first pixel, mm, LPS+ (``ImagePositionPatient``).
        orientation: direction of a row (of growing column), then of a column; six numbers
            (``ImageOrientationPatient``).
        spacing: between rows, and between columns, mm (``PixelSpacing``).
    """

    position: tuple[float, ...]
    orientation: tuple[float, ...]
    spacing: tuple[float, ...]

    @property
    def normal(self) -> np.ndarray:
        """Unit vector, right-handed with row and column."""
        normal = np.cross(self.orientation[:3], self.orientation[3:])
        return cast(np.ndarray, normal / np.linalg.norm(normal))


@dataclass(frozen=True)
class Stack:
    """Even slices.

    Attributes:
        order: numbers of the planes along the normal.
        affine: ``(4, 4)``, RAS+ mm, of the array (X = column, Y = row, Z = place in ``order``).
    """

    order: tuple[int, ...]
    affine: np.ndarray


def plane_affine(plane: Plane, step: np.ndarray) -> np.ndarray:
    """RAS+ affine of the array (X = column, Y = row, Z) whose slices are ``step`` (LPS+, mm) apart."""
    affine = np.eye(4)
    affine[:3, 0] = np.asarray(plane.orientation[:3]) * plane.spacing[1]
    affine[:3, 1] = np.asarray(plane.orientation[3:]) * plane.spacing[0]
    affine[:3, 2] = step
    affine[:3, 3] = plane.position
    return LPS_TO_RAS @ affine


def stack_planes(planes: Sequence[Plane]) -> Stack:
    """Order of two or more slices of one orientation, along their normal, and the affine of their volume.

    Raises:
        StackError: two slices at one place, a missing slice or uneven gaps, a tilted stack (gantry tilt).
    """
    first = planes[0]
    positions = np.asarray([plane.position for plane in planes], dtype=np.float64)
    along = positions @ first.normal
    order = np.argsort(along, kind="stable")
    places, along = positions[order], along[order]
    steps = np.diff(along)
    usual = float(np.median(steps))
    if len(planes) < 2 or usual <= 0 or steps.min() < OFF * usual:
        raise StackError("several slices at one place")
    step = (places[-1] - places[0]) / (len(places) - 1)
    even = along[0] + np.arange(len(along)) * (along[-1] - along[0]) / (len(along) - 1)
    if np.abs(along - even).max() > OFF * usual:
        number = int(np.argmax(steps))
        raise StackError(
            f"slices are {steps.min():.4g} to {steps.max():.4g} mm apart (the widest gap is between slices {number + 1} "
            f"and {number + 2} of {len(along)}); a slice is missing, or the gaps are uneven"
        )
    beside = step - (step @ first.normal) * first.normal
    if np.linalg.norm(beside) > SHEAR * usual:
        angle = np.rad2deg(np.arctan2(np.linalg.norm(beside), usual))
        raise StackError(f"the stack leans by {angle:.1f} degrees from the normal of its slices (gantry tilt)")
    line = places[0] + np.arange(len(places))[:, None] * step
    if np.linalg.norm(places - line, axis=1).max() > OFF * min(*first.spacing, usual):
        raise StackError("slices are shifted against one another within their planes")
    return Stack(tuple(order.tolist()), plane_affine(Plane(tuple(places[0]), first.orientation, first.spacing), step))
