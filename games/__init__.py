"""Two-player games: closed-form bilinear games and small generative adversarial networks, as problems of the
lab.
"""
