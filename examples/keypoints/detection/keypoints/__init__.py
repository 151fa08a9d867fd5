"""Keypoints of people by a heatmap head on an artifact: the worked example of a task."""
