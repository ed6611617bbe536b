"""python -m maskanim.train: for torchrun, which starts modules."""

from maskanim.train.cli import main

if __name__ == "__main__":
    main()
