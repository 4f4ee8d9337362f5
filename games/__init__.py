"""Two-player games as problems of the lab: bilinear and matrix games, the Dirac-GAN, small GANs, and games of
one's own.
"""
