"""`python -m orpheus_clone` is the same command as `orpheus-clone`."""

from orpheus_clone.cli import main

main()
