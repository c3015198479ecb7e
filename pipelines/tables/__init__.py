"""What holds for every table: the encoding of features, ids of entities, partitions and profiles."""
