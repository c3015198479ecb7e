"""The former name of ``pipelines.pod.training_rank`` until 0.2.0, for trainings that an older version started."""

import runpy

if __name__ == "__main__":
    runpy.run_module("pipelines.pod.training_rank", run_name="__main__", alter_sys=True)
