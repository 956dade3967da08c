"""The SDK as a program meets it: environment, ends, stop order, Flyte's API, local runs."""
