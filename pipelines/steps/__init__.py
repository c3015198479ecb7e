"""Heavy work: tables in, tables and numbers out; a step measures and never decides."""

import os

# OpenMP reads this once, when XGBoost or scikit-learn is loaded. Threads that spin while they wait make a training on a
# machine that does other work, too, ten times as slow; threads that sleep cost nothing measurable on an idle one.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
