"""The model zoo, and the models as plain callables.

May import torch, diffusers, transformers and accelerate (through diffusers, which builds models without a second
copy of their weights). A new T2I or T2V family is one line in the tables of `zoo.py`, plus a file if it calls its
network in another way.
"""
