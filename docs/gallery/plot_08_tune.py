"""
Compare settings fairly
=======================

Which learning rate? A plan names the rows; ``compare`` trains and evaluates every row, with every seed, on the same
images, and writes one table with intervals and paired differences. Two rows here, and one short training of each on 96
synthetic images, so that the page is made within a minute: far too little to conclude anything.
"""

import contextlib
import io
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from medssm_monai.bundle import find_bundle
from medssm_monai.experiments.compare import main as compare

# %%
# The plan
# --------
# The keys are explained in `training <../../training.html#comparisons-ablations-and-baselines>`_.

out = Path(tempfile.mkdtemp())
plan = out / "plan.yaml"
plan.write_text("""
metric: [accuracy, roc_auc]
seeds: [0]
reference: slow
overrides:
  max_epochs: 2
  warmup_epochs: 1
  network_args: {depth: 1, embed_dim: 32}
  datalists#demo_counts: [96, 24, 48]
rows:
  - name: slow
    overrides: {learning_rate: 0.0001}
  - name: fast
    overrides: {learning_rate: 0.003}
""")

# %%
# Run it
# ------
# The same command goes on after an interruption and skips what is complete:
# ``python -m medssm_monai.experiments.compare bundles/medconvmamba --plan plan.yaml``.

bundle = find_bundle("medconvmamba")
with contextlib.redirect_stdout(io.StringIO()):  # the page that it prints is in the folder as well
    status = compare([str(bundle), "--plan", str(plan), "--output_dir", str(out / "comparison")])
print("exit status", status)

# %%
# The table
# ---------
# A page to read (``comparison.md``) and all digits (``comparison.csv``); here the columns that matter most.

table = pd.read_csv(out / "comparison" / "comparison.csv")
shown = ["name", "metric", "value", "low", "high", "difference", "difference_low", "difference_high"]
print(table[shown].round(3).to_string(index=False))

# %%
# Intervals first
# ---------------
# Where intervals overlap as widely as these may do, more seeds and more test images come before any conclusion.

accuracy = table[table["metric"] == "accuracy"].reset_index(drop=True)
figure, axis = plt.subplots(figsize=(6.5, 2.2), layout="constrained")
for place, row in accuracy.iterrows():
    axis.plot([row["low"], row["high"]], [place, place], color="tab:blue", linewidth=3, alpha=0.5)
    axis.plot(row["value"], place, "o", color="tab:blue")
axis.axvline(0.25, color="gray", linestyle=":", label="guessing")
axis.set(xlim=(0, 1), ylim=(1.6, -0.6), xlabel="accuracy on 48 test images, 95 % interval")
axis.set_yticks(range(len(accuracy)), accuracy["name"])
axis.legend()
