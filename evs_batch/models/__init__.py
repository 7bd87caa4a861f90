"""The model zoo, and the models as plain callables.

May import torch, diffusers, transformers and accelerate. `zoo.py` is the table of names; `places.py` says where files
are, `layouts.py` and `loading.py` read them, `parts.py` and `families.py` call what they hold. Another model of a known
family is one line in the tables of `zoo.py`; another family is a file such as `sdxl.py` and one line in `families.py`.
"""
