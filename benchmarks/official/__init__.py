"""The official archives of ImageNet, Pascal VOC and ADE20K, for the benchmark `paper`."""
