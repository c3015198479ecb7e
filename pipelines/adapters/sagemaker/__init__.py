"""SageMaker as a deployment target, with its record on S3."""
