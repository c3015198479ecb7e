"""The former name of ``pipelines.pod.training_rank``, kept until 0.2.0.

The reason: a training that was started before the upgrade starts its ranks by it.
"""

import runpy

if __name__ == "__main__":
    runpy.run_module("pipelines.pod.training_rank", run_name="__main__", alter_sys=True)
