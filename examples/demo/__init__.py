"""`make demo`: a task on a real cluster loses its machine, and finishes as if it had not."""
