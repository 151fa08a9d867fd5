"""What all stages import, imported once: the processes of these tests are forked from it."""

import matplotlib.pyplot
import timm
import torch._dynamo
import torch.utils.tensorboard

import backbones.artifact
import backbones.cost
import classification.pretrain
import classification.training
import engine.runner

__all__ = ["backbones", "classification", "engine", "matplotlib", "timm", "torch"]
