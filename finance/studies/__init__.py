"""Studies of the article's claims about portfolios, on real prices."""
