"""Mean-variance portfolios on daily prices, and the second moment of a gradient read as risk."""
