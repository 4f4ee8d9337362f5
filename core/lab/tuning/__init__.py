"""The searches behind `core.lab.tune`: space, trials and their price, descent, grid and random points."""
