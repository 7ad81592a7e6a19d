"""One error for everything that is wrong with a data folder, each offender named with its remedy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..utils.text_files import printable

__all__ = ["DatalistError", "ImageReadError", "Problem"]

REMEDIES = {
    "no images": "expected PNG, JPEG, TIFF, BMP, GIF, WebP, NIfTI or DICOM files there; check dataset_dir and "
    "the layout",
    "dead links": "the data are not there; fetch them (git annex get, dvc pull) or fix the links",
    "channels in several pictures": "a picture is one file, gray or color: merge the files of each into one RGB "
    "file, or save them as NIfTI volumes for spatial_dims 3",
    "no picture": "a DICOM object without pixels; leave it out",
    "several DICOM series": "keep one series in a folder, or list the folder of each series",
    "image without mask": "add the mask (same name, or with '_segmentation' at its end) or take the image out",
    "mask without image": "add the image or take the mask out",
    "image without partner": "add the image of the other source under the same name, or take this one out",
    "picture among volumes": "volumes are segmented (spatial_dims 3); take pictures and slices out, or choose a 2D "
    "variant and spatial_dims 2 for them",
    "volume among pictures": "pictures are segmented (spatial_dims 2); choose a 3D variant and spatial_dims 3 (the "
    "overlay volume.yaml), or cut the volume into slices",
    "channel in several series": "keep one of them in the folder, or name the channel as its description is",
    "missing channels": "every case needs one file (or DICOM series) for each channel; add them, take the case out, or "
    'name other channels with channel_names ("[t1,t2]")',
    "more channels than named": "take the files out, or name all channels with channel_names or in dataset.json",
    "file without channel number": "call the first channel <case>_0000, the second <case>_0001, or take the file out",
    "file of no channel": "its name ends in none of the channels; rename it, take it out, or name other channel_names",
    "unequal channels": "all images have the same channels in the same order; name them with channel_names, one for "
    "each, or take the others out",
    "unequal geometry": "files of one case lie on one grid; resample them to the first one, or copy its header where "
    "only that is wrong",
    "no spacing": "the header says no size of the voxels; write it there (pixdim, or the affine), or convert the file "
    "again",
    "no label map": "several classes, and volumes, need a number for each pixel or voxel; export a label map (indexed "
    "or gray PNG, NIfTI)",
    "unknown labels": "name the values with labels ('{liver: 1, tumor: 2}', also as ignore), or in dataset.json, or "
    "correct the file",
    "NaN or infinite values": "repair the file or leave it out",
    "nothing labeled": "such a case neither trains nor scores anything; label some of it, or take it out",
    "name that no file can have": "results are called by the names; leave out slashes, backslashes, : * ? < > | and "
    "quotes, line breaks, and a dot at the beginning or end",
    "two files with one name": "names without suffix must be unique in a folder; rename or remove one",
    "unreadable file": "each line says why; where it gives no other remedy, copy or export the file again",
    "too large": "make the image smaller or cut it into tiles, or raise the limit with MEDSSM_MAX_PIXELS",
    "unclear mask": "one class is segmented, and these values do not say which; say it with --foreground nonzero "
    '(everything above 0), --foreground half (above 127 of 255), or the values, --foreground "[1,2]" or '
    '"[[64,0,0]]" (foreground=... in Python)',
    "labels of several values": "one class is segmented; if all of them are foreground say --foreground nonzero, else "
    'name those that are, --foreground "[128]" or "[[128,0,0]]" (foreground=... in Python)',
    "no segmentations": "expected DICOM segmentations (SEG) or structure sets (RTSTRUCT) that refer to the images; add "
    "them, or choose the layout of your masks",
    "segmentation without image": "the images that it refers to are not there, or make no volume; add their series, or "
    "take the object out",
    "segmentation of several images": "it does not say which of them it lies on; keep one of them in the folder",
    "segmentation on another grid": "only segments in the frame of reference of their images are resampled; export it "
    "on its images, or take it out",
    "unknown segments": "no segment is called like a class; name the classes as the segments are with labels "
    "('{liver: 1, tumor: 2}'), or take the object out",
    "class without segments": "name the classes as the segments are with labels ('{liver: 1, tumor: 2}')",
    "segments of several names": "name the classes with labels ('{liver: 1, tumor: 2}'), or take all of them as one "
    "class with --foreground nonzero",
    "class in two segmentations": "keep one object for each class of an image",
    "overlapping segments": "classes exclude each other; correct the segments, or make regions of the classes "
    "('{organ: [1, 2], tumor: 2}')",
    "row without a label": "fill the cells in, or take the row out",
    "row of no part": "where a row has a part every row has one: train, val or test",
    "rows that contradict each other": "an image has one class and one part; correct the rows, or take all but one out",
    "0/1 and 0/255 masks": "all masks of a folder must have one encoding; export them alike, or say --foreground "
    "nonzero (foreground='nonzero' in Python)",
    "all masks empty": "no pixel of the part is foreground (the bright label, or 1 in a 0/1 mask, or what foreground "
    "says); check that these are the masks and how they encode the foreground",
    "unknown name in split file": "correct the name or put the file into the folder",
    "name in two parts of the split file": "keep each name in one part only",
    "empty part": "the data leave no image for it; check the layout, the split file, or ask for other parts",
    "file not found": "correct the path",
    "empty class": "add images of the class, remove the folder, or name the classes to use with class_names",
    "one class only": "classification needs two classes or more; check dataset_dir, the layout and class_names",
    "class without training image": "move images of the class into the training part or leave the class out",
    "too few images of a class": "add images, leave the class out with class_names, or give the parts with split_file",
    "row without a single class": "exactly one class column must be 1 and the others 0; correct the row",
    "row without a file": "add the image or take the row out",
    "two rows for one image": "keep one row for each image",
    "label outside the range": "correct the label, or class_names if classes are missing there",
    "unusable labels": "labels are one whole number for each image",
    "missing arrays": "expected train_images, train_labels, val_images, val_labels, test_images and test_labels",
    "unreadable array": "save images and labels as plain number arrays",
    "not the official file": "fetch the official file, or leave strict_data out",
    "group in two parts": "change the split file or the counts, so that the images of a group share a part",
    "image without a row in the group table": "add a row for it, or leave group_column out",
    "two groups of one image": "keep one row for each image",
    "unknown file in the drop list": "correct the list, or leave it out with drop_list=None",
    "same image in two parts": "take one of them out, or drop them with duplicates='drop'",
}


class ImageReadError(OSError):
    """A file that is no readable single image; the message names it, the reason and the remedy."""


@dataclass(frozen=True)
class Problem:
    """One offender: ``kind`` (a heading), ``path`` (file, folder or name) and an optional detail."""

    kind: str
    path: str
    detail: str = ""

    def __str__(self) -> str:
        return printable(f"{self.path} ({self.detail})" if self.detail else self.path)


class DatalistError(ValueError):
    """Everything wrong with a data folder at once.

    Attributes:
        problems: every offender as a :class:`Problem`; the message groups them by kind, with the remedy of each kind.
    """

    def __init__(self, problems: Sequence[Problem] | str) -> None:
        self.problems = [] if isinstance(problems, str) else list(problems)
        super().__init__(problems if isinstance(problems, str) else self._message())

    def _message(self) -> str:
        lines = [f"{len(self.problems)} problem(s) in the data:"]
        for kind in dict.fromkeys(problem.kind for problem in self.problems):
            offenders = [str(problem) for problem in self.problems if problem.kind == kind]
            lines.append(f"- {kind} ({len(offenders)}); remedy: {REMEDIES.get(kind, 'see the detail')}")
            lines.extend(f"    {offender}" for offender in offenders)
        return "\n".join(lines)
