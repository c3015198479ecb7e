"""Every answered row on disk and as Parquet, masked before it is written."""
