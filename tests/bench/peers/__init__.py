"""Programs of the contestants, each run in a process of its own with the packages it needs (no others are imported).

Every one speaks through `staged.py`: arguments, `ready`, a line, work, one line of JSON.
"""
