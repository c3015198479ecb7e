"""Heavy work by request: tables in, tables and numbers out; what follows from them is decided by rules."""
