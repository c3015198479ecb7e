"""Which rows break an expectation of a declared suite, and the report of a day."""
