"""What the torture itself raises."""


class TortureError(Exception):
    """Something isn't as it has to be; the text is the complaint."""
