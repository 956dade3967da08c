"""`python -m waypost.cli`: how a local run starts its attempts, whatever `waypost` on the path is."""

from waypost.cli import main

main()
