"""Takes findings into the table of incidents and hands the messages that are due to their channels."""
