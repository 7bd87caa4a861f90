"""What everything speaks of: recipes, manifest columns, clips, stages and errors.

May import pydantic and the standard library, nothing of ours. A new recipe key is a field in `recipe.py`; a new
manifest column is an entry in `manifest.py`; a new composition is a path in `work.py`.
"""
