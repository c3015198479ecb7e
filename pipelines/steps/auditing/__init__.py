"""Great Expectations say which rows are to be believed, from suites that a person declares."""
