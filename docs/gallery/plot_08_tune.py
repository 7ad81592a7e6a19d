"""
Compare settings fairly
=======================

Which learning rate, with or without the scan? A plan names the rows; ``compare`` trains and evaluates every row, with
every seed, on the same images, and writes one table with intervals and paired differences. Two rows and a single short
training of each here, so that the page is made in a minute: far too little to conclude anything.
"""

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
  network_args: {depth: 2, embed_dim: 64}
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
status = compare([str(bundle), "--plan", str(plan), "--output_dir", str(out / "comparison")])
print("exit status", status)

# %%
# The table
# ---------

table = pd.read_csv(next((out / "comparison").glob("*.csv")))
print(table.T.to_string(header=False))

# %%
# Intervals first
# ---------------

figure, axis = plt.subplots(figsize=(6.5, 2.4), layout="constrained")
axis.set(xlim=(0, 1), xlabel="accuracy")
