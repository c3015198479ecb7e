"""Measures how much a column gives away of the label that it should help to predict."""
