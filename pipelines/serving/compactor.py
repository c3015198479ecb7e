"""The former name of ``pipelines.serving.prediction_log.compactor``, kept until 0.2.0.

The reason: a gateway that was started before the upgrade starts its compactor by it.
"""

import runpy

if __name__ == "__main__":
    runpy.run_module("pipelines.serving.prediction_log.compactor", run_name="__main__", alter_sys=True)
