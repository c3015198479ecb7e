"""The prediction log: answered rows, sampled and masked as declared, on disk and then as Parquet."""
