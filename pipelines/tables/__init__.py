"""What all tables share: the encoding of features, entity ids, partitions, profiles."""
