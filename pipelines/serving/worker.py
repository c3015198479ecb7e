"""The former name of ``pipelines.serving.data_plane.worker``, kept until 0.2.0.

The reason: a gateway that was started before the upgrade starts its workers by it.
"""

import runpy

if __name__ == "__main__":
    runpy.run_module("pipelines.serving.data_plane.worker", run_name="__main__", alter_sys=True)
