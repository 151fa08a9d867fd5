"""The rendered world of the mini benchmark: numpy and OpenCV only, every image from its index."""
