"""A table without dates, of a file that scikit-learn ships, with the declarations from its file to a model."""

from __future__ import annotations

import polars as pl
from sklearn.datasets import load_breast_cancer

DATA = load_breast_cancer()
NAMES = [name.replace(" ", "_") for name in DATA.feature_names][:10]
ROWS = pl.DataFrame(DATA.data[:, :10], schema=NAMES).with_columns(finding=pl.Series(DATA.target_names[DATA.target]))
"""569 tumours with ten measurements each, and what they turned out to be."""
COLUMNS = ", ".join([*(f"{name}: number" for name in NAMES), "finding: {type: string, allowed: [malignant, benign]}"])
DECLARATIONS = {
    "datasets/clinic": f"""
schema: 2
dataset: clinic
partition: {{every: once}}
sources:
  tumours:
    files: "{{source}}/{{partition}}/tumours.csv"
    key: row
    columns: {{{COLUMNS}}}
""",
    "features/tumour": """
schema: 2
view: tumour
rows: {table: tumours}
label: {is_malignant: "finding = 'malignant'"}
features: {"*": own, area_by_radius: "mean_area / mean_radius"}
""",
    "models/malignancy": """
schema: 2
model: malignancy
view: tumour
target: is_malignant
estimator: {kind: xgboost, rounds: 30}
deployment: {rollback: {window: 5}}
""",
}
