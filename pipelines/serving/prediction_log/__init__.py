"""The prediction log: answered rows, sampled and masked as declared, in local segments and then in Parquet."""
