"""SageMaker as a deployment target: its endpoint, its record on S3, its counts and its guarded updates."""
