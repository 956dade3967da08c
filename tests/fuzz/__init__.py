"""A fuzzer for everything that reads what somebody else may have written: `make fuzz SECONDS=60`.

libFuzzer (through atheris) keeps the inputs that reach new lines of Waypost's code and changes them further; the
changes know JSON, because random bytes hardly ever are any. Each target allows the errors that its reader states, and
nothing else; a finding is written down with the input that leads there.
"""
