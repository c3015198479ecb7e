"""What a person declares: a dataset, a feature view, a model; one YAML file each, refused with every fault listed."""
