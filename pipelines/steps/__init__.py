"""Heavy work: tables in, tables and numbers out; a step measures and never decides."""
