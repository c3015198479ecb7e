"""Builds the tasks of a deploy DAG from the declaration of its model."""
