"""`trickle export`: an artifact's weights as other libraries load them."""
