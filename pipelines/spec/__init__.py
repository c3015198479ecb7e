"""What a person declares of datasets, views, models and the gateway; a faulty file is refused with its faults."""
