"""What operators and DAGs share: how a step is run, a verdict is recorded and the DAG of a stage is made."""
