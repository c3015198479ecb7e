"""The former name of ``pipelines.serving.prediction_log.compactor`` until 0.2.0, for gateways of older versions."""

import runpy

if __name__ == "__main__":
    runpy.run_module("pipelines.serving.prediction_log.compactor", run_name="__main__", alter_sys=True)
