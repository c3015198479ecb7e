"""The former name of ``pipelines.serving.traffic.candidate_process``, kept until 0.2.0.

The reason: a gateway that was started before the upgrade starts candidates by it.
"""

import runpy

if __name__ == "__main__":
    runpy.run_module("pipelines.serving.traffic.candidate_process", run_name="__main__", alter_sys=True)
