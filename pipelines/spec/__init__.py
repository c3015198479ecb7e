"""What a person declares of datasets, views and models, refused with every fault listed."""
