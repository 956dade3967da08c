"""The objects the operator creates, built as plain bodies from plain data."""
