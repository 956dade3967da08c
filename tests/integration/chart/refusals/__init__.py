"""Rows of bad tasks, a module a subject; `tasks.Refused` says what a row is."""
