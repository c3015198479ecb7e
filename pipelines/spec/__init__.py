"""The declarations of datasets, views, models and the gateway; a faulty file is refused with its faults."""
