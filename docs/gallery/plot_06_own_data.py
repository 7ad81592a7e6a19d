"""
Your own data
=============

A folder of images and masks, and a split file that keeps the images of a patient together. Everything in a folder is
checked before a training starts, and one error lists every file that is wrong.
"""

import csv
import json
import logging
import tempfile
from collections import Counter
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from medssm_monai.data import DatalistError, demo_sample, segmentation_datalists
from medssm_monai.data.split import main as write_split_file
from medssm_monai.visualize import overlay_contours

# %%
# A plain folder
# --------------
# ``images/`` and ``masks/`` with equal names. Here forty synthetic pictures of ten "patients" play the part of yours.

folder = Path(tempfile.mkdtemp()) / "lesions"
for name in ("images", "masks"):
    (folder / name).mkdir(parents=True)
rows = []
for number in range(40):
    picture, mask = demo_sample("training", number)
    name = f"lesion-{'abcdefghij'[number % 10]}{number // 10}"
    Image.fromarray(picture).save(folder / "images" / f"{name}.png")
    Image.fromarray(mask).save(folder / "masks" / f"{name}.png")
    rows.append((name, f"patient {number % 10}"))
with open(folder / "groups.csv", "w", newline="") as stream:
    csv.writer(stream).writerows([("image", "patient"), *rows])

# %%
# A split by patients
# -------------------
# The command ``python -m medssm_monai.data.split FOLDER -o split.json --groups groups.csv`` writes the file; here it is
# called from Python. No patient lies in two parts.

split_file = folder.parent / "split.json"
logging.disable(logging.INFO)  # what the command says is drawn below
write_split_file(
    [str(folder), "-o", str(split_file), "--groups", str(folder / "groups.csv"), "--parts", "60", "20", "20"]
)
logging.disable(logging.NOTSET)
split = json.loads(split_file.read_text())

patient_of = dict(rows)
colors = plt.get_cmap("tab10").colors
figure, axis = plt.subplots(figsize=(7.5, 2.4), layout="constrained")
parts = ("training", "validation", "test")
for place, part in enumerate(parts):
    left = 0
    for patient, count in sorted(Counter(patient_of[Path(name).stem] for name in split[part]).items()):
        number = int(patient.split()[1])
        axis.barh(place, count, left=left, color=colors[number], edgecolor="white")
        axis.text(left + count / 2, place, str(number), ha="center", va="center", color="white")
        left += count
axis.set(yticks=range(3), yticklabels=parts, xlabel="images, by number of the patient")
axis.invert_yaxis()

# %%
# What a training sees
# --------------------
# ``--dataset_dir lesions --split_file split.json`` of a training calls this function.

datalists = segmentation_datalists(folder, split_file=split_file)
print({part: len(items) for part, items in datalists.items()})

figure, axes = plt.subplots(1, 5, figsize=(10, 2.3), layout="constrained")
for axis, item in zip(axes, datalists["validation"], strict=False):
    image, mask = (np.asarray(Image.open(item[key])) for key in ("image", "label"))
    axis.imshow(overlay_contours(image.transpose(2, 0, 1) / 255, mask / 255))
    axis.set_title(Path(item["image"]).stem, fontsize="medium")
    axis.axis("off")

# %%
# When something is wrong
# -----------------------
# A mask is missing, one has another size, one file is damaged: all three are named at once, before anything is trained.

(folder / "masks" / "lesion-a0.png").unlink()
Image.new("L", (32, 32)).save(folder / "masks" / "lesion-b1.png")
(folder / "images" / "lesion-c2.png").write_bytes(b"no picture")
try:
    segmentation_datalists(folder)
except DatalistError as error:
    print(str(error).replace(str(folder.parent), "…"))
