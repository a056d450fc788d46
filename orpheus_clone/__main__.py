"""`python -m orpheus_clone` is the same command as `orpheus-clone`."""

from orpheus_clone.cli import main

if __name__ == "__main__":  # vLLM's process imports this module again
    main()
